# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order services are rolled out, and circles."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.dependency_order import dependency_order
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import Problems, SpecError

from . import samples


def told(needs: dict[str, set[str]], routed_by: dict[str, set[str]] | None = None) -> list[str]:
    """What is wrong with the order."""
    problems = Problems()
    dependency_order(needs, routed_by or {}, problems)
    try:
        problems.settle(SpecError)
    except SpecError as error:
        return str(error).split("; ")
    return []


@pytest.mark.parametrize(
    ("needs", "circle"),
    [
        ({"a": {"a"}}, "a -> a"),
        ({"a": {"b"}, "b": {"a"}}, "a -> b -> a"),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}, "b -> c -> b"),
        ({"c": {"a"}, "a": {"b", "z"}, "b": {"c"}}, "a -> b -> c -> a"),
    ],
)
def test_a_circle_is_named_as_the_way_around(needs: dict[str, set[str]], circle: str) -> None:
    assert told(needs) == [f"depends_on goes in a circle: {circle}"]


def test_each_circle_is_told() -> None:
    assert told({"a": {"b"}, "b": {"a"}, "c": {"d", "a"}, "d": {"c"}, "e": set()}) == [
        "depends_on goes in a circle: a -> b -> a",
        "depends_on goes in a circle: c -> d -> c",
    ]


def test_two_proxies_of_each_other_go_in_a_circle() -> None:
    (problem,) = told({"a": set(), "b": set()}, {"a": {"b"}, "b": {"a"}})[:1]
    assert problem.startswith("depends_on and x-rollout.proxy go in a circle: a -> b -> a (a is rolled out after b,")


def test_services_that_share_what_is_another_s_come_after_it() -> None:
    project = samples.project(a={"network_mode": "service:z"}, b={"volumes_from": ["y:ro"]}, y={}, z={})
    assert list(project.services) == ["y", "b", "z", "a"]


def test_names_that_are_no_service_are_passed_over() -> None:
    problems = Problems()
    assert dependency_order({"b": {"gone"}, "a": {"b"}}, {"a": {"gone"}}, problems) == ["b", "a"]
    problems.settle(SpecError)


_NAMES = "abcdef"
_GRAPH = st.fixed_dictionaries({name: st.sets(st.sampled_from(_NAMES), max_size=2) for name in _NAMES})


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    pending = list(graph[start])
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending.extend(graph[name])
    return seen


@given(_GRAPH, _GRAPH)
def test_there_is_an_order_unless_something_waits_for_itself(
    needs: dict[str, set[str]], routed_by: dict[str, set[str]]
) -> None:
    waits_for = {name: set(others) for name, others in needs.items()}
    for name, proxies in routed_by.items():
        for proxy in proxies - {name}:
            waits_for[proxy].add(name)
    problems = Problems()
    order = dependency_order(needs, routed_by, problems)
    circular = any(name in _reachable(waits_for, name) for name in waits_for)
    if circular:
        with pytest.raises(SpecError, match="in a circle"):
            problems.settle(SpecError)
    else:
        problems.settle(SpecError)
        assert sorted(order) == list(_NAMES)
        assert all(order.index(other) < order.index(name) for name in order for other in waits_for[name])


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20), st.permutations(range(8)))
def test_dependencies_come_before_their_dependants_whatever_the_order_in_the_file(
    pairs: list[tuple[int, int]], order: list[int]
) -> None:
    needs: dict[int, set[int]] = {number: set() for number in order}
    for one, other in pairs:
        if one != other:
            needs[max(one, other)].add(min(one, other))
    services: dict[str, Any] = {
        f"s{order[number]}": {"depends_on": {f"s{order[n]}": {} for n in needs[number]}} for number in order
    }
    project = samples.project(**services)
    places = list(project.services)
    assert sorted(places) == [f"s{number}" for number in range(8)]
    for service in project.services.values():
        assert all(places.index(needed) < places.index(service.name) for needed in service.depends_on)
        assert set(service.depends_on) <= set(project.dependencies(service.name))
