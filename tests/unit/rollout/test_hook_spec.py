# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that containers run after their start and before their stop."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Hook

from . import samples


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"command": ["sh", "-c", "true"]}, Hook(("sh", "-c", "true"))),
        ({"command": "echo 'a b'"}, Hook(("echo", "a b"))),
        ({"command": ["echo", "$${HOME}"]}, Hook(("echo", "${HOME}"))),
        (
            {"command": ["a"], "user": "1000:1000", "privileged": True, "working_dir": "/srv"},
            Hook(("a",), user="1000:1000", privileged=True, working_dir="/srv"),
        ),
        (
            {"command": ["a"], "environment": {"A": "1=2", "EMPTY": "", "COUNT": 3, "ON": True, "UNSET": None}},
            Hook(("a",), environment=("A=1=2", "EMPTY=", "COUNT=3", "ON=true", "UNSET")),
        ),
        ({"command": ["a"], "environment": ["A=1", "UNSET"]}, Hook(("a",), environment=("A=1", "UNSET"))),
        ({"command": ["a"], "x-note": "why"}, Hook(("a",))),
    ],
)
@pytest.mark.parametrize("key", ["post_start", "pre_stop"])
def test_a_hook(key: str, written: dict[str, Any], meant: Hook) -> None:
    assert getattr(samples.service(**{key: [written]}), key) == (meant,)


def test_hooks_keep_their_order_and_each_belongs_to_its_moment() -> None:
    service = samples.service(post_start=[{"command": "a"}, {"command": "b"}], pre_stop=[{"command": "c"}])
    assert service.post_start == (Hook(("a",)), Hook(("b",)))
    assert service.pre_stop == (Hook(("c",)),)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({}, ".command: must be a list of words, or text that is split into words"),
        ({"command": []}, ".command: must be a list of words"),
        ({"command": "a '"}, ".command: cannot be split into words"),
        ({"command": "a", "user": 0}, ".user: 0; allowed: text"),
        ({"command": "a", "privileged": "yes"}, ".privileged: 'yes'; allowed: true, false"),
        ({"command": "a", "working_dir": ["/"]}, ".working_dir: ['/']; allowed: text"),
        ({"command": "a", "environment": "A=1"}, ".environment: must be a mapping, or a list of NAME=value"),
        ({"command": "a", "environment": ["=1"]}, ".environment: must be a mapping, or a list of NAME=value"),
        ({"command": "a", "environment": [""]}, ".environment: must be a mapping, or a list of NAME=value"),
        ({"command": "a", "workdir": "/"}, ".workdir: unknown, perhaps working_dir is meant; allowed: command, user,"),
    ],
)
def test_a_wrong_hook_is_refused_by_its_place(written: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        samples.service(pre_stop=[{"command": "right"}, written])
    assert f"services.web.pre_stop[1]{problem}" in str(refused.value)


def test_a_hook_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(SpecError, match=r"services\.web\.post_start\[0\]: must be a mapping"):
        samples.service(post_start=["echo"])
