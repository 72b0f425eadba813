# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Join what should run with what runs.

Pure: the same project, containers and facts always give the same plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .errors import PlanError, Problems
from .observe import Container
from .plan import Facts, Plan, ServicePlan
from .service_plans import long_running, one_shot, untouched
from .spec import Project, Service


def make_plan(project: Project, containers: Sequence[Container], facts: Facts, remove_orphans: bool) -> Plan:
    """Plan the way from `containers` to `project`.

    Raises PlanError, which names all services for which no safe way exists.
    """
    by_service: dict[str, list[Container]] = {name: [] for name in project.services}
    strays: list[Container] = []
    for container in sorted(containers, key=lambda container: container.number):
        by_service.get(container.service, strays).append(container)

    facts = replace(facts, cut_off=_cut_off(project, containers))
    selected = frozenset(project.services) if facts.selected is None else facts.selected
    problems = Problems()
    steps: dict[str, ServicePlan] = {}

    def add(service: Service) -> None:
        if service.name not in selected:
            steps[service.name] = untouched(service, by_service[service.name], facts)
            return
        plan_service = one_shot if service.one_shot else long_running
        try:
            steps[service.name] = plan_service(project, service, by_service[service.name], facts, steps)
        except PlanError as error:
            problems.add(str(error))
            steps[service.name] = untouched(service, by_service[service.name], facts)

    # A service follows what it is bound to or restarts with; a one-shot runs again for dependants that are created.
    for service in project.services.values():
        if not service.one_shot:
            add(service)
    for service in reversed(list(project.services.values())):
        if service.one_shot:
            add(service)
    problems.settle(PlanError)
    ordered = tuple(steps[name] for name in project.services)
    return Plan(
        project=project,
        services=ordered,
        orphans=tuple(strays) if remove_orphans else (),
        warnings=_warnings(ordered, () if remove_orphans else strays),
    )


def _cut_off(project: Project, containers: Sequence[Container]) -> frozenset[str]:
    """Give the containers bound to one that somebody has removed or replaced: they cannot start again."""
    there = {container.id for container in containers}
    bound = (c for c in containers if c.service in project.services and project.services[c.service].bound_to)
    return frozenset(container.id for container in bound if container.bound_to - there)


def _warnings(steps: Sequence[ServicePlan], strays: Sequence[Container]) -> tuple[str, ...]:
    warnings = []
    updated = {step.service.name for step in steps if step.create and step.retire and not step.service.one_shot}
    for step in steps:
        for dependency in sorted(updated & set(step.service.depends_on)):
            needed = next(s for s in steps if s.service.name == dependency)
            routed = step.service.name in {route.proxy for route in needed.service.policy.routes}
            if needed.order == "start_first" and not routed:
                warnings.append(
                    f"{step.service.name} reaches {dependency} by Docker's DNS, which names a new container from its "
                    "start on, before it has passed its gate"
                )
    for step in steps:
        warnings += [f"{step.service.name}: rollback: inexact, {change}" for change in step.inexact]
        if step.order == "recreate":
            warnings.append(
                f"{step.service.name}: rollback: inexact, what is removed first is made again from its "
                "recorded configuration and image, without what it wrote outside its volumes"
            )
        if step.action == "run":
            warnings.append(f"{step.service.name}: rollback: inexact, what a one-shot did is not undone")
    if strays:
        names = ", ".join(sorted(container.name for container in strays))
        warnings.append(f"containers of services that are no longer in the project stay: {names} (see remove_orphans)")
    return tuple(warnings)
