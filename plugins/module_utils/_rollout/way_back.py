# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back: what a run did to its services is undone, by container id, to the containers of before."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import gate
from .clock import Clock
from .creator import Creator
from .engine import Engine
from .errors import ComposeError, EngineError, EngineUnreachable, ProxyError
from .evidence import Halt, Redact
from .lifecycle import Lifecycle
from .observe import Container
from .plan import Plan, ServicePlan
from .policy import Policy
from .prover import Prover
from .proxy import Switched
from .record import Record
from .routing import Routing

# How long the way back waits for an engine that is not there, and how often it asks. Seconds.
_ENGINE_RETURNS = 120.0
_ASK_AGAIN = 1.0


@dataclass
class WayBack:
    """Undoes records. Never two owners of one port or data directory: see `ServicePlan.order`."""

    plan: Plan
    engine: Engine
    clock: Clock
    lifecycle: Lifecycle
    creator: Creator
    prover: Prover
    routing: Routing
    redact: Redact
    # Of the whole run, by service.
    records: Mapping[str, Record]
    # When the drains of a service are over, however many there are; by its name.
    _drained_by: dict[str, float] = field(default_factory=dict)
    # What came back and passed its gate, by id.
    _back: list[tuple[ServicePlan, list[str]]] = field(default_factory=list)

    def undo_all(self, records: Sequence[Record], last: Record | None) -> list[str]:
        """Undo the records, given in the order in which they were made; gives what could not be put back.

        `last` is the one that was at work: the engine may have kept its newest containers to itself.
        """
        problems: list[str] = []
        given_up = ""
        for unit in reversed(_units(records)):
            if given_up:
                problems += [
                    f"{r.step.service.name}: not put back: rollback_config of {given_up} says pause" for r in unit
                ]
                continue
            try:
                self._when_the_engine_is_there(functools.partial(self._undo_newest, unit, last))
            except (Halt, EngineError, ComposeError) as error:
                name = unit[0].step.service.name
                # A Halt names service and container itself.
                lead = "" if isinstance(error, Halt) else f"{name}: "
                problems.append(f"{lead}{self.redact(str(error))}")
                given_up = name if unit[0].step.service.policy.back.failure_action == "pause" else ""
        problems += [] if given_up else self._restart(self.records.values(), again=True)
        problems += self._look_again()
        for step in self.plan.services:
            try:
                self._point_tag_back(step)
            except EngineError as error:
                problems.append(f"image {step.service.image}: {error}")
        return problems

    def remaining(self, record: Record) -> list[Container]:
        """Give the old containers that are there, as they are now: what was to leave, and what was made again."""
        found = (self.engine.inspect(container.id) for container in (*record.step.retire, *record.again))
        return [container for container in found if container is not None]

    def _look_again(self) -> list[str]:
        """One that came back may have died while others were put back."""
        problems = []
        for step, ids in self._back:
            try:
                self.prover.prove(step, ids, 0.0)
            except (Halt, EngineError) as error:
                problems.append(self.redact(str(error)))
        return problems

    def undo(self, unit: Sequence[Record]) -> None:
        """Put the services of one unit back, and forget what was done to them. Raises Halt or EngineError."""
        for record in reversed(unit):
            if _stops_first(record.step):
                self._stop_new(record)
        self._remove_what_lost_its_owner(unit)
        for record in unit:
            self.creator.name_back(record)
            self._start_old(record)
            self._let_old_serve(record)
        for record in reversed(unit):
            # The file of before may name the service itself, and so what failed, while that runs.
            switched = self.routing.serve(record) if record.upstreams and record.created else ()
            if any(self._serves(container_id) for container_id in record.created):
                self._drain(record, switched)
            self._stop_new(record)
            for container_id in record.created:
                self.engine.remove(container_id)
            record.created.clear()
            self._put_upstreams_back(record)
            record.stopped.clear()
            record.started.clear()
            record.upstreams.clear()

    def _put_upstreams_back(self, record: Record) -> None:
        try:
            self.routing.put_back(record)
        except ProxyError as error:
            # The old ones have the traffic: what is missing is the service's name behind theirs.
            name = record.step.service.name
            record.notes.append(f"{name}: its upstream file is not quite as it was before: {self.redact(str(error))}")

    def _undo_newest(self, unit: Sequence[Record], last: Record | None) -> None:
        for record in unit:
            if record is last:
                self.creator.enter_created(record)
        self.undo(unit)

    def _when_the_engine_is_there(self, act: Callable[[], None]) -> None:
        deadline = self.clock.now() + _ENGINE_RETURNS
        while True:
            try:
                act()
            except EngineUnreachable:
                if self.clock.now() >= deadline:
                    raise
                self.clock.sleep(_ASK_AGAIN)
            else:
                return

    def _start_old(self, record: Record) -> None:
        """Start what was stopped, every one that can be, and see that those serve that served."""
        self._make_again(record)
        if any(container.running for container in record.step.retire):
            self._see_that_they_serve(record, record.again, 0.0)
        back, refused = record.step.service.policy.back, []
        waiting = list(record.stopped)
        size = back.parallelism or len(waiting)
        while waiting:
            batch, waiting = waiting[:size], waiting[size:]
            started = []
            for container in batch:
                self.prover.forget(container.id)
                try:
                    self.lifecycle.bring_back(container)
                    started.append(container)
                except (Halt, EngineError) as error:
                    if isinstance(error, EngineUnreachable):
                        raise
                    refused.append(str(error))
            self._see_that_they_serve(record, [each for each in started if each.serving], back.monitor)
            if waiting:
                self._make_room(record, started, len(waiting))
                self.clock.sleep(back.delay)
        if refused:
            raise EngineError("; ".join(refused))

    def _make_room(self, record: Record, returned: Sequence[Container], waiting: int) -> None:
        """Let as many new ones go as old ones are back, so that only one batch runs beyond those that are wanted.

        None goes whose place an old one is still `waiting` to take: this may come twice, as the way back does that
        waited for the engine.
        """
        new = [c for c in (self.engine.inspect(each) for each in record.created) if c is not None]
        running = sorted((c for c in new if c.running), key=lambda container: container.serving)
        leaving = running[: min(len(returned), max(len(running) - waiting, 0))]
        now = self.clock.now()
        record.joins([container for container in returned if container.serving], now)
        record.leaves((*leaving, *(c for c in new if not c.running)), now)
        try:
            switched = self.routing.serve(record) if record.upstreams else ()
            if any(container.serving for container in leaving):
                self._drain(record, switched)
            for container in leaving:
                self.lifecycle.stop(container)
        except EngineUnreachable:
            raise
        except (Halt, EngineError):
            # Those that wait matter more. When all are back this is tried again, and told.
            return

    def _drain(self, record: Record, switched: tuple[Switched, ...]) -> None:
        name, timeout = record.step.service.name, record.step.service.policy.drain_timeout
        until = self._drained_by.setdefault(name, self.clock.now() + timeout)
        self.routing.drain(record, switched, lambda: None, until)

    def _let_old_serve(self, record: Record) -> None:
        """From here on what is old gets the traffic, and nothing else."""
        step, now = record.step, self.clock.now()
        stayed = (self.engine.inspect(c.id) for c in (*step.keep, *step.watch, *step.restart))
        old = [*(c for c in stayed if c is not None), *self.remaining(record)]
        record.leaves(tuple(record.serving), now)
        record.joins([container for container in old if container.serving], now)

    def _see_that_they_serve(self, record: Record, served: Sequence[Container], monitor: float) -> None:
        """Start what does not run yet of what served before, and wait until it does again."""
        # A timeout too short for the new ones is no reason to give the old ones up.
        usual = (gate.patience(Policy(), container, record.step.service.one_shot) for container in served)
        ids = [container.id for container in served]
        self.prover.prove(record.step, ids, monitor, at_least=max(usual, default=0.0))
        self._back.append((record.step, ids))

    def _remove_what_lost_its_owner(self, unit: Sequence[Record]) -> None:
        """What is bound to a container that is going to be made again can only be made again, too."""
        for record in unit:
            bound_to = record.step.service.bound_to
            if any(owner.removed for owner in unit if owner.step.service.name in bound_to):
                for container in record.stopped:
                    if container not in record.removed:
                        record.removed.append(container)
                        self.engine.remove(container.id)

    def _make_again(self, record: Record) -> None:
        # What the engine refused to remove needs a start alone.
        record.removed = [container for container in record.removed if self.engine.inspect(container.id) is None]
        if not record.removed:
            return
        # The new ones have its name.
        for container_id in record.created:
            self.engine.remove(container_id)
        record.created.clear()
        with self._old_images(record.removed):
            ids = self.creator.create_again(record)
        # They are the old ones from here on, and stay.
        for container_id in ids:
            record.created.remove(container_id)
            self.lifecycle.made.discard(container_id)
        # What is gone cannot be started again.
        record.stopped = [container for container in record.stopped if container not in record.removed]
        record.removed.clear()
        record.again = [self.prover.inspect(record.step, container_id) for container_id in ids]

    @contextmanager
    def _old_images(self, containers: Sequence[Container]) -> Iterator[None]:
        """Let tags name the images of these; then again what they named, for a run that goes on."""
        moved = {}
        for container in containers:
            named = self.engine.image_id(container.image)
            if named != container.image_id and "@" not in container.image:
                moved[container.image] = named
                self.engine.tag(container.image_id, container.image)
        yield
        for reference, image_id in moved.items():
            if image_id is not None:
                self.engine.tag(image_id, reference)

    def _stop_new(self, record: Record) -> None:
        """Stop what this run started. What it repaired stays, unless older ones come back or it did not pass."""
        repaired = () if record.repaired and not record.step.retire else record.started
        for container_id in (*record.created, *(container.id for container in repaired)):
            container = self.engine.inspect(container_id)
            # One in a crash loop is seen dead between two lives, so that it does not run says nothing.
            if container is not None and container.status != "created":
                self.lifecycle.stop(container)
        for container in repaired:
            if self.engine.inspect(container.id) is not None:
                self.engine.set_restart_policy(container.id, container.restart_policy)

    def restart_bound(self, unit: Sequence[Record]) -> list[str]:
        """Restart what lives in the namespace of one that this run restarted; gives what could not be."""
        return self._restart(unit, again=False)

    def _restart(self, records: Iterable[Record], again: bool) -> list[str]:
        """Restart what is bound to a container that restarted, its namespace of before being gone.

        `again`: and what restarted with a new container, now that the old one is back.
        """
        problems = []
        restarted: set[str] = set()
        for record in records:
            bound = not record.restarted and record.step.service.bound_to & restarted
            if record.restarted or bound:
                restarted.add(record.step.service.name)
            containers = _present(record.step, record.again) if bound else record.restarted if again else ()
            for container in containers:
                try:
                    self.prover.forget(container.id)
                    found = self.engine.inspect(container.id)
                    if found is None and bound:
                        continue
                    if found is not None and found.running:
                        self.lifecycle.stop(found)
                    self.lifecycle.bring_back(container)
                    self._see_that_they_serve(record, [container] if container.serving else [], 0.0)
                except (Halt, EngineError) as error:
                    problems.append(f"{record.step.service.name}: {self.redact(str(error))}")
        return problems

    def _serves(self, container_id: str) -> bool:
        container = self.engine.inspect(container_id)
        return container is not None and container.serving

    def _point_tag_back(self, step: ServicePlan) -> None:
        """A tag that moved to the bad image would make a later `docker compose up` bring that image back."""
        for container in step.retire:
            reference = step.service.image
            moved = container.image == reference and self.engine.image_id(reference) != container.image_id
            if container.serving and moved and "@" not in reference:
                self.engine.tag(container.image_id, reference)


def _present(step: ServicePlan, again: Iterable[Container]) -> list[Container]:
    """Give the old containers of a service that ran when the run began, and those that were made in their place."""
    return [*(c for c in (*step.keep, *step.watch, *step.restart, *step.retire) if c.running), *again]


def _stops_first(step: ServicePlan) -> bool:
    """Whether new ones stop before old ones start: as rollback_config says where both can be side by side."""
    order = step.order if step.service.exclusive or step.followers else step.service.policy.back.order or step.order
    return order != "start_first"


def unit_of(record: Record, records: Mapping[str, Record]) -> list[Record]:
    """Give the records that are undone together with this one, in their order."""
    return next(unit for unit in _units(list(records.values())) if record in unit)


def _units(records: Sequence[Record]) -> list[list[Record]]:
    """Divide records into those that are undone together: services whose containers are bound to each other's."""
    units: list[list[Record]] = []
    for record in records:
        owners = [unit for unit in units if any(r.step.service.name in record.step.service.bound_to for r in unit)]
        joined = [*(member for unit in owners for member in unit), record]
        units = [unit for unit in units if unit not in owners]
        units.append(joined)
    return units
