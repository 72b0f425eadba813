# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry a plan out: create, start, prove, stop the old, commit; or put everything back.

Every effect on a container goes through Engine or Compose, and is entered in the service's record as it happens, so
that rollback knows exactly what to undo: by container id, services in reverse order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from . import evidence, gate
from .clock import Clock
from .compose_cli import Compose
from .engine import Engine
from .errors import ComposeError, EngineError, EngineUnreachable, Interrupted
from .interrupts import Interrupts
from .observe import Container
from .plan import Plan, ServicePlan
from .policy import Policy
from .prover import Halt, Prover

# How long the way back waits for an engine that is not there, and how often it asks. Seconds.
_ENGINE_RETURNS = 120.0
_ASK_AGAIN = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `outcome` is unchanged, deployed, rolled_back or dirty; times in seconds.

    `serving` is what serves in place of what failed; `acted` whether there was anything to roll back.
    """

    outcome: str
    services: tuple[dict[str, Any], ...]
    seconds: float
    failure: evidence.Failure | None = None
    serving: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    acted: bool = True

    def message(self) -> str:
        """Say in one line what happened and what serves now."""
        if self.failure is None:
            return f"{self.outcome} in {self.seconds:.1f} s"
        serving = f"serving: {', '.join(self.serving)}" if self.serving else "none of it serves"
        if self.outcome == "rolled_back":
            undone = "Rolled back" if self.acted else "This run had changed nothing"
            return f"{self.failure.sentence()}. {undone}; {serving}."
        return (
            f"{self.failure.sentence()}. The rollback failed too: {'; '.join(self.problems)}. "
            "Look at `docker compose ps -a` and run this again when that is mended."
        )


@dataclass
class _Record:
    """What was done to one service in this run."""

    step: ServicePlan
    began: float
    # The project's containers before the last create, whose result the engine may have kept to itself.
    before: frozenset[str] | None = None
    created: list[str] = field(default_factory=list)
    created_names: list[str] = field(default_factory=list)
    # Restarted where they stood, by a repair.
    started: list[Container] = field(default_factory=list)
    repaired: bool = False
    stopped: list[Container] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Rollout:
    """One run of one plan."""

    plan: Plan
    engine: Engine
    compose: Compose
    clock: Clock
    redact: evidence.Redact
    log_lines: int
    interrupts: Interrupts
    # Records on the host that the new ones are in force; OSError when it cannot.
    commit: Callable[[], None]

    def __post_init__(self) -> None:
        self._records: list[_Record] = []
        self._prover: Prover

    def run(self) -> Outcome:
        """Roll out. Gives the outcome; a failure is in it, not raised."""
        began = self.clock.now()
        with self.engine.watch(self.plan.project.name) as watch:
            self._prover = Prover(self.engine, self.clock, watch, self.interrupts, self.redact, self.log_lines)
            failure = self._go_forward()
            if failure is not None:
                return self._roll_back(failure, began)
        # Committed: the new ones serve, and nothing leads back. What fails now is left to the next run.
        problems = self._remove_replaced()
        return Outcome(
            outcome="deployed" if self.plan.changes else "unchanged",
            services=self._services(),
            seconds=self.clock.now() - began,
            problems=problems,
        )

    def _go_forward(self) -> evidence.Failure | None:
        try:
            for step in self.plan.services:
                if step.action != "none":
                    self._carry_out(step)
            for record in self._records:
                # One that passed may have died while others were proven, and after this nothing leads back.
                if not record.step.service.one_shot:
                    self._prover.prove(record.step, [*record.created, *(c.id for c in record.step.watch)], 0.0)
            self._commit()
        except Halt as halt:
            return halt.failure
        except Interrupted as signal:
            return evidence.Failure("", "", "interrupted", str(signal))
        except (EngineError, ComposeError) as error:
            service = self._records[-1].step.service.name if self._records else ""
            return evidence.Failure(service, "", "create", self.redact(str(error)))
        return None

    def _commit(self) -> None:
        try:
            self.commit()
        except OSError as error:
            detail = f"what is proven cannot be recorded on this host: {error}"
            raise Halt(evidence.Failure("", "", "commit", detail)) from error

    def _carry_out(self, step: ServicePlan) -> None:
        record = _Record(step, self.clock.now())
        self._records.append(record)
        if step.order == "stop_first" and step.service.exclusive:
            # Not batch by batch: no old one may be left beside the first new one.
            self._stop(record, step.retire)
        if step.watch:
            self._repair(record)
        if step.service.one_shot:
            self._run_once(record)
        else:
            self._replace(record)
        record.seconds = self.clock.now() - record.began

    def _repair(self, record: _Record) -> None:
        step = record.step
        for container in step.watch:
            if not container.running:
                record.started.append(container)
            if container.restart_policy != step.service.restart_policy:
                self.engine.set_restart_policy(container.id, step.service.restart_policy)
        self._prover.prove(step, [container.id for container in step.watch], step.service.policy.stable)
        record.repaired = True

    def _run_once(self, record: _Record) -> None:
        for container in record.step.retire:
            if container.running:
                # Left over from a killed run, and of another version. Rollback runs no one-shot again.
                self._stop_for_good(container)
        if record.step.create:
            self._create(record, record.step.create)
            self._prover.prove(record.step, record.created, 0.0)

    def _replace(self, record: _Record) -> None:
        """Batch by batch: no more old ones are stopped than new ones are proven, or about to take their place."""
        step, policy = record.step, record.step.service.policy
        # What does not serve goes first.
        old = sorted(
            (container for container in step.retire if container not in record.stopped),
            key=lambda container: (container.serving, container.number),
        )
        to_create = step.create
        while to_create or old:
            size = min(policy.parallelism or to_create, to_create)
            to_create -= size
            surplus = max(len(old) - to_create, 0)
            leaving, old = old[:surplus], old[surplus:]
            if step.order == "stop_first":
                self._stop(record, leaving)
            if size:
                self._create(record, size)
                self._prover.prove(step, record.created, policy.stable)
            if step.order == "start_first":
                self._stop(record, leaving)
            if size and policy.monitor:
                self._prover.prove(step, record.created, policy.monitor)
            if to_create and policy.delay:
                self.clock.sleep(policy.delay)

    def _create(self, record: _Record, count: int) -> None:
        """Let Compose create `count` more containers of the service, and see that it touched nothing else."""
        self.interrupts.check()
        project, service = self.plan.project, record.step.service
        before = {container.id: container for container in self.engine.containers(project.name)}
        counts = {name: _count(before.values(), name) for name in project.dependencies(service.name)}
        counts[service.name] = _count(before.values(), service.name) + count
        record.before = frozenset(before)
        self.compose.create(service.name, counts)
        after = self._enter_created(record)
        new = [container for container in after.values() if container.id not in before]
        touched = [c.name for c in before.values() if c.id not in after or after[c.id].running != c.running]
        touched += [container.name for container in new if container.service != service.name]
        if touched or len(new) != count:
            detail = f"Compose was to create {count} of this service alone; it made {len(new)} and touched {touched}"
            raise Halt(evidence.Failure(service.name, "", "create", detail))
        if service.policy.no_healthcheck == "fail" and not service.one_shot and not new[0].healthcheck:
            detail = "has no healthcheck, and x-rollout.no_healthcheck is fail"
            raise Halt(evidence.Failure(service.name, new[0].name, "create", detail))

    def _enter_created(self, record: _Record) -> dict[str, Container]:
        """Enter what came since the last create began; gives all containers of the project by id."""
        after = {container.id: container for container in self.engine.containers(self.plan.project.name)}
        for container in after.values():
            known = record.before is None or container.id in record.before or container.id in record.created
            if not known:
                record.created.append(container.id)
                record.created_names.append(container.name)
        return after

    def _stop(self, record: _Record, containers: Iterable[Container]) -> None:
        for container in containers:
            self.interrupts.check()
            if not container.running:
                continue
            record.stopped.append(container)
            self._stop_for_good(container)

    def _stop_for_good(self, container: Container) -> None:
        # With `always` it would come back when the engine restarts before the commit.
        try:
            self.engine.set_restart_policy(container.id, ("no", 0))
        except EngineError:
            # The engine refuses to update a container that dies at that moment, as one in a crash loop does.
            self.engine.stop(container.id, container.stop_timeout)
            self.engine.set_restart_policy(container.id, ("no", 0))
        self.engine.stop(container.id, container.stop_timeout)

    def _remove_replaced(self) -> tuple[str, ...]:
        problems = []
        replaced = [container for record in self._records for container in record.step.retire]
        for container in (*self.plan.orphans, *replaced):
            try:
                if container in self.plan.orphans and container.running:
                    self.engine.stop(container.id, container.stop_timeout)
                self.engine.remove(container.id)
            except EngineError as error:
                problems.append(f"{container.name} could not be removed: {error}; the next run tries again")
        return tuple(problems)

    def _roll_back(self, failure: evidence.Failure, began: float) -> Outcome:
        self.interrupts.ignore()
        problems: list[str] = []
        for record in reversed(self._records):
            try:
                self._undo_when_the_engine_is_there(record)
            except (Halt, EngineError) as error:
                problems.append(f"{record.step.service.name}: {self.redact(str(error))}")
        for step in self.plan.services:
            try:
                self._point_tag_back(step)
            except EngineError as error:
                problems.append(f"image {step.service.image}: {error}")
        serving: tuple[str, ...] = ()
        try:
            serving = self._serving(failure)
        except EngineError as error:
            problems.append(str(error))
        return Outcome(
            outcome="dirty" if problems else "rolled_back",
            services=self._services(),
            seconds=self.clock.now() - began,
            failure=failure,
            serving=serving,
            problems=tuple(problems),
            acted=any(record.created or record.started or record.stopped for record in self._records),
        )

    def _undo_when_the_engine_is_there(self, record: _Record) -> None:
        deadline = self.clock.now() + _ENGINE_RETURNS
        while True:
            try:
                if record is self._records[-1]:
                    self._enter_created(record)
                self._undo(record)
            except EngineUnreachable:
                if self.clock.now() >= deadline:
                    raise
                self.clock.sleep(_ASK_AGAIN)
            else:
                return

    def _undo(self, record: _Record) -> None:
        """Put one service back. Never two owners of one port or data directory: see `order`."""
        step = record.step
        if step.order == "stop_first":
            self._stop_new(record)
        self._start_old(record)
        self._stop_new(record)
        for container_id in record.created:
            self.engine.remove(container_id)

    def _start_old(self, record: _Record) -> None:
        """Start what was stopped, every one that can be, and see that those serve that served."""
        started, refused = [], []
        for container in record.stopped:
            try:
                self.engine.set_restart_policy(container.id, container.restart_policy)
                if not self._prover.inspect(record.step, container.id).running:
                    self._prover.start(container)
                started.append(container)
            except (Halt, EngineError) as error:
                refused.append(str(error))
        served = [container for container in started if container.serving]
        # A timeout too short for the new ones is no reason to give the old ones up.
        usual = (gate.patience(Policy(), container, record.step.service.one_shot) for container in served)
        self._prover.prove(record.step, [container.id for container in served], 0.0, at_least=max(usual, default=0.0))
        if refused:
            raise EngineError("; ".join(refused))

    def _stop_new(self, record: _Record) -> None:
        """Stop what this run started. What it repaired stays, unless older ones come back or it did not pass."""
        repaired = () if record.repaired and not record.step.retire else record.started
        for container_id in (*record.created, *(container.id for container in repaired)):
            container = self.engine.inspect(container_id)
            # One in a crash loop is seen dead between two lives, so that it does not run says nothing.
            if container is not None and container.status != "created":
                self._stop_for_good(container)
        for container in repaired:
            if self.engine.inspect(container.id) is not None:
                self.engine.set_restart_policy(container.id, container.restart_policy)

    def _point_tag_back(self, step: ServicePlan) -> None:
        """A tag that moved to the bad image would make a later `docker compose up` bring that image back."""
        for container in step.retire:
            reference = step.service.image
            moved = container.image == reference and self.engine.image_id(reference) != container.image_id
            if container.serving and moved and "@" not in reference:
                self.engine.tag(container.image_id, reference)

    def _serving(self, failure: evidence.Failure) -> tuple[str, ...]:
        """Name what serves in place of what failed, or of the whole project where no service is to blame."""
        present = self.engine.containers(self.plan.project.name)
        names = (c.name for c in present if c.serving and failure.service in ("", c.service))
        return tuple(sorted(names))

    def _services(self) -> tuple[dict[str, Any], ...]:
        done = {record.step.service.name: record for record in self._records}
        return tuple(
            {
                **describe(step),
                "new": done[step.service.name].created_names if step.service.name in done else [],
                "seconds": round(done[step.service.name].seconds, 2) if step.service.name in done else 0.0,
            }
            for step in self.plan.services
        )


def describe(step: ServicePlan) -> dict[str, Any]:
    """Give one service's part of a plan as plain data."""
    return {
        "service": step.service.name,
        "action": step.action,
        "order": step.order,
        "reasons": list(step.reasons),
        "create": step.create,
        "old": [container.name for container in step.retire],
        "interrupts": step.interrupts,
    }


def _count(containers: Iterable[Container], service: str) -> int:
    return sum(container.service == service for container in containers)
