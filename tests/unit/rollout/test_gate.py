# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a new container may take the old one's place, and when it never will."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import gate
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.gate import Failed, Passed, Pending
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.observe import Container, Healthcheck
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Policy

from . import samples

START = "2026-01-01T00:00:00Z"


def started(state: str, **changes: Any) -> Container:
    return samples.container(state, **{"started_at": START, "restart_count": 0, **changes})


def verdicts(
    *looks: tuple[float, Container | None], timeout: float = 60.0, stable: float = 5.0, one_shot: bool = False
) -> list[gate.Verdict]:
    """Open the gate for a created container at 0 and look at it at each of these times."""
    opened = gate.open_gate(samples.container("created"), one_shot, 0.0, timeout, stable)
    given = []
    for now, seen in looks:
        opened, verdict = gate.judge(opened, seen, now)
        given.append(verdict)
    return given


def last(*looks: tuple[float, Container | None], **options: Any) -> gate.Verdict:
    return verdicts(*looks, **options)[-1]


def test_healthy_for_as_long_as_asked_passes() -> None:
    healthy = started("healthy")
    assert verdicts((1, started("starting")), (10, healthy), (14.9, healthy), (15, healthy)) == [
        Pending(60.0),
        Pending(15.0),
        Pending(15.0),
        Passed(15),
    ]


def test_unhealthy_in_between_starts_the_wait_anew() -> None:
    healthy, unhealthy = started("healthy"), started("unhealthy")
    assert last((10, healthy), (12, unhealthy), (13, healthy), (17.9, healthy)) == Pending(18.0)


def test_without_healthcheck_running_for_as_long_as_asked_passes() -> None:
    running = started("unchecked")
    assert verdicts((0, running), (5, running)) == [Pending(5.0), Passed(5)]


def test_unhealthy_before_the_deadline_does_not_fail() -> None:
    assert last((59.9, started("unhealthy"))) == Pending(60.0)


def test_unhealthy_at_the_deadline_fails_as_unhealthy() -> None:
    assert last((60, started("unhealthy"))) == Failed("unhealthy", "was still unhealthy after 60 s")


def test_starting_at_the_deadline_fails_as_timeout() -> None:
    assert last((60, started("starting"))) == Failed("timeout", "was starting, not healthy, after 60 s")


def test_healthy_in_time_may_be_stable_after_the_deadline() -> None:
    healthy = started("healthy")
    assert verdicts((59, healthy), (61, healthy), (64, healthy)) == [Pending(64.0), Pending(64.0), Passed(64)]


def test_healthy_after_the_deadline_is_too_late() -> None:
    assert isinstance(last((60.1, started("healthy"))), Failed)


@pytest.mark.parametrize("code", [0, 1, 7])
def test_an_exit_fails_at_once_even_a_clean_one(code: int) -> None:
    assert last((1, started("exited", exit_code=code))) == Failed("exited", f"exited with code {code}")


def test_a_crash_loop_seen_while_it_waits_to_restart_fails_at_once() -> None:
    assert last((1, samples.container("restarting"))) == Failed("restarting", "keeps restarting, last exit code 7")


def test_a_crash_loop_seen_only_while_it_runs_fails_by_its_count() -> None:
    assert isinstance(last((1, started("unchecked", restart_count=1))), Failed)


def test_a_crash_loop_seen_only_while_it_runs_fails_by_its_start() -> None:
    again = started("unchecked", started_at="2026-01-01T00:00:03Z")
    verdict = last((1, started("unchecked")), (4, again))
    assert isinstance(verdict, Failed)
    assert verdict.reason == "restarting"


def test_one_that_runs_already_is_judged_by_the_start_it_has() -> None:
    running = started("healthy", restart_count=3)
    opened = gate.open_gate(running, False, 0.0, 60.0, 0.0)
    assert gate.judge(opened, running, 0.0)[1] == Passed(0)
    assert isinstance(gate.judge(opened, replace(running, restart_count=4), 0.0)[1], Failed)


def test_out_of_memory_fails_as_such() -> None:
    assert last((1, started("exited", oom_killed=True))) == Failed("oom", "was killed: out of memory")


def test_killed_under_a_memory_limit_is_told_as_perhaps_out_of_memory() -> None:
    # Recorded on cgroup v1, where the engine said OOMKilled: false of a real out-of-memory kill.
    assert last((1, samples.container("oom"))) == Failed(
        "exited", "was killed (exit code 137), perhaps out of memory: its limit is 8 MiB"
    )


def test_killed_without_a_memory_limit_is_an_exit() -> None:
    assert last((1, samples.container("oom", memory_limit=0))) == Failed("exited", "exited with code 137")


def test_one_that_is_gone_fails() -> None:
    assert isinstance(last((1, None)), Failed)


def test_a_paused_one_does_not_pass() -> None:
    assert last((60, started("unchecked", status="paused"))) == Failed("timeout", "was paused, not healthy, after 60 s")


def test_a_one_shot_passes_by_ending_well_and_only_so() -> None:
    assert verdicts((3, started("unchecked")), (9, samples.container("completed")), one_shot=True) == [
        Pending(60.0),
        Passed(9),
    ]
    assert last((9, samples.container("exited")), one_shot=True) == Failed("exited", "exited with code 7")
    assert last((60, started("unchecked")), one_shot=True) == Failed("timeout", "had not finished after 60 s")


@pytest.mark.parametrize(
    ("policy", "one_shot", "healthcheck", "seconds"),
    [
        (Policy(timeout=7.0), True, None, 7.0),
        (Policy(), True, None, 600.0),
        (Policy(), False, Healthcheck(10.0, 5.0, 3, 30.0), 90.0),
        (Policy(), False, None, 60.0),
    ],
)
def test_patience(policy: Policy, one_shot: bool, healthcheck: Healthcheck | None, seconds: float) -> None:
    assert gate.patience(policy, samples.container("created", healthcheck=healthcheck), one_shot) == seconds


_LOOKS = st.lists(
    st.tuples(st.floats(0.01, 8.0), st.sampled_from(["starting", "unhealthy", "healthy", "exited", "restarting"])),
    max_size=25,
)


@given(looks=_LOOKS, timeout=st.floats(1.0, 40.0), stable=st.floats(0.0, 10.0))
def test_the_gate_keeps_its_promises(looks: list[tuple[float, str]], timeout: float, stable: float) -> None:
    opened = gate.open_gate(samples.container("created"), False, 0.0, timeout, stable)
    now, healthy_since = 0.0, None
    for step, state in looks:
        now += step
        healthy_since = (now if healthy_since is None else healthy_since) if state == "healthy" else None
        opened, verdict = gate.judge(opened, started(state), now)
        if isinstance(verdict, Passed):
            assert healthy_since is not None
            assert now - healthy_since >= stable - 1e-9
            assert healthy_since <= timeout
            return
        if isinstance(verdict, Failed):
            assert now >= timeout or state in ("exited", "restarting")
            # Final: what failed by dying or by time does not pass when looked at again.
            assert isinstance(gate.judge(opened, started(state), now + 1)[1], Failed)
            return
        assert isinstance(verdict, Pending)
        assert state not in ("exited", "restarting")
        assert now < timeout or healthy_since is not None
        assert verdict.until > now
