# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between two configurations, in words that give no secret away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.changes import changed_keys


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"mem_limit": "1g"}, {"mem_limit": "2g"}, "mem_limit: 1g -> 2g"),
        ({}, {"user": "10001"}, "user: added (10001)"),
        ({"init": True}, {}, "init: removed (True)"),
        ({}, {"healthcheck": {"test": ["CMD", "x"]}}, "healthcheck: added"),
        ({"healthcheck": {"retries": 3}}, {"healthcheck": {"retries": 5}}, "healthcheck.retries: 3 -> 5"),
        ({"tmpfs": ["/tmp"]}, {"tmpfs": ["/tmp", "/run"]}, "tmpfs: nothing -> /run"),
        (
            {"volumes": [{"source": "/srv/nginx.conf.aaa", "target": "/etc/nginx.conf"}]},
            {"volumes": [{"source": "/srv/nginx.conf.bbb", "target": "/etc/nginx.conf"}]},
            "volumes: /srv/nginx.conf.aaa:/etc/nginx.conf -> /srv/nginx.conf.bbb:/etc/nginx.conf",
        ),
        ({"cap_add": ["A", "B"]}, {"cap_add": ["B", "A"]}, "cap_add: ['A', 'B'] -> ['B', 'A']"),
    ],
)
def test_a_change_names_its_key_and_both_values(before: dict[str, Any], after: dict[str, Any], told: str) -> None:
    assert changed_keys(before, after) == (told,)


def test_what_a_probe_runs_may_hold_a_password() -> None:
    before = {"healthcheck": {"test": ["CMD", "redis-cli", "-a", "hunter2"]}}
    after = {"healthcheck": {"test": ["CMD", "redis-cli", "-a", "hunter3"]}}
    assert changed_keys(before, after) == ("healthcheck.test: changed",)


@pytest.mark.parametrize("section", ["environment", "labels", "command", "entrypoint", "build"])
@pytest.mark.parametrize("wrap", [lambda value: {"KEY": value}, lambda value: ["serve", value], lambda value: value])
def test_a_value_that_may_be_secret_is_never_told(section: str, wrap: Any) -> None:
    for before, after in (({section: wrap("hunter2")}, {section: wrap("hunter3")}), ({}, {section: wrap("hunter2")})):
        (told,) = changed_keys(before, after)
        assert told.startswith(section)
        assert "hunter" not in told


def test_how_it_is_replaced_and_how_many_there_are_is_no_change_of_a_container() -> None:
    after = {"scale": 2, "x-rollout": {"stable": 0}, "deploy": {"replicas": 2}}
    assert changed_keys({"deploy": {}}, after) == ()


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), st.dictionaries(st.sampled_from("abc"), st.integers())
)
def test_every_differing_key_is_named_and_no_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    differing = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert {line.split(":")[0] for line in changed_keys(before, after)} == differing
