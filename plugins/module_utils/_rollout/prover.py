# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start containers and wait until each has passed its gate, or one has failed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from . import evidence, gate
from .clock import Clock
from .engine import Engine, Watch
from .errors import EngineError
from .interrupts import Interrupts
from .observe import Container
from .plan import ServicePlan

# The event stream gives promptness; a look at the containers at least this often gives certainty. Seconds.
_LOOK = 1.0


class Halt(Exception):
    """Ends the way forward."""

    def __init__(self, failure: evidence.Failure) -> None:
        super().__init__(failure.sentence())
        self.failure = failure


@dataclass
class Prover:
    """Judges the containers of one run; what happens to them between two looks is asked of the engine."""

    engine: Engine
    clock: Clock
    watch: Watch
    interrupts: Interrupts
    redact: evidence.Redact
    log_lines: int
    # What passed its gate, as it was then: from there on it may neither stop nor restart.
    _proven: dict[str, Container] = field(default_factory=dict)

    def prove(self, step: ServicePlan, ids: Sequence[str], stable: float, at_least: float = 0.0) -> None:
        """Start what does not run and wait until all have passed the gate together; Halt when one fails.

        They have `at_least` so many seconds for it, whatever the policy says.
        """
        gates: dict[str, gate.Gate] = {}
        last: dict[str, Container] = {}
        for container_id in ids:
            container = self.inspect(step, container_id)
            last[container_id] = container
            service = step.service
            timeout = max(gate.patience(service.policy, container, service.one_shot), at_least)
            gates[container_id] = gate.open_gate(container, service.one_shot, self.clock.now(), timeout, stable)
            if container_id in self._proven:
                proven = self._proven[container_id]
                gates[container_id] = replace(
                    gates[container_id], started_at=proven.started_at, restarts=proven.restart_count
                )
            elif not container.running:
                self.start(container)
        while True:
            now, until, waiting = self.clock.now(), float("inf"), False
            for container_id in ids:
                container_now = self.engine.inspect(container_id)
                last[container_id] = container_now or last[container_id]
                gates[container_id], verdict = gate.judge(gates[container_id], container_now, now)
                if isinstance(verdict, gate.Failed):
                    raise Halt(self._evidence(last[container_id], verdict))
                if isinstance(verdict, gate.Pending):
                    waiting, until = True, min(until, verdict.until)
            if not waiting:
                self._proven.update(last)
                return
            self.watch.wait(min(_LOOK, until - now))
            self.interrupts.check()

    def inspect(self, step: ServicePlan, container_id: str) -> Container:
        """Give a container; Halt when it is gone."""
        container = self.engine.inspect(container_id)
        if container is None:
            detail = "a container was removed by somebody else in the middle of the rollout"
            raise Halt(evidence.Failure(step.service.name, "", "exited", detail))
        return container

    def start(self, container: Container) -> None:
        """Start a container; Halt when the engine refuses."""
        try:
            self.engine.start(container.id)
        except EngineError as error:
            raise Halt(
                evidence.of_container(container, "create", f"could not be started: {error}", (), self.redact)
            ) from error

    def _evidence(self, container: Container, verdict: gate.Failed) -> evidence.Failure:
        try:
            logs = self.engine.logs(container.id, self.log_lines)
        except EngineError:
            # The verdict stands without them, and a container that is gone has none.
            logs = []
        return evidence.of_container(container, verdict.reason, verdict.detail, logs, self.redact)
