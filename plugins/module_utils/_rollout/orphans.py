# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Orphans make way for the service that needs alone what they have, and serve again where that does not come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import evidence
from .engine import Engine
from .errors import EngineError
from .evidence import Halt
from .interrupts import Interrupts
from .lifecycle import Lifecycle
from .observe import Container
from .plan import Plan, ServicePlan
from .policy import Policy
from .prover import Prover

_NOTHING_SAID = Policy()


@dataclass
class Orphans:
    """The orphans of one run. `policies_before` are those that they were deployed with, by service."""

    plan: Plan
    engine: Engine
    lifecycle: Lifecycle
    prover: Prover
    interrupts: Interrupts
    redact: evidence.Redact
    policies_before: Mapping[str, Policy]
    # What was done to them, each as it was before.
    renamed: list[Container] = field(default_factory=list)
    stopped: list[Container] = field(default_factory=list)
    # Those that serve again, because what they made way for did not come.
    came_back: list[Container] = field(default_factory=list)

    @property
    def away(self) -> list[Container]:
        """Those that made way, in the order in which they did."""
        return [*(each for each in self.renamed if each not in self.stopped), *self.stopped]

    def give_name(self, step: ServicePlan) -> None:
        """Let the service have its container_name, before its container is made: that of an orphan keeps its own."""
        for orphan in self.plan.in_the_way_of(step):
            if orphan.name == step.service.container_name and orphan not in self.renamed:
                self.interrupts.check()
                # Entered first: the engine may do it and not say so. A killed run may have put another one aside.
                self.renamed.append(orphan)
                self.engine.rename(orphan.id, f"zz-{orphan.id[:12]}-{orphan.name}")

    def make_way(self, step: ServicePlan) -> None:
        """Stop those that have what the service's containers need alone, before these start."""
        for orphan in self.plan.in_the_way_of(step):
            if orphan.running and orphan not in self.stopped:
                self.interrupts.check()
                self.stopped.append(orphan)
                self.prover.forget(orphan.id)
                self.lifecycle.stop(orphan)

    def come_back(self, every: bool = False) -> tuple[list[Container], list[str]]:
        """Let those serve again whose things no new container has. Gives them, and what could not be put back.

        `every`: nothing new is left by now, so that one which cannot come back is a problem, too.
        """
        back: list[Container] = []
        problems: list[str] = []
        for orphan in reversed(self.away):
            try:
                others = self._in_its_place(orphan)
                if not others:
                    self._put_back(orphan)
                    back.append(orphan)
                elif every:
                    names = ", ".join(container.name for container in others)
                    problems.append(f"{orphan.name}: it stays stopped, because {names} still runs")
            except (EngineError, Halt) as error:
                problems.append(f"{orphan.name}: {self.redact(str(error))}")
        self.renamed = [each for each in self.renamed if each not in back]
        self.stopped = [each for each in self.stopped if each not in back]
        self.came_back += [each for each in back if each not in self.came_back]
        return back, problems

    def _in_its_place(self, orphan: Container) -> Sequence[Container]:
        """Give the containers that this run started, that run, and that cannot run beside the orphan."""
        steps = {s.service.name: s for s in self.plan.services if orphan in self.plan.in_the_way_of(s)}
        started = {container.id for step in steps.values() for container in step.watch if not container.running}
        present = self.engine.containers(self.plan.project.name)
        ours = (c for c in present if c.service in steps and (c.id in self.lifecycle.made or c.id in started))
        return [container for container in ours if container.running]

    def _put_back(self, orphan: Container) -> None:
        try:
            found = self.engine.inspect(orphan.id)
            if orphan in self.renamed and found is not None and found.name != orphan.name:
                self.engine.rename(orphan.id, orphan.name)
        finally:
            # Under whatever name, it serves.
            if orphan in self.stopped:
                self.lifecycle.bring_back(orphan)
                if orphan.serving:
                    self.prover.prove_orphan(orphan, self.policies_before.get(orphan.service, _NOTHING_SAID))
