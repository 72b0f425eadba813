# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look at what runs and plan the way to what is to run. Whatever stands against it is told at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from . import bindings, contents, core_yaml, leftovers, mounted_files, planner, resources, versions
from .compose_cli import ComposeCli
from .contents import Contents
from .engine import Engine
from .errors import PlanError, Problems, SpecError
from .images import Needs
from .nginx_router import NginxRouter
from .observe import Container
from .plan import Facts, Plan
from .release import Committed
from .target import Target

_NOTHING_NEEDED = Needs()


@dataclass(frozen=True)
class Survey:
    """Everything that a plan is made from, and what it is asked of.

    `compose_before` works on the committed configuration; None where nothing was committed yet.
    """

    target: Target
    project_src: str
    remove_orphans: bool
    committed: Committed
    engine: Engine
    compose: ComposeCli
    compose_before: ComposeCli | None
    router: NginxRouter

    def contents(self, key: bytes | None, problems: Problems, *, awaited: bool = False) -> Contents:
        """Read the files that containers have mounted; what is missing is a problem unless it is `awaited`."""
        try:
            files = mounted_files.of_project(self.target.project)
            values = self.compose.variables(mounted_files.variables(files))
            recorded, now = self.committed.contents, time.time_ns()
            return contents.read(files, self.project_src, values, key, recorded, now, awaited=awaited)
        except SpecError as error:
            problems.add(str(error))
            return contents.NOTHING

    def images(self) -> dict[str, str | None]:
        """Give the id of each selected service's image by reference, None where this host has none."""
        return {service.image: self.engine.image_id(service.image) for service in self.target.services}

    def plan(self, found: Contents, problems: Problems, coming: Needs = _NOTHING_NEEDED) -> Plan:
        """Plan; images that are `coming` need not be here yet.

        Raises PlanError with all problems: those that there were, and those that are found here.
        """
        project = self.target.project
        for problem in (
            *versions.engine_problems(self.target.services, self.engine.api_version()),
            *resources.conflicts(project, self.engine.network, self.engine.volume),
        ):
            problems.add(problem)
        containers = self._containers()
        broken = leftovers.problems([c for c in containers if c.service in self.target.selected])
        for problem in broken:
            problems.add(problem)
        made = None
        try:
            # Of what is half-changed, a plan would be one for something else.
            if not broken:
                made = self._examined(self._make_plan(containers, found), problems, coming)
        except PlanError as error:
            problems.add(str(error))
        problems.settle(PlanError)
        if made is None:
            raise AssertionError("no plan, and nothing against it")
        return made

    def _containers(self) -> list[Container]:
        containers = self.engine.containers(self.target.project.name)
        services = self.target.project.services
        if any(container.service not in services for container in containers):
            # Services of profiles that are not active are no orphans; Compose leaves their containers alone, too.
            inactive = self.compose.declared_services() - set(services)
            containers = [container for container in containers if container.service not in inactive]
        return containers

    def _make_plan(self, containers: Sequence[Container], found: Contents) -> Plan:
        project = self.target.project
        routes = [route for service in project.services.values() for route in service.policy.routes]
        return planner.make_plan(
            project=project,
            containers=containers,
            facts=Facts(
                hashes=self._hashes(containers),
                images={service.image: self.engine.image_id(service.image) for service in project.services.values()},
                committed=self.committed.services,
                changed_files=contents.changed(self.committed.contents, found),
                upstreams={route: self.router.current(route) for route in routes},
                selected=self.target.selected,
            ),
            remove_orphans=self.remove_orphans,
        )

    def _hashes(self, containers: Sequence[Container]) -> Mapping[str, str]:
        """Give the hashes with those of services that are bound to other containers as these bind them now."""
        config, hashes = self.target.project.config, self.target.hashes
        bound = bindings.resolved(config["services"], containers, hashes)
        if not bound:
            return hashes
        text = core_yaml.dump({**config, "services": {**config["services"], **bound}})
        now = self.compose.hashes(text, as_it_stands=True)
        return {**hashes, **{name: now[name] for name in bound}}

    def _examined(self, made: Plan, problems: Problems, coming: Needs) -> Plan:
        """See that what the plan takes for granted is there. Gives it with the warnings of this."""
        warnings: list[str] = []
        for step in made.services if made.changes else ():
            for route in step.service.policy.routes if step.action not in ("none", "wait") else ():
                findings = self.router.examine(step.service, route)
                for problem in findings.problems:
                    problems.add(problem)
                warnings += findings.warnings
        for step in made.services:
            if step.create and step.image_id is None and step.service.name not in (*coming.pull, *coming.build):
                how = "built nor pulled" if step.service.config.get("build") else "pulled"
                problems.add(
                    f"services.{step.service.name}.image: {step.service.image} is not on this host, and was not to be "
                    f"{how}; see pull, build and pull_policy"
                )
        if made.changes:
            # What has nothing to do need not wait for this.
            warning = versions.compose_warning(self.compose.version())
            warnings += [warning] if warning else []
        return replace(made, warnings=(*made.warnings, *self.target.warnings, *warnings))
