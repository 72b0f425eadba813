# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have Compose create containers of one service, and see that it touched nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import evidence
from .compose_cli import Compose
from .dependency_order import all_needed
from .engine import Engine
from .errors import EngineError
from .evidence import Halt
from .lifecycle import Lifecycle
from .observe import Container
from .plan import Plan
from .record import Record

_ASIDE = "zz-"


@dataclass
class Creator:
    """Creates the containers of one run.

    `archives`: by service, what is unpacked into each before its start; `archives_before` those of the committed
    configuration.
    """

    plan: Plan
    engine: Engine
    compose: Compose
    # On the committed configuration, to make again what had to be removed; None where there is none.
    compose_before: Compose | None
    lifecycle: Lifecycle
    archives: Mapping[str, bytes]
    archives_before: Mapping[str, bytes]
    # What each service of the committed configuration needs directly: Compose counts by that when it makes it again.
    needs_before: Mapping[str, frozenset[str]]

    def create(self, record: Record, count: int, owners: Iterable[Record]) -> list[str]:
        """Create `count` more containers of the record's service and start none; gives their ids.

        `owners`: the records of services whose containers these will be bound to.
        """
        for owner in owners:
            self._put_aside(owner)
        new = self._create(record, count, self.compose, self.plan.project.dependencies(record.step.service.name))
        service = record.step.service
        self._deliver(service.name, new, self.archives)
        for container in new:
            if service.policy.no_healthcheck == "fail" and not service.one_shot and not container.healthcheck:
                detail = "has no healthcheck, and x-rollout.no_healthcheck is fail"
                raise Halt(evidence.Failure(service.name, container.name, "create", detail))
        return [container.id for container in new]

    def create_again(self, record: Record) -> list[str]:
        """Create what `record.removed` was, from the committed configuration; gives the ids."""
        if self.compose_before is None:
            raise EngineError("there is no committed configuration to make it again from")
        needed = all_needed(self.needs_before, record.step.service.name)
        again = self._create(record, len(record.removed), self.compose_before, needed)
        self._deliver(record.step.service.name, again, self.archives_before)
        return [container.id for container in again]

    def enter_created(self, record: Record) -> dict[str, Container]:
        """Enter what came since the last create began; gives all containers of the project by id."""
        after = {container.id: container for container in self.engine.containers(self.plan.project.name)}
        for container in after.values():
            known = record.before is None or container.id in record.before or container.id in record.created
            if not known:
                record.created.append(container.id)
                record.created_names[container.id] = container.name
                self.lifecycle.made.add(container.id)
        return after

    def name_back(self, record: Record) -> None:
        """Give the containers that were put aside their names again."""
        for container in record.renamed:
            found = self.engine.inspect(container.id)
            # The engine refuses to give a container the name that it has.
            if found is not None and found.name != container.name:
                self.engine.rename(container.id, container.name)
        record.renamed.clear()

    def _create(self, record: Record, count: int, compose: Compose, needed: Iterable[str]) -> list[Container]:
        project, service = self.plan.project, record.step.service
        before = {container.id: container for container in self.engine.containers(project.name)}
        counts = {name: _count(before.values(), name) for name in needed}
        counts[service.name] = _count(before.values(), service.name) + count
        record.before = frozenset(before)
        compose.create(service.name, counts)
        after = self.enter_created(record)
        # Its result is known: what comes from now on is others', or was made again on the way back.
        record.before = None
        new = [container for container in after.values() if container.id not in before]
        touched = [c.name for c in before.values() if c.id not in after or after[c.id].running != c.running]
        touched += [container.name for container in new if container.service != service.name]
        if touched or len(new) != count:
            detail = f"Compose was to create {count} of this service alone; it made {len(new)} and touched {touched}"
            raise Halt(evidence.Failure(service.name, "", "create", detail))
        return new

    def _deliver(self, service: str, containers: Iterable[Container], archives: Mapping[str, bytes]) -> None:
        for container in containers:
            if service in archives:
                self.engine.unpack(container.id, archives[service])

    def _put_aside(self, record: Record) -> None:
        """Compose binds others to the first container by name, so the old ones get names that sort last."""
        done = {container.id for container in (*record.renamed, *record.removed, *record.kept)}
        for container in record.step.retire:
            if container.id not in done and not container.name.startswith(_ASIDE):
                # Entered first: the engine may do it and not say so.
                record.renamed.append(container)
                self.engine.rename(container.id, f"{_ASIDE}{container.name}")


def _count(containers: Iterable[Container], service: str) -> int:
    return sum(container.service == service for container in containers)
