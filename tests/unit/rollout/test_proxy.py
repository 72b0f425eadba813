# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream files: what a rollout writes, what it reads back, and which file has to come between two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import proxy
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Route

ROUTE = Route("nginx", "shop", 8000)
NAMES = st.lists(st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,20}", fullmatch=True), unique=True, max_size=5)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_in_a_rollout_only_containers_are_named() -> None:
    assert lines(proxy.render(ROUTE, "web", ["shop-web-2", "shop-web-3"], settled=False)) == [
        "server shop-web-2:8000 resolve max_fails=2 fail_timeout=5s;",
        "server shop-web-3:8000 resolve max_fails=2 fail_timeout=5s;",
    ]


def test_between_rollouts_the_service_stands_behind_its_containers() -> None:
    assert lines(proxy.render(ROUTE, "web", ["shop-web-2"], settled=True)) == [
        "server shop-web-2:8000 resolve max_fails=2 fail_timeout=5s;",
        "server web:8000 resolve backup;",
    ]


def test_between_rollouts_the_service_alone_is_no_backup_for_nginx_refuses_that() -> None:
    assert lines(proxy.render(ROUTE, "web", [], settled=True)) == [
        "server web:8000 resolve max_fails=2 fail_timeout=5s;"
    ]


def test_a_rollout_that_has_nothing_to_send_traffic_to_names_no_service() -> None:
    assert lines(proxy.render(ROUTE, "web", [], settled=False)) == ["server 127.0.0.1:8000 down;"]
    assert proxy.servers(proxy.render(ROUTE, "web", [], settled=False)) == ()


@given(names=NAMES.filter(len), settled=st.booleans())
def test_what_was_written_is_read_back(names: list[str], settled: bool) -> None:
    assert proxy.servers(proxy.render(ROUTE, "web", names, settled)) == tuple(names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("# server old:1;\nserver web:8000;", ("web",)),
        ("server web:8000 weight=5 max_fails=0; server 10.0.0.1:80;\n", ("web", "10.0.0.1")),
        ("  server\n    web\n    resolve\n;\nserver [::1]:80;", ("web", "[::1]")),
        ("server a backup; server b down; server c;", ("c",)),
        ("zone web 64k;\nleast_conn;\n", ()),
        ("server ;", ()),
        ("", ()),
    ],
)
def test_a_file_of_a_persons_own_is_read_too(text: str, names: tuple[str, ...]) -> None:
    assert proxy.servers(text) == names


OLD = proxy.render(ROUTE, "web", ["web-1"], settled=False)
NEW = proxy.render(ROUTE, "web", ["web-2"], settled=False)


def test_between_two_files_of_strangers_both_serve() -> None:
    between = proxy.bridge(OLD, NEW, ())
    assert between is not None
    assert proxy.servers(between) == ("web-2", "web-1")


def test_a_container_that_is_gone_is_no_bridge() -> None:
    assert proxy.bridge(OLD, NEW, {"web-1"}) is None


def test_where_one_server_stays_nothing_has_to_come_between() -> None:
    both = proxy.render(ROUTE, "web", ["web-1", "web-2"], settled=False)
    assert proxy.bridge(both, NEW, ()) is None
    assert proxy.bridge(OLD, both, ()) is None
    assert proxy.bridge(NEW, proxy.render(ROUTE, "web", ["web-2"], settled=True), ()) is None


def test_the_first_file_has_nothing_before_it() -> None:
    assert proxy.bridge("", NEW, ()) is None


def test_the_service_bridges_the_way_from_a_file_whose_containers_others_removed() -> None:
    before = proxy.render(ROUTE, "web", ["web-7"], settled=True)
    between = proxy.bridge(before, NEW, {"web-7"})
    assert between is not None
    assert lines(between) == [*lines(NEW), "server web:8000 resolve backup;"]


def test_a_server_is_named_once_on_a_bridge() -> None:
    before = proxy.render(ROUTE, "web", ["web-1"], settled=True)
    between = proxy.bridge(before, proxy.render(ROUTE, "web", ["web-2"], settled=True), ())
    assert between is not None
    assert sum("server web:8000" in line for line in lines(between)) == 1


@given(before=NAMES.filter(len), after=NAMES.filter(len), data=st.data(), settled=st.booleans())
def test_a_worker_that_starts_knows_an_address_wherever_one_answers(
    before: list[str], after: list[str], data: st.DataObject, settled: bool
) -> None:
    """At each step a server that answers is in the file and in the one before, so nginx kept its address."""
    gone = data.draw(st.sets(st.sampled_from(before)))
    old = proxy.render(ROUTE, "web!", before, settled)
    new = proxy.render(ROUTE, "web!", after, settled=False)
    between = proxy.bridge(old, new, gone)
    steps = [old, *([between] if between else []), new]
    alive = {name for name in (*before, *after) if name not in gone}
    for one, next_one in zip(steps, steps[1:]):
        shared = set(proxy.servers(one)) & set(proxy.servers(next_one)) & alive
        backed = settled and "web!:8000 resolve backup" in next_one
        assert shared or backed or set(before) <= gone
    assert set(proxy.servers(steps[-1])) == set(after)
