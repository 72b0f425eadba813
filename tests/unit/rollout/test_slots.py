# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which containers come and go together, and what a failed one means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import plan, slots
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Policy

from . import samples


def step(create: int, old: int = 0, **policy: Any) -> plan.ServicePlan:
    service = samples.service()
    retire = tuple(samples.container(id=str(n), number=n, status="running", health=None) for n in range(old))
    return plan.ServicePlan(
        service=replace(service, policy=Policy(**policy)),
        action="update",
        order="start_first",
        reasons=(),
        keep=(),
        watch=(),
        retire=retire,
        create=create,
        image_id=None,
    )


def sizes(planned: plan.ServicePlan) -> list[tuple[int, int]]:
    return [(batch.size, len(batch.leaving)) for batch in slots.batches(planned)]


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (step(3, 3), [(1, 1), (1, 1), (1, 1)]),
        (step(3, 3, parallelism=2), [(2, 2), (1, 1)]),
        (step(3, 3, parallelism=0), [(3, 3)]),
        (step(4, 4, parallelism=3, canary=1), [(1, 1), (3, 3)]),
        (step(4, 4, parallelism=0, canary=2), [(2, 2), (2, 2)]),
        (step(1, 1, canary=2), [(1, 1)]),
        (step(0, 2), [(0, 2)]),
        (step(1, 3), [(1, 3)]),
        (step(2, 0), [(1, 0), (1, 0)]),
    ],
)
def test_batches(planned: plan.ServicePlan, expected: list[tuple[int, int]]) -> None:
    assert sizes(planned) == expected


def test_canaries_are_watched_for_their_own_time_and_the_others_for_the_monitor() -> None:
    divided = slots.batches(step(3, 3, canary=1, canary_time=60.0, monitor=5.0, parallelism=0))
    assert [batch.monitor for batch in divided] == [60.0, 5.0]


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 4), st.integers(0, 4))
def test_all_come_all_go_and_no_more_leave_than_came(create: int, old: int, parallelism: int, canary: int) -> None:
    planned = step(create, old, parallelism=parallelism, canary=canary)
    divided = slots.batches(planned)
    assert sum(batch.size for batch in divided) == create
    assert sorted(c.id for batch in divided for c in batch.leaving) == sorted(c.id for c in planned.retire)
    come = gone = 0
    for batch in divided:
        come, gone = come + batch.size, gone + len(batch.leaving)
        assert gone <= come + max(old - create, 0)
        assert batch.size <= max(parallelism or create, canary)


@pytest.mark.parametrize(
    ("failed", "planned", "ratio", "action", "expected"),
    [
        (1, 3, 0.0, "rollback", "rollback"),
        (1, 3, 0.0, "pause", "pause"),
        (1, 3, 0.34, "rollback", "tolerate"),
        (1, 4, 0.25, "pause", "tolerate"),
        (2, 4, 0.25, "continue", "continue"),
        (3, 3, 1.0, "rollback", "tolerate"),
    ],
)
def test_a_ratio_is_exceeded_only_beyond_it(
    failed: int, planned: int, ratio: float, action: str, expected: str
) -> None:
    policy = Policy(failure_action=action, max_failure_ratio=ratio)
    assert slots.reaction(policy, failed, planned) == expected


def test_the_old_ones_that_serve_keep_the_slots_of_those_that_failed() -> None:
    leaving = step(3, 3).retire
    assert slots.stay(leaving, 1) == leaving[2:]
    assert slots.stay(leaving, 5) == leaving
    assert slots.stay(leaving, 0) == ()
