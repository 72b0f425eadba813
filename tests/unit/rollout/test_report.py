# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as an operator reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, plan, report
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.release import Timing

from . import samples
from .test_planner import DATA, made, migrated, restarting_with_db, running, stale


@pytest.mark.parametrize(
    ("containers", "config", "line"),
    [
        ((), {}, "web: 1 new (it has no container)"),
        (
            (stale(),),
            {},
            "web: 1 new, start_first, in place of shop-web-1; stays up (its configuration is another one)",
        ),
        (
            (stale(),),
            DATA,
            (
                "web: 1 new, stop_first, in place of shop-web-1; is down from the old one's stop to the new one's gate "
                "(its configuration is another one; the old one stops first: read-write mount /data)"
            ),
        ),
        ((running(),), {"deploy": {"replicas": 2}}, "web: changes its number of containers (1 -> 2 containers)"),
        ((running(status="exited"),), {}, "web: is put right where it stands (shop-web-1 is exited)"),
        ((running(health="starting"),), {}, "web: waits for what runs already (shop-web-1 is starting)"),
    ],
)
def test_each_action_is_one_line(containers: tuple[Any, ...], config: dict[str, Any], line: str) -> None:
    assert report.lines(made(samples.project(web=config), *containers)) == [line]


@pytest.mark.parametrize(
    ("action", "line"),
    [
        ("restart", "web: its containers restart where they stand (why)"),
        ("route", "web: its proxy is told where it is (why)"),
    ],
)
def test_what_replaces_no_container_is_one_line_too(action: str, line: str) -> None:
    planned = made(samples.project(web={}), running())
    step = replace(planned.services[0], action=action, reasons=("why",))
    assert report.lines(replace(planned, services=(step,))) == [line]


@pytest.mark.parametrize(
    ("config", "timing", "manner"),
    [
        ({}, Timing(12.4, 0.0), "stays up; took 12 s last time"),
        (DATA, Timing(20.0, 3.21), "is down from the old one's stop to the new one's gate; 3.2 s last time"),
        # The last time it was not down, so that it says nothing of how long it is going to be.
        (DATA, Timing(20.0, 0.0), "is down from the old one's stop to the new one's gate"),
    ],
)
def test_how_long_it_took_the_last_time_is_told(config: dict[str, Any], timing: Timing, manner: str) -> None:
    (line,) = report.lines(made(samples.project(web=config), stale()), {"web": timing})
    assert f"in place of shop-web-1; {manner} (" in line


def test_a_restart_of_the_only_container_says_that_it_is_down() -> None:
    (_db, line) = report.lines(made(restarting_with_db(), stale("db"), running("web")), {"web": Timing(9.0, 4.0)})
    assert line == (
        "web: its containers restart where they stand; is down from the old one's stop to the new one's gate; "
        "4.0 s last time (it restarts with db)"
    )


def test_an_orphan_that_makes_way_is_told_of_with_the_port() -> None:
    port = {"target": 80, "published": "8283", "host_ip": "127.0.0.1", "protocol": "tcp"}
    orphan = running("gone", holds=frozenset({("port", "0.0.0.0", "8283", "tcp")}))
    planned = made(samples.project(web={"ports": [port]}), orphan, remove_orphans=True)
    assert report.lines(planned)[-1] == (
        "gone: shop-gone-1 is removed, an orphan, and stops before web starts: the two cannot share host port 8283"
    )


def test_an_orphan_that_makes_way_otherwise_is_told_of_with_the_reason() -> None:
    project = samples.project(web={"container_name": "the-web", **DATA})
    db = running("db", name="the-web", holds=frozenset({("volume", "shop_data")}))
    side = running("side", bound_to=frozenset({db.id}))
    stopped = running("gone", name="the-web", status="exited")
    shared = "fixed name the-web; read-write mount /data"
    assert report.lines(made(project, db, side, stopped, remove_orphans=True))[1:] == [
        f"db: the-web is removed, an orphan, and stops before web starts: the two cannot share {shared}",
        "side: shop-side-1 is removed, an orphan, and stops before web starts: it is bound to one that makes way",
        "gone: the-web is removed, an orphan, and gives its name to web",
    ]


def test_a_one_shot_and_an_orphan_are_told_in_the_order_in_which_they_come() -> None:
    planned = made(migrated(), running(), running("gone"), remove_orphans=True)
    assert report.lines(planned) == [
        "migrate: runs once, to success (it has not run to success yet)",
        "gone: shop-gone-1 is removed, an orphan",
    ]


def test_nothing_to_do_is_no_line() -> None:
    assert report.lines(made(samples.project(web={}), running())) == []
    assert report.text(made(samples.project(web={}), running())) == ""


def test_a_diff_begins_with_the_plan() -> None:
    assert report.text(made(samples.project(web={}))) == "plan: web: 1 new (it has no container)\n"


def difference(committed: dict[str, Any], *containers: Any, **config: Any) -> tuple[Any, Any]:
    planned: plan.Plan = made(samples.project(web=config), *containers)
    both = report.diff(planned, {"web": {"image": "shop:1", **committed}})
    return core_yaml.load(both["before"] or "{}"), core_yaml.load(both["after"] or "{}")


def test_the_diff_shows_configuration_and_image_before_and_after() -> None:
    before, after = difference({"user": "1"}, stale(), user="2")
    assert before == {"web": {"image_ids": ["a" * 12], "image": "shop:1", "user": "1"}}
    assert after == {"web": {"image_ids": ["a" * 12], "image": "shop:1", "user": "2"}}


def test_the_diff_shows_that_a_secret_changed_and_not_what_it_is() -> None:
    before, after = difference(
        {"environment": {"PASSWORD": "hunter2", "LOG": "info"}},
        stale(),
        environment={"PASSWORD": "hunter3", "LOG": "info"},
    )
    old, new = before["web"]["environment"], after["web"]["environment"]
    assert old["LOG"] == new["LOG"]
    assert old["PASSWORD"] != new["PASSWORD"]
    assert "hunter" not in str((before, after))


def test_the_diff_hides_values_in_commands_and_probes_too() -> None:
    before, after = difference(
        {"command": ["redis", "--requirepass", "hunter2"]},
        stale(),
        command=["redis", "--requirepass", "hunter3"],
        healthcheck={"test": ["CMD", "redis-cli", "-a", "hunter3"], "retries": 3},
    )
    assert "hunter" not in str((before, after))
    assert before["web"]["command"][:2] == after["web"]["command"][:2]
    assert before["web"]["command"][2] != after["web"]["command"][2]
    assert after["web"]["healthcheck"]["retries"] == 3


def test_a_digest_of_one_diff_says_nothing_in_another() -> None:
    digests = {difference({}, stale(), environment={"P": "x"})[1]["web"]["environment"]["P"] for _again in range(8)}
    assert len(digests) == 8


def test_what_stays_is_the_same_on_both_sides() -> None:
    before, after = difference({}, running())
    assert before == after != {}


def test_what_is_new_has_no_before() -> None:
    before, after = difference({})
    assert (before, list(after)) == ({}, ["web"])
