# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stories of the driver on a simulated host: what a policy says is what happens, and in that order."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import rollout
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import HttpCheck
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Overrides, Route

from .machines import GOOD, Script
from .simulation import Host, carry_out, plan_for, roll_out
from .test_rollout import CRASHES, after, checked, database, project, replicas, service

WEB = Route("nginx", "web", 80)
NGINX = {
    "image": "shop:1",
    "ports": [{"target": 80, "published": "80"}],
    "volumes": [{"type": "bind", "source": "/upstreams", "target": "/etc/nginx/upstreams", "read_only": True}],
}


def routed(version: str = "1", **more: Any) -> dict[str, Any]:
    extension = {"proxy": {"service": "nginx", "upstream": "web", "port": 80}, "stable": 0, **more.pop("extension", {})}
    return checked(version, **{"x-rollout": extension}, **more)


def site(version: str = "1", **more: Any) -> dict[str, Any]:
    return project(web=routed(version, **more), nginx=NGINX)


@pytest.fixture
def host() -> Host:
    return Host()


def hosted(definition: dict[str, Any]) -> Host:
    host = Host()
    assert roll_out(host, definition).outcome == "deployed"
    return host


def running(host: Host, service: str) -> list[str]:
    return sorted(machine.name for machine in host.of(service) if machine.status == "running")


# Routes


def test_a_new_container_is_routed_to_once_proven_and_the_old_one_stops_when_it_is_drained() -> None:
    host = hosted(site())
    host.connections_last = 3.0
    assert after(host, site("2")).outcome == "deployed"
    told = [deed for deed in host.done if not deed.startswith("remove")]
    assert told == [
        # Without the service's own name, which Docker's DNS gives to the new one, too.
        "route web shop-web-1",
        "create shop-web-2",
        "start shop-web-2",
        "route web shop-web-2",
        "stop shop-web-1",
        "route web shop-web-2 web",
    ]


def test_a_drain_ends_when_its_time_is_over_and_says_so() -> None:
    host = hosted(site())
    host.connections_last = 1000.0
    outcome = after(host, site("2", extension={"drain_timeout": "20s"}))
    assert outcome.outcome == "deployed"
    assert "still served old connections after 20 s (x-rollout.drain_timeout)" in outcome.notes[0]


def test_a_new_one_that_dies_during_the_drain_takes_the_old_one_back_into_traffic() -> None:
    host = hosted(site())
    host.connections_last = 30.0
    outcome = after(host, site("2"), web=[Script(crashes_after=5.0)])
    assert outcome.outcome == "rolled_back"
    assert host.named(WEB) == ["shop-web-1", "web"]
    assert "stop shop-web-1" not in host.done


def test_a_proxy_that_refuses_changes_nothing() -> None:
    host = hosted(site())
    host.proxy_refuses = True
    outcome = after(host, site("2"))
    assert (outcome.outcome, outcome.failure and outcome.failure.reason) == ("rolled_back", "proxy")
    assert host.named(WEB) == ["shop-web-1", "web"]


def test_the_first_deployment_names_its_container_before_the_proxy_starts(host: Host) -> None:
    roll_out(host, site())
    assert host.done.index("route web shop-web-1") < host.done.index("create shop-nginx-1")


def test_what_is_scaled_away_is_out_of_traffic_before_it_stops() -> None:
    host = hosted(site(deploy=replicas(2)))
    after(host, site(deploy=replicas(1)))
    assert host.done[:2] == ["route web shop-web-1", "stop shop-web-2"]


def test_scaled_to_nothing_the_proxy_keeps_a_name() -> None:
    host = hosted(site())
    after(host, site(deploy=replicas(0)))
    assert host.named(WEB) == ["web"]


# Checks, hooks and canaries


def test_a_check_that_passes_late_is_waited_for_and_one_that_never_does_rolls_back() -> None:
    extension = {"checks": [{"http": {"port": 80}}], "timeout": "30s"}
    host = hosted(site())
    assert after(host, site("2", extension=extension), web=[Script(answers_after=10.0)]).outcome == "deployed"
    outcome = after(host, site("3", extension=extension), web=[Script(answers_after=None)])
    assert outcome.outcome == "rolled_back"
    assert outcome.failure is not None
    assert outcome.failure.reason == "check"
    assert outcome.failure.check == {"request": "GET http://10.0.0.2/", "answer": "503"}
    assert "still fails the check GET http://10.0.0.2/ after 30 s: 503" in outcome.message()


def test_the_front_door_has_the_last_word() -> None:
    host = hosted(site())
    extras = rollout.Extras(final_checks=(HttpCheck(url="http://127.0.0.1/"),))
    host.front_door_opens = host.time + 30.0
    assert roll_out(host, site("2"), extras=extras).outcome == "deployed"
    host.front_door_opens = host.time + 1000.0
    outcome = roll_out(host, site("3"), extras=extras)
    assert outcome.message().startswith("final check GET http://127.0.0.1/ gave 502")
    assert (outcome.outcome, running(host, "web")) == ("rolled_back", ["shop-web-2"])


def test_hooks_run_after_each_start_and_before_each_stop() -> None:
    hooks = {"post_start": [{"command": ["prepare"]}], "pre_stop": [{"command": ["farewell"]}]}
    host = hosted(project(web=checked("1", **hooks)))
    after(host, project(web=checked("2", **hooks)))
    assert host.done == [
        "create shop-web-2",
        "start shop-web-2",
        "prepare in shop-web-2",
        "farewell in shop-web-1",
        "stop shop-web-1",
        "remove shop-web-1",
    ]


def test_an_old_container_ends_by_the_hooks_that_it_was_rolled_out_with() -> None:
    host = hosted(project(web=checked("1", pre_stop=[{"command": ["old"]}])))
    after(host, project(web=checked("2", pre_stop=[{"command": ["new"]}])))
    assert "old in shop-web-1" in host.done


def test_a_hook_that_fails_rolls_back_and_is_named() -> None:
    host = hosted(project(web=checked("1")))
    broken = Script(fails_hook="prepare")
    outcome = after(host, project(web=checked("2", post_start=[{"command": ["prepare"]}])), web=[broken])
    assert outcome.outcome == "rolled_back"
    assert "its post_start hook `prepare` exited with code 1: hook says so" in outcome.message()


def test_on_the_way_back_a_hook_that_fails_is_told_and_stops_nothing() -> None:
    host = hosted(project(web=checked("1")))
    broken = Script(healthy_after=None, fails_hook="farewell")
    outcome = after(host, project(web=checked("2", pre_stop=[{"command": ["farewell"]}])), web=[broken])
    assert running(host, "web") == ["shop-web-1"]
    assert outcome.outcome == "rolled_back"
    assert "its pre_stop hook `farewell` exited with code 1" in "; ".join(outcome.notes)


def test_a_canary_is_watched_before_the_others_come() -> None:
    host = hosted(project(web=checked("1", deploy=replicas(3))))
    overrides = Overrides(canary=1, canary_time=60.0, parallelism=0)
    made = plan_for(
        host, project(web=checked("2", deploy=replicas(3))), {"web": [Script(crashes_after=40.0)]}, overrides
    )
    host.done.clear()
    assert carry_out(host, made).outcome == "rolled_back"
    assert [deed for deed in host.done if deed.startswith("create")] == ["create shop-web-4"]


# failure_action and max_failure_ratio


def reacting(version: str, action: str, ratio: float = 0.0, **more: Any) -> dict[str, Any]:
    return project(web=checked(version, deploy=replicas(3, failure_action=action, max_failure_ratio=ratio), **more))


def test_a_pause_keeps_what_is_proven_and_the_next_run_goes_on() -> None:
    host = hosted(reacting("1", "pause"))
    outcome = after(host, reacting("2", "pause"), web=[GOOD, CRASHES])
    assert outcome.outcome == "paused"
    assert running(host, "web") == ["shop-web-2", "shop-web-3", "shop-web-4"]
    assert "Paused as failure_action says; serving: shop-web-2, shop-web-3, shop-web-4" in outcome.message()
    assert host.committed is not None
    assert roll_out(host, reacting("2", "pause")).outcome == "deployed"
    assert {machine.config_hash for machine in host.of("web")} == {host.hashes["web"]}
    assert len(host.of("web")) == 3


def test_continue_goes_on_with_the_other_slots_and_ends_failed() -> None:
    host = hosted(reacting("1", "continue"))
    outcome = after(host, reacting("2", "continue"), web=[CRASHES, GOOD, GOOD])
    assert outcome.outcome == "partial"
    assert outcome.failure is not None
    assert running(host, "web") == ["shop-web-1", "shop-web-4", "shop-web-5"]
    assert host.committed is not None
    assert host.committed[1] == {"web"}


def test_as_many_as_the_ratio_says_may_fail() -> None:
    host = hosted(reacting("1", "rollback", 0.34))
    outcome = after(host, reacting("2", "rollback", 0.34), web=[CRASHES, GOOD, GOOD])
    assert (outcome.outcome, outcome.failure) == ("deployed", None)
    assert "The old container stays, as max_failure_ratio allows" in outcome.notes[0]
    assert running(host, "web") == ["shop-web-1", "shop-web-4", "shop-web-5"]


def test_one_more_than_the_ratio_says_rolls_back() -> None:
    host = hosted(reacting("1", "rollback", 0.34))
    outcome = after(host, reacting("2", "rollback", 0.34), web=[CRASHES])
    assert (outcome.outcome, running(host, "web")) == ("rolled_back", ["shop-web-1", "shop-web-2", "shop-web-3"])


@pytest.mark.parametrize(("action", "outcome"), [("pause", "paused"), ("continue", "partial")])
def test_data_with_one_owner_is_one_slot(action: str, outcome: str) -> None:
    host = hosted(project(db=database("1"), web=checked("1")))
    definition = project(db=database("2", deploy=replicas(1, failure_action=action)), web=checked("2"))
    assert after(host, definition, db=[CRASHES]).outcome == outcome
    assert running(host, "db") == ["shop-db-1"]
    assert running(host, "web") == (["shop-web-1"] if action == "pause" else ["shop-web-2"])


# Restarts, groups and fixed names


def test_what_restarts_with_a_service_restarts_after_it_and_again_on_the_way_back() -> None:
    needs = {"depends_on": {"db": {"condition": "service_started", "restart": True}}}
    host = hosted(project(db=database("1"), web=checked(**needs), x=checked("1", depends_on={"web": {}})))
    restarted = host.of("web")[0].starts
    after(host, project(db=database("2"), web=checked(**needs), x=checked("1", depends_on={"web": {}})))
    assert host.of("web")[0].starts == restarted + 1
    bad = project(db=database("3"), web=checked(**needs), x=checked("2", depends_on={"web": {}}))
    assert after(host, bad, x=[CRASHES]).outcome == "rolled_back"
    assert host.done.index("start shop-db-2") < max(n for n, d in enumerate(host.done) if d == "start shop-web-1")
    assert host.of("web")[0].starts == restarted + 3


def sidecar(version: str) -> dict[str, Any]:
    bound = {"network_mode": "service:app", "depends_on": {"app": {"condition": "service_started", "restart": True}}}
    return project(app=checked(version), side=service(**bound))


def test_a_group_moves_together_and_the_new_one_is_bound_to_the_new_one() -> None:
    host = hosted(sidecar("1"))
    assert after(host, sidecar("2")).outcome == "deployed"
    (app,), (side,) = host.of("app"), host.of("side")
    assert side.bound_to == {app.id}
    assert (
        host.done.index("stop shop-side-1") < host.done.index("stop shop-app-1") < host.done.index("start shop-app-2")
    )


def test_what_came_back_into_a_namespace_that_restarts_restarts_with_it() -> None:
    def three(db: str, side: str) -> dict[str, Any]:
        definition = sidecar("1")
        definition["services"]["app"]["depends_on"] = {"db": {"condition": "service_started", "restart": True}}
        definition["services"]["side"]["environment"] = {"VERSION": side}
        definition["services"]["db"] = database(db)
        definition["services"]["z"] = checked(side, depends_on={"side": {"condition": "service_started"}})
        return definition

    host = hosted(three("1", "1"))
    assert after(host, three("2", "2"), z=[CRASHES]).outcome == "rolled_back"
    starts = [deed for deed in host.done if deed in ("start shop-app-1", "start shop-side-1")]
    assert starts[-2:] == ["start shop-app-1", "start shop-side-1"]


def test_a_group_goes_back_together_under_its_own_names() -> None:
    host = hosted(sidecar("1"))
    before = {machine.id: machine.name for machine in host.machines.values()}
    assert after(host, sidecar("2"), side=[Script(starts=False)]).outcome == "rolled_back"
    assert {machine.id: machine.name for machine in host.machines.values()} == before
    assert host.done.index("start shop-app-1") < host.done.index("start shop-side-1")


def test_what_is_made_again_has_its_own_time_whatever_the_new_one_had() -> None:
    host = hosted(project(web=checked("1", container_name="web")))
    hasty = {"container_name": "web", "x-rollout": {"timeout": "0.5s"}}
    assert after(host, project(web=checked("2", **hasty)), web=[Script(healthy_after=None)]).outcome == "rolled_back"


def test_a_fixed_name_is_made_again_from_what_was_committed() -> None:
    host = hosted(project(web=checked("1", container_name="web")))
    old = host.of("web")[0]
    assert after(host, project(web=checked("2", container_name="web")), web=[CRASHES]).outcome == "rolled_back"
    (again,) = host.of("web")
    assert (again.name, again.config_hash, again.status) == ("web", old.config_hash, "running")


def test_what_is_bound_to_a_fixed_name_that_fails_is_made_again_with_it() -> None:
    def named(version: str) -> dict[str, Any]:
        definition = sidecar(version)
        definition["services"]["app"]["container_name"] = "app"
        return definition

    host = hosted(named("1"))
    assert after(host, named("2"), app=[CRASHES, GOOD]).outcome == "rolled_back"
    (app,), (side,) = host.of("app"), host.of("side")
    assert side.bound_to == {app.id}
    assert (app.status, side.status) == ("running", "running")


# What a run leaves behind


def test_networks_and_volumes_of_a_failed_run_go_with_it_and_older_ones_stay() -> None:
    host = Host(resources={"shop_old"})
    definition = {**project(web=checked()), "networks": {"old": None, "new": None}, "volumes": {"data": None}}
    assert roll_out(host, definition, {"web": [CRASHES]}).outcome == "rolled_back"
    assert host.resources == {"shop_old"}


def test_the_time_without_any_container_in_service_is_measured() -> None:
    host = hosted(project(db=database("1"), web=checked("1")))
    outcome = after(host, project(db=database("2"), web=checked("2")))
    down = {told["service"]: told["down"] for told in outcome.services}
    assert down["web"] == 0.0
    # Half a second to stop, a second to become healthy, and five to stay so.
    assert down["db"] == 6.5
    assert host.committed is not None
    assert host.committed[0]["db"].down == 6.5
