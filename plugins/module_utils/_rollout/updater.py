# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way forward for one service: create, start, prove, route, drain, stop the old."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from . import slots
from .clock import Clock
from .creator import Creator
from .engine import Engine
from .evidence import Failure, Halt
from .interrupts import Interrupts
from .lifecycle import Lifecycle
from .observe import Container
from .orphans import Orphans
from .plan import Plan, ServicePlan
from .prover import Prover
from .record import Record
from .routing import Routing

# How often a run that only waits looks whether it is to end. Seconds.
_LISTEN = 1.0


class Pause(Halt):
    """Ends the run where it stands: failure_action is pause."""


@dataclass
class Updater:
    """Carries the steps of one plan out. `records` are those of the run so far, by service."""

    plan: Plan
    engine: Engine
    clock: Clock
    interrupts: Interrupts
    lifecycle: Lifecycle
    creator: Creator
    prover: Prover
    routing: Routing
    orphans: Orphans
    records: Mapping[str, Record]

    def carry_out(self, record: Record) -> None:
        """Bring one service to what its step says. Halt when it fails, Pause where that leaves it as it is."""
        step = record.step
        if step.service.one_shot:
            self._run_once(record)
            return
        if step.create or step.restart or any(not container.running for container in step.watch):
            # Not by the service's own name: that is also the name of the new ones before they are proven.
            self.routing.close(record)
        if step.order == "stop_first" and step.service.exclusive and (step.watch or not step.create):
            # A right one that was left beside an old one may start only when that is gone.
            self._leave(record, step.retire)
        if step.misnamed:
            self._name(record)
        if step.watch:
            self._repair(record)
        if step.restart:
            self._restart(record)
        if step.order == "recreate":
            self._recreate(record)
        else:
            self._replace(record)
        self.routing.serve(record)

    def _run_once(self, record: Record) -> None:
        for container in record.step.retire:
            if container.running:
                # Left over from a killed run, and of another version. Rollback runs no one-shot again.
                self.lifecycle.stop(container)
            if record.step.create and record.step.service.container_name:
                # The new one gets its name. What a one-shot did is not undone, so nothing of it is needed again.
                self.engine.remove(container.id)
        for container in record.step.watch:
            self.prover.prove(record.step, [container.id], 0.0)
        if record.step.create:
            new = self._create(record, record.step.create)
            self.orphans.make_way(record.step)
            self.prover.prove(record.step, new, 0.0)

    def _name(self, record: Record) -> None:
        """Give those their name that a run which went no further had put aside, when their service was an orphan."""
        self.orphans.give_name(record.step)
        for container in record.step.misnamed:
            record.renamed.append(container)
            self.engine.rename(container.id, record.step.service.container_name)

    def _repair(self, record: Record) -> None:
        step = record.step
        self.orphans.make_way(step)
        for container in step.watch:
            if not container.running:
                record.started.append(container)
            if container.restart_policy != step.service.restart_policy:
                self.engine.set_restart_policy(container.id, step.service.restart_policy)
        self._prove(record, [container.id for container in step.watch], step.service.policy.stable)
        record.repaired = True

    def _restart(self, record: Record) -> None:
        waiting = list(record.step.restart)
        while waiting:
            size = record.step.service.policy.parallelism or len(waiting)
            batch, waiting = tuple(waiting[:size]), waiting[size:]
            record.restarted.extend(batch)
            self._leave(record, batch)
            self.routing.close(record)
            for container in batch:
                self.engine.set_restart_policy(container.id, record.step.service.restart_policy)
            self._prove(record, [container.id for container in batch], record.step.service.policy.stable)
            self.routing.serve(record)

    def _recreate(self, record: Record) -> None:
        self._leave(record, record.step.retire)
        for container in record.step.retire:
            record.removed.append(container)
            self.engine.remove(container.id)
        self.routing.close(record)
        if record.step.create:
            new = self._create(record, record.step.create)
            self.orphans.make_way(record.step)
            self._prove(record, new, record.step.service.policy.stable)

    def _replace(self, record: Record) -> None:
        step, policy = record.step, record.step.service.policy
        batches = slots.batches(step)
        for number, batch in enumerate(batches, 1):
            failures = self._carry_out_batch(record, batch)
            record.failures.extend(failures)
            if failures:
                self._react(record, failures[0])
            if number < len(batches) and batch.size and policy.delay:
                self._wait(policy.delay)

    def _wait(self, seconds: float) -> None:
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            self.clock.sleep(min(_LISTEN, until - self.clock.now()))
            self.interrupts.check()

    def _react(self, record: Record, failure: Failure) -> None:
        step = record.step
        reaction = slots.reaction(step.service.policy, len(record.failures), step.create)
        if reaction == "rollback":
            raise Halt(failure)
        if reaction == "pause":
            raise Pause(failure)
        if reaction == "continue":
            record.failed = True

    def _carry_out_batch(self, record: Record, batch: slots.Batch) -> list[Failure]:
        """Replace one batch; gives the failures of the new ones whose slots the old ones keep."""
        step, policy = record.step, record.step.service.policy
        new = self._create(record, batch.size) if batch.size else []
        if step.order == "stop_first":
            # Created before, started after: the time between is when nobody serves. No new one may meet an old one
            # where they would share what only one can have.
            self._leave(record, step.retire if step.service.exclusive else batch.leaving)
        if new:
            self.orphans.make_way(step)
        failures = self._judge(record, new, policy.stable, checked=True)
        if failures:
            self._give_slots_back(record, batch, failures)
        if step.order == "start_first":
            self._leave(record, [container for container in batch.leaving if container not in record.kept])
        else:
            self.routing.serve(record)
        if batch.monitor:
            late = self._judge(record, [each for each in record.created if each not in failures], batch.monitor)
            if late:
                self._give_slots_back(record, batch, late)
                failures.update(late)
        return list(failures.values())

    def _judge(self, record: Record, ids: Sequence[str], stable: float, checked: bool = False) -> dict[str, Failure]:
        if slots.fails_fast(record.step):
            self.prover.prove(record.step, ids, stable, checked=checked)
            failures: dict[str, Failure] = {}
        else:
            failures = self.prover.judge(record.step, ids, stable, checked=checked)
        self._join(record, [each for each in ids if each not in failures])
        return failures

    def _prove(self, record: Record, ids: Sequence[str], stable: float) -> None:
        self.prover.prove(record.step, ids, stable, checked=True)
        self._join(record, ids)

    def _join(self, record: Record, ids: Sequence[str]) -> None:
        record.joins([self.prover.inspect(record.step, each) for each in ids], self.clock.now())

    def _give_slots_back(self, record: Record, batch: slots.Batch, failures: Mapping[str, Failure]) -> None:
        """Let the old containers have the slots of the new ones that failed, and remove those."""
        others = [container for container in record.stopped if container not in batch.leaving]
        replaced = [*others, *(container for container in batch.leaving if container not in record.kept)]
        staying = slots.stay(replaced, len(failures))
        record.kept.extend(staying)
        stopped = [container for container in staying if container in record.stopped]
        for container in stopped:
            self.lifecycle.bring_back(container)
            record.stopped.remove(container)
        self.prover.prove(record.step, [container.id for container in stopped if container.serving], 0.0)
        failed = tuple(self.prover.inspect(record.step, each) for each in failures)
        self._join(record, [container.id for container in stopped if container.serving])
        record.leaves(failed, self.clock.now())
        self.routing.serve(record)
        for container in failed:
            self.lifecycle.stop(container, failed=True)
            self.engine.remove(container.id)
            record.created.remove(container.id)
            record.created_names.pop(container.id)

    def _leave(self, record: Record, containers: Sequence[Container]) -> None:
        """Take old containers out of traffic, wait until they have none, and stop them."""
        running = tuple(c for c in containers if c.running and c not in record.stopped)
        record.leaves(running, self.clock.now())
        switched = self.routing.serve(record)
        bound = [self.records[s.service.name] for s in self._bound_now(record.step) if s.service.name in self.records]
        self.routing.drain(record, switched, lambda: self._look(record))
        for follower in reversed(bound):
            self._leave(follower, follower.step.retire)
        for container in running:
            self.interrupts.check()
            if container not in record.restarted:
                record.stopped.append(container)
            self.prover.forget(container.id)
            self.lifecycle.stop(container)

    def _bound_now(self, step: ServicePlan) -> tuple[ServicePlan, ...]:
        return self.plan.bound_to(step.service.name) if step.replaces else ()

    def _look(self, record: Record) -> None:
        self.interrupts.check()
        self.prover.still_good(record.created)

    def _create(self, record: Record, count: int) -> list[str]:
        self.interrupts.check()
        self.orphans.give_name(record.step)
        owners: Iterable[Record] = (
            self.records[name] for name in sorted(record.step.service.bound_to) if name in self.records
        )
        return self.creator.create(record, count, owners)
