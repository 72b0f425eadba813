# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of a project: what goes with the services that were asked for, and what a commit records of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, selection, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import SpecError

from . import samples

_STARTED = {"condition": "service_started"}


SHOP: spec.Project = samples.project(
    db={},
    cache={},
    web={"depends_on": {"db": _STARTED}},
    worker={"depends_on": {"web": _STARTED, "cache": _STARTED}},
    agent={"network_mode": "service:web", "depends_on": {"web": _STARTED}},
    report={"depends_on": {"db": {**_STARTED, "restart": True}}},
)


def chosen(*names: str) -> set[str]:
    return set(selection.select(SHOP, names, lambda: {*SHOP.services, "debugger"}))


def test_no_names_are_all_services() -> None:
    assert chosen() == set(SHOP.services)


def test_what_a_service_depends_on_comes_with_it_and_nothing_else() -> None:
    assert chosen("db") == {"db"}
    assert chosen("cache") == {"cache"}
    assert chosen("worker") == {"worker", "web", "cache", "db", "agent"}


def test_what_is_bound_to_a_service_comes_with_it() -> None:
    assert chosen("web") == {"web", "db", "agent"}


def test_an_unknown_service_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SpecError) as refused:
        chosen("wbe", "debugger")
    assert "services: the project has no service wbe; allowed: agent, cache, db, report, web, worker" in str(
        refused.value
    )
    assert "debugger belongs to no active profile" in str(refused.value)


def test_a_service_that_restarts_with_a_chosen_one_and_stays_behind_is_told_of() -> None:
    (warning,) = selection.left_behind(SHOP, {"db"})
    assert warning.startswith("report is not among services, so it is not restarted should db get a new container")
    assert not selection.left_behind(SHOP, {"db", "report"})
    assert not selection.left_behind(SHOP, {"cache"})


@given(st.sets(st.sampled_from(sorted(SHOP.services)), min_size=1))
def test_a_selection_is_closed(names: set[str]) -> None:
    project, selected = SHOP, chosen(*names)
    assert names <= selected
    for name in selected:
        assert set(project.dependencies(name)) <= selected
    assert not [s.name for s in project.services.values() if s.bound_to & selected and s.name not in selected]
    assert chosen(*selected) == selected


def test_a_commit_records_what_was_rolled_out_and_leaves_the_rest_as_it_was() -> None:
    wanted = core_yaml.dump(
        {
            "name": "shop",
            "services": {"web": {"image": "web:2"}, "db": {"image": "db:2"}, "new": {"image": "new:1"}},
            "networks": {"default": {"name": "shop_default"}},
        }
    )
    before = {
        "services": {"web": {"image": "web:1"}, "db": {"image": "db:1"}, "old": {"networks": {"back": None}}},
        "networks": {"back": {"name": "shop_back"}, "default": {"name": "other"}},
    }
    recorded = core_yaml.load(selection.in_force(wanted, before, {"web"}))
    assert recorded == {
        "name": "shop",
        "services": {"web": {"image": "web:2"}, "db": {"image": "db:1"}, "old": {"networks": {"back": None}}},
        "networks": {"back": {"name": "shop_back"}, "default": {"name": "shop_default"}},
    }


def test_the_first_commit_of_a_part_knows_that_part_only() -> None:
    wanted = core_yaml.dump({"name": "shop", "services": {"web": {"image": "web:2"}, "db": {"image": "db:2"}}})
    recorded = core_yaml.load(selection.in_force(wanted, {}, {"db"}))
    assert recorded == {"name": "shop", "services": {"db": {"image": "db:2"}}}


def test_what_is_recorded_needs_nothing_that_is_not() -> None:
    needs = {"app": {"condition": "service_started"}, "db": {"condition": "service_started"}}
    edge = {"image": "edge:1", "depends_on": needs, "links": ["app", "db:database"]}
    wanted = core_yaml.dump({"name": "shop", "services": {"edge": edge, "app": {}, "db": {"image": "db:1"}}})
    recorded = core_yaml.load(selection.in_force(wanted, {}, {"edge", "db"}))
    assert recorded["services"]["edge"] == {
        "image": "edge:1",
        "depends_on": {"db": {"condition": "service_started"}},
        "links": ["db:database"],
    }
