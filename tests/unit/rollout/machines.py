# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that live by a script over simulated time: they become healthy, crash, are restarted, or finish."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import observe

_BACKOFF = 0.1


@dataclass(frozen=True)
class Script:
    """What a container does after each start, in seconds from it; None is never."""

    healthy_after: float | None = 1.0
    crashes_after: float | None = None
    finishes_after: float | None = None
    exit_code: int = 1
    starts: bool = True
    stops_within: float = 0.5
    # When its checks pass, and which of its hooks fails.
    answers_after: float | None = 0.0
    fails_hook: str = ""


GOOD = Script()
GOOD_ONE_SHOT = Script(healthy_after=None, finishes_after=2.0)


@dataclass
class Machine:
    """One simulated container."""

    id: str
    name: str
    service: str
    number: int
    image: str
    image_id: str
    config_hash: str
    script: Script
    healthcheck: bool
    restart_policy: tuple[str, int]
    # The containers that this one is bound to, by id.
    bound_to: frozenset[str] = frozenset()
    holds: frozenset[observe.Thing] = frozenset()
    unpacked: bytes = b""
    hooks_run: list[str] = field(default_factory=list)
    status: str = "created"
    exit_code: int = 0
    restarts: int = 0
    starts: int = 0
    started: float = 0.0
    restart_due: float = 0.0
    healthy: bool = False
    serving_since: float | None = None

    def next_change(self) -> tuple[float, str] | None:
        """When and what happens to it next, if nobody intervenes."""
        if self.status == "restarting":
            return self.restart_due, "restart"
        if self.status != "running":
            return None
        script = self.script
        due = [
            (self.started + after, what)
            for what, after in (("crash", script.crashes_after), ("finish", script.finishes_after))
            if after is not None
        ]
        if self.healthcheck and not self.healthy and script.healthy_after is not None:
            due.append((self.started + script.healthy_after, "healthy"))
        return min(due, default=None)

    def start(self, now: float) -> None:
        self.status, self.started, self.healthy = "running", now, False
        self.starts += 1
        self.serving_since = None if self.healthcheck else now

    def end(self, exit_code: int) -> None:
        self.status, self.exit_code, self.serving_since = "exited", exit_code, None

    def change(self, what: str, now: float) -> None:
        if what == "healthy":
            self.healthy, self.serving_since = True, now
        elif what == "restart":
            self.restarts += 1
            self.start(now)
        else:
            self.end(0 if what == "finish" else self.script.exit_code)
            name, limit = self.restart_policy
            again = name in ("always", "unless-stopped") or (name == "on-failure" and self.exit_code)
            if again and not (limit and self.restarts >= limit):
                self.status, self.restart_due = "restarting", now + _BACKOFF * 2**self.restarts

    def seen(self) -> observe.Container:
        """What the engine says of it."""
        health = ("healthy" if self.healthy else "starting") if self.healthcheck else None
        return observe.Container(
            id=self.id,
            name=self.name,
            service=self.service,
            number=self.number,
            oneoff=False,
            image=self.image,
            image_id=self.image_id,
            config_hash=self.config_hash,
            status=self.status,
            exit_code=self.exit_code,
            oom_killed=False,
            error="",
            restart_count=self.restarts,
            started_at=f"start {self.starts}" if self.starts else "0001-01-01T00:00:00Z",
            health=health,
            probes=(),
            healthcheck=observe.Healthcheck(5.0, 5.0, 3, 0.0) if self.healthcheck else None,
            restart_policy=self.restart_policy,
            stop_timeout=10,
            memory_limit=0,
            anonymous_volumes=(),
            environment=(),
            bound_to=self.bound_to,
            holds=self.holds,
        )
