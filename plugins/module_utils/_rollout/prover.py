# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start containers and wait until each has passed its gate and its checks, or has failed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from . import duration, evidence, gate
from .checks import Answer, Check, Checker
from .clock import Clock
from .engine import Engine, Watch
from .errors import EngineError
from .evidence import Halt
from .interrupts import Interrupts
from .lifecycle import Lifecycle
from .observe import Container
from .plan import ServicePlan
from .policy import Policy

# The event stream gives promptness; a look at the containers at least this often gives certainty. Seconds.
_LOOK = 1.0
# A check that fails is tried again after so many seconds.
_TRY_AGAIN = 1.0
# How long the front door has to give the right answers. Seconds.
_FRONT_DOOR = 60.0


@dataclass
class _Trial:
    """One container on its way through the gate."""

    gate: gate.Gate
    container: Container
    checks: list[Check]
    ask_at: float = 0.0
    failure: evidence.Failure | None = None


@dataclass
class Prover:
    """Judges the containers of one run; what happens to them between two looks is asked of the engine."""

    engine: Engine
    clock: Clock
    watch: Watch
    checker: Checker
    lifecycle: Lifecycle
    interrupts: Interrupts
    redact: evidence.Redact
    log_lines: int
    # What passed its gate, as it was then: from there on it may neither stop nor restart.
    _proven: dict[str, Container] = field(default_factory=dict)

    def prove(
        self, step: ServicePlan, ids: Sequence[str], stable: float, at_least: float = 0.0, checked: bool = False
    ) -> None:
        """Start what does not run and wait until all have passed the gate together; Halt when one fails.

        They have `at_least` so many seconds for it, whatever the policy says. `checked`: the service's checks, too.
        """
        for failure in self.judge(step, ids, stable, at_least, checked, fails_fast=True).values():
            raise Halt(failure)

    def judge(
        self,
        step: ServicePlan,
        ids: Sequence[str],
        stable: float,
        at_least: float = 0.0,
        checked: bool = False,
        fails_fast: bool = False,
    ) -> dict[str, evidence.Failure]:
        """As prove, but give the failure of each that did not pass, by id; with `fails_fast`, the first one alone."""
        return self._wait_for(
            {
                container_id: self._open(step, container_id, stable, at_least, checked)
                for container_id in dict.fromkeys(ids)
            },
            fails_fast,
        )

    def prove_orphan(self, orphan: Container, policy: Policy) -> None:
        """Start one that had to stop for a while, and wait until it serves; Halt when it does not.

        `policy` is that of its service, which is no longer in the project.
        """
        # As every old one, it has at least the time that its healthcheck says.
        timeout = max(gate.patience(each, orphan, one_shot=False) for each in (policy, Policy()))
        trial = self._begin(orphan.id, self.engine.inspect(orphan.id) or orphan, timeout, 0.0)
        for failure in self._wait_for({orphan.id: trial}, fails_fast=True).values():
            raise Halt(failure)

    def _wait_for(self, trials: Mapping[str, _Trial], fails_fast: bool) -> dict[str, evidence.Failure]:
        while True:
            waiting, until = False, float("inf")
            now = self.clock.now()
            for container_id, trial in trials.items():
                if trial.failure is None:
                    next_look = self._look(container_id, trial, now)
                    if next_look is not None:
                        waiting, until = True, min(until, next_look)
                if trial.failure is not None and fails_fast:
                    return {container_id: trial.failure}
            if not waiting:
                passed = {key: trial.container for key, trial in trials.items() if trial.failure is None}
                self._proven.update(passed)
                return {key: trial.failure for key, trial in trials.items() if trial.failure is not None}
            self.watch.wait(min(_LOOK, until - now))
            self.interrupts.check()

    def still_good(self, ids: Sequence[str]) -> None:
        """Halt when one that had passed has stopped or restarted since."""
        for container_id in ids:
            proven = self._proven.get(container_id)
            if proven is not None:
                trial = _Trial(self._of_proven(proven, 0.0, 0.0), proven, [])
                # By the clock of its gate: one that serves has all the time it needs.
                self._look(container_id, trial, trial.gate.began)
                if trial.failure is not None:
                    raise Halt(trial.failure)

    def forget(self, container_id: str) -> None:
        """It is about to be stopped on purpose: what it has proven says nothing of its next start."""
        self._proven.pop(container_id, None)

    def front_door(self, checks: Sequence[Check]) -> None:
        """Wait until the front door gives the right answers; Halt when it does not."""
        deadline = self.clock.now() + _FRONT_DOOR
        for check in checks:
            while True:
                answer = self.checker.of_front_door(check)
                if answer.passed:
                    break
                if self.clock.now() >= deadline:
                    detail = self.redact(f"final check {answer.request} gave {answer.answer}")
                    raise Halt(evidence.Failure("", "", "check", detail, check=evidence.of_answer(answer, self.redact)))
                self.clock.sleep(_TRY_AGAIN)
                self.interrupts.check()

    def inspect(self, step: ServicePlan, container_id: str) -> Container:
        """Give a container; Halt when it is gone."""
        container = self.engine.inspect(container_id)
        if container is None:
            detail = "a container was removed by somebody else in the middle of the rollout"
            raise Halt(evidence.Failure(step.service.name, "", "exited", detail))
        return container

    def _open(self, step: ServicePlan, container_id: str, stable: float, at_least: float, checked: bool) -> _Trial:
        service = step.service
        container = self.inspect(step, container_id)
        timeout = max(gate.patience(service.policy, container, service.one_shot), at_least)
        checks = list(service.policy.checks) if checked else []
        return self._begin(container_id, container, timeout, stable, service.one_shot, checks)

    def _begin(
        self,
        container_id: str,
        container: Container,
        timeout: float,
        stable: float,
        one_shot: bool = False,
        checks: Sequence[Check] = (),
    ) -> _Trial:
        if container_id in self._proven:
            return _Trial(self._of_proven(self._proven[container_id], timeout, stable), container, list(checks))
        trial = _Trial(gate.open_gate(container, one_shot, self.clock.now(), timeout, stable), container, list(checks))
        if not container.running:
            try:
                self.lifecycle.start(container)
            except Halt as halt:
                trial.failure = halt.failure
        return trial

    def _of_proven(self, proven: Container, timeout: float, stable: float) -> gate.Gate:
        opened = gate.open_gate(proven, one_shot=False, now=self.clock.now(), timeout=timeout, stable=stable)
        return replace(opened, started_at=proven.started_at, restarts=proven.restart_count)

    def _look(self, container_id: str, trial: _Trial, now: float) -> float | None:
        """Judge once; gives when to look again, None when there is nothing to wait for."""
        found = self.engine.inspect(container_id)
        trial.container = found or trial.container
        trial.gate, verdict = gate.judge(trial.gate, found, now)
        if isinstance(verdict, gate.Failed):
            trial.failure = self._evidence(trial.container, verdict.reason, verdict.detail)
            return None
        if isinstance(verdict, gate.Pending):
            return verdict.until
        return self._ask(trial, now)

    def _ask(self, trial: _Trial, now: float) -> float | None:
        while trial.checks:
            if now < trial.ask_at:
                return trial.ask_at
            answer = self.checker.of_container(trial.checks[0], trial.container)
            if not answer.passed:
                # The first answer counts even where health took all the time there was.
                if now >= trial.gate.deadline:
                    waited = duration.text(now - trial.gate.began)
                    detail = f"still fails the check {answer.request} after {waited}: {answer.answer}"
                    trial.failure = self._evidence(trial.container, "check", detail, answer)
                    return None
                trial.ask_at = now + _TRY_AGAIN
                return trial.ask_at
            del trial.checks[0]
        return None

    def _evidence(
        self, container: Container, reason: str, detail: str, answer: Answer | None = None
    ) -> evidence.Failure:
        try:
            logs = self.engine.logs(container.id, self.log_lines)
        except EngineError:
            # The verdict stands without them, and a container that is gone has none.
            logs = []
        return evidence.of_container(container, reason, detail, logs, self.redact, answer)
