# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide from what the engine says of a new container whether it may take the old one's place.

Pure: time is an argument (seconds on a monotonic clock), so each rule is tested without a sleep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Union

from . import duration
from .observe import Container
from .policy import Policy

# A one-shot has no healthcheck to derive a deadline from; migrations of a grown database take minutes.
ONE_SHOT_TIMEOUT = 600.0
DEFAULT_TIMEOUT = 60.0


@dataclass(frozen=True)
class Gate:
    """What one container has to prove, and how far it has come.

    `deadline` and the times are on the same monotonic clock. `healthy_since` is None while it is not healthy;
    `started_at` and `restarts` pin the one start that is being judged.
    """

    deadline: float
    stable: float
    one_shot: bool
    began: float
    started_at: str | None = None
    restarts: int = 0
    healthy_since: float | None = None


@dataclass(frozen=True)
class Pending:
    """Not proven yet. Look again when the engine reports something, at `until` at the latest."""

    until: float


@dataclass(frozen=True)
class Passed:
    """Proven; `seconds` after the gate was opened."""

    seconds: float


@dataclass(frozen=True)
class Failed:
    """It will not pass: `reason` is one of exited, restarting, oom, unhealthy, timeout."""

    reason: str
    detail: str


Verdict = Union[Pending, Passed, Failed]


def patience(policy: Policy, container: Container, one_shot: bool) -> float:
    """Give the seconds that a container has to become healthy, or for a one-shot, to finish."""
    if policy.timeout is not None:
        return policy.timeout
    if one_shot:
        return ONE_SHOT_TIMEOUT
    return container.healthcheck.deadline() if container.healthcheck else DEFAULT_TIMEOUT


def open_gate(container: Container, one_shot: bool, now: float, timeout: float, stable: float) -> Gate:
    """Give the gate for a container that is about to be started, or is to be looked at again, at `now`.

    It has to be healthy within `timeout` seconds, and to stay so for `stable` seconds.
    """
    running = container.status == "running"
    return Gate(
        deadline=now + timeout,
        stable=stable,
        one_shot=one_shot,
        began=now,
        started_at=container.started_at if running else None,
        restarts=container.restart_count if running else 0,
    )


def judge(gate: Gate, container: Container | None, now: float) -> tuple[Gate, Verdict]:
    """Look at the container once. Gives the gate to use the next time and the verdict.

    Exit, restart and out-of-memory fail at once; `unhealthy` does so only at the deadline, because a container
    whose start outlasts its start_period is unhealthy on its way to healthy.
    """
    if container is None:
        return gate, Failed("exited", "was removed by somebody else while it was watched")
    failure = _terminal(gate, container)
    if failure is not None:
        return gate, failure
    if gate.one_shot:
        if container.status == "exited":
            return gate, Passed(now - gate.began)
        return gate, _before(gate, container, now)
    if container.status == "running" and gate.started_at is None:
        gate = replace(gate, started_at=container.started_at)
    if not container.serving:
        gate = replace(gate, healthy_since=None)
        return gate, _before(gate, container, now)
    since = now if gate.healthy_since is None else gate.healthy_since
    if since > gate.deadline:
        return gate, _before(gate, container, now)
    gate = replace(gate, healthy_since=since)
    proven = since + gate.stable
    return gate, Passed(now - gate.began) if now >= proven else Pending(proven)


def _terminal(gate: Gate, container: Container) -> Failed | None:
    if container.oom_killed:
        return Failed("oom", "was killed: out of memory")
    if container.status in ("exited", "dead"):
        if gate.one_shot and container.exit_code == 0 and container.status == "exited":
            return None
        if container.exit_code == 137 and container.memory_limit:
            # With cgroup v1 the engine does not always see an out-of-memory kill.
            limit = container.memory_limit // 2**20
            return Failed("exited", f"was killed (exit code 137), perhaps out of memory: its limit is {limit} MiB")
        return Failed("exited", f"exited with code {container.exit_code}")
    if gate.one_shot:
        return None
    restarted = container.restart_count > gate.restarts
    started_again = gate.started_at is not None and container.started_at != gate.started_at
    if container.status == "restarting" or restarted or started_again:
        # While it runs again the engine says 0, whatever it was before.
        last = "" if container.status == "running" else f", last exit code {container.exit_code}"
        return Failed("restarting", f"keeps restarting{last}")
    return None


def _before(gate: Gate, container: Container, now: float) -> Verdict:
    if now < gate.deadline:
        return Pending(gate.deadline)
    waited = duration.text(now - gate.began)
    if gate.one_shot:
        return Failed("timeout", f"had not finished after {waited}")
    if container.health == "unhealthy":
        return Failed("unhealthy", f"was still unhealthy after {waited}")
    return Failed("timeout", f"was {container.health or container.status}, not healthy, after {waited}")
