# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Join what should run with what runs: for each service one action, its order, and the reasons for it.

Pure: the same project, containers and images always give the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import proxy
from .changes import changed_keys
from .errors import PlanError, Problems
from .observe import Container
from .policy import Route
from .spec import Project, Service

# Their containers end and begin in this run: what is bound to one, or restarts with it, has to follow.
_RENEWED = ("update", "repair", "restart")


@dataclass(frozen=True)
class ServicePlan:
    """What happens to one service.

    `action`: none; create (first containers); update (others take the place of `retire`); scale (only the count
    changes); repair (right, but stopped or with another restart policy); restart (right, but a service that it
    restarts with is renewed); wait (right, but not healthy yet); route (right, but its proxy does not name it);
    run (a one-shot).

    `keep` stay as they are; `watch` stay, are repaired and have to pass the gate; `restart` are stopped and started;
    `retire` are stopped, and removed at commit; `create` is how many new ones are made, of the image `image_id` (None:
    not on this host yet). `inexact` says what a rollback could not put back as it was.
    """

    service: Service
    action: str
    order: str
    reasons: tuple[str, ...]
    keep: tuple[Container, ...]
    watch: tuple[Container, ...]
    retire: tuple[Container, ...]
    create: int
    image_id: str | None
    restart: tuple[Container, ...] = ()
    inexact: tuple[str, ...] = ()

    @property
    def replaces(self) -> bool:
        """Whether new containers take the place of old ones."""
        return bool(self.create and self.retire)

    @property
    def interrupts(self) -> bool:
        """Whether the service is down for a while, even when all goes well."""
        stays = any(container.serving for container in self.keep)
        if self.restart:
            return len(self.restart) == 1 and not stays
        return self.order != "start_first" and any(container.running for container in self.retire)


@dataclass(frozen=True)
class Plan:
    """The whole rollout, services in the order in which they are carried out. `orphans` are removed at commit."""

    project: Project
    services: tuple[ServicePlan, ...]
    orphans: tuple[Container, ...]
    warnings: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether carrying it out would change anything on the host."""
        return any(step.action not in ("none", "wait") for step in self.services) or bool(self.orphans)

    def bound_to(self, service: str) -> tuple[ServicePlan, ...]:
        """Give the steps of services that get new containers because theirs are bound to those of `service`."""
        return tuple(step for step in self.services if step.replaces and service in step.service.bound_to)


@dataclass(frozen=True)
class Facts:
    """What a plan is made from, beside the project and its containers.

    `hashes`: Compose's configuration hash by service; `images`: image id by reference, None where the engine has
    none (it will be pulled); `committed`: the services' normalised configuration at the last commit, and
    `committed_hashes` their hashes; `changed_files`: by service, why the files that its containers see differ from
    those of the last commit; `upstreams`: the content of each route's upstream file, None where there is none;
    `selected`: the services that are rolled out, None for all of them.
    """

    hashes: Mapping[str, str]
    images: Mapping[str, str | None]
    committed: Mapping[str, Any] = field(default_factory=dict)
    committed_hashes: Mapping[str, str] = field(default_factory=dict)
    changed_files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    upstreams: Mapping[Route, str | None] = field(default_factory=dict)
    selected: frozenset[str] | None = None


def make_plan(project: Project, containers: Sequence[Container], facts: Facts, remove_orphans: bool) -> Plan:
    """Plan the way from `containers` to `project`.

    Raises PlanError, which names all services for which no safe way exists.
    """
    by_service: dict[str, list[Container]] = {name: [] for name in project.services}
    strays: list[Container] = []
    for container in sorted(containers, key=lambda container: container.number):
        by_service.get(container.service, strays).append(container)

    selected = _selected(project, facts.selected)
    problems = Problems()
    steps: dict[str, ServicePlan] = {}

    def add(service: Service) -> None:
        if service.name not in selected:
            steps[service.name] = _untouched(service, by_service[service.name], facts)
            return
        plan_service = _one_shot if service.one_shot else _long_running
        try:
            steps[service.name] = plan_service(project, service, by_service[service.name], facts, steps)
        except PlanError as error:
            problems.add(str(error))
            steps[service.name] = _untouched(service, by_service[service.name], facts)

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


def _selected(project: Project, named: frozenset[str] | None) -> frozenset[str]:
    """Give the named services, what they depend on, and what is bound to one of those; all when None is named."""
    if named is None:
        return frozenset(project.services)
    selected = set(named)
    for name in named:
        selected.update(project.dependencies(name))
    for service in project.services.values():
        if service.bound_to & selected:
            selected.add(service.name)
    return frozenset(selected)


def _untouched(service: Service, present: Sequence[Container], facts: Facts) -> ServicePlan:
    return ServicePlan(
        service=service,
        action="none",
        order="start_first",
        reasons=(),
        keep=tuple(present),
        watch=(),
        retire=(),
        create=0,
        image_id=facts.images.get(service.image),
    )


def _reasons(service: Service, committed: Mapping[str, Any] | None) -> tuple[str, ...]:
    if committed is None:
        return ("its configuration is another one",)
    return changed_keys(committed, service.config) or ("Compose computes another hash for the same configuration",)


def _is_current(container: Container, config_hash: str, image_id: str | None) -> bool:
    return container.config_hash == config_hash and container.image_id == image_id


def _why_replaced(
    stale: Sequence[Container], service: Service, config_hash: str, image_id: str | None, changes: tuple[str, ...]
) -> tuple[str, ...]:
    reasons: list[str] = []
    if any(container.config_hash != config_hash for container in stale):
        reasons.extend(changes)
    other_image = sorted({container.image_id for container in stale if container.image_id != image_id})
    if image_id is None and other_image:
        reasons.append(f"image {service.image} is not on this host yet")
    elif other_image:
        old = ", ".join(short(image) for image in other_image)
        reasons.append(f"image {service.image}: {old} -> {short(image_id or '')}")
    return tuple(reasons)


def _long_running(
    project: Project,
    service: Service,
    present: Sequence[Container],
    facts: Facts,
    steps: Mapping[str, ServicePlan],
) -> ServicePlan:
    config_hash, image_id = facts.hashes.get(service.name, ""), facts.images.get(service.image)
    changes = _reasons(service, facts.committed.get(service.name))
    # The hash says nothing of these: they make every container stale.
    beyond = (*facts.changed_files.get(service.name, ()), *_renewed_owners(service, steps)) if present else ()
    current = [] if beyond else [c for c in present if _is_current(c, config_hash, image_id)]
    stale = [container for container in present if container not in current]
    # The ones that serve stay; among equals the oldest number.
    current.sort(key=lambda container: (not container.serving, not container.running, container.number))
    wanted, surplus = current[: service.replicas], current[service.replicas :]
    create = service.replicas - len(wanted)
    drifted = [container for container in wanted if container.restart_policy != service.restart_policy]
    watch = tuple(container for container in wanted if not container.serving or container in drifted)
    keep = tuple(container for container in wanted if container not in watch)
    retire = (*stale, *surplus)
    restarts = _renewed_dependencies(service, steps)
    restart: tuple[Container, ...] = ()
    reasons: list[str] = []
    if stale:
        action = "update"
        reasons.extend((*_why_replaced(stale, service, config_hash, image_id, changes), *beyond))
    elif not present and create:
        action = "create"
        reasons.append("it has no container")
    elif create or surplus:
        action = "scale"
        reasons.append(f"{len(present)} -> {service.replicas} containers")
    elif drifted or any(not container.running for container in watch):
        action = "repair"
    elif restarts and wanted:
        action = "restart"
    elif any(_misrouted(route, service, wanted, facts) for route in service.policy.routes):
        action = "route"
        reasons.append("its proxy's upstream file does not name its containers")
    else:
        action = "wait" if watch else "none"
    if restarts and action in ("restart", "scale", "repair"):
        restart = tuple(container for container in wanted if container.running)
        keep, watch = (), tuple(container for container in wanted if not container.running)
        reasons.extend(restarts)
    reasons.extend(
        f"{container.name} has restart policy {container.restart_policy[0]} instead of {service.restart_policy[0]}"
        for container in drifted
    )
    reasons.extend(
        f"{container.name} is {container.health if container.running else container.status}"
        for container in watch
        if not container.serving
    )
    step = ServicePlan(
        service=service,
        action=action,
        order="start_first",
        reasons=tuple(reasons),
        keep=keep,
        watch=watch,
        retire=retire,
        create=create,
        image_id=image_id,
        restart=restart,
        inexact=facts.changed_files.get(service.name, ()) if stale else (),
    )
    _refuse_unsafe(step)
    order, why = _order(step, project, facts)
    return replace(step, order=order, reasons=(*step.reasons, *why))


def _renewed_owners(service: Service, steps: Mapping[str, ServicePlan]) -> tuple[str, ...]:
    """Say which services, whose containers this one's are bound to by id, get new ones."""
    owners = sorted(name for name in service.bound_to if name in steps and steps[name].replaces)
    return tuple(f"it is bound to the containers of {name}, which are replaced" for name in owners)


def _renewed_dependencies(service: Service, steps: Mapping[str, ServicePlan]) -> tuple[str, ...]:
    names = sorted(n for n in service.restarts_with if n in steps and steps[n].action in _RENEWED)
    return tuple(f"it restarts with {name}" for name in names)


def _misrouted(route: Route, service: Service, containers: Sequence[Container], facts: Facts) -> bool:
    names = [container.name for container in sorted(containers, key=lambda container: container.number)]
    return facts.upstreams.get(route) != proxy.render(route, service.name, names, settled=True)


def _one_shot(
    project: Project,
    service: Service,
    present: Sequence[Container],
    facts: Facts,
    steps: Mapping[str, ServicePlan],
) -> ServicePlan:
    """A one-shot runs when it never succeeded as it is now, or where what it works for or on is new."""
    config_hash, image_id = facts.hashes.get(service.name, ""), facts.images.get(service.image)
    changes = _reasons(service, facts.committed.get(service.name))
    changed_files = facts.changed_files.get(service.name, ())
    dependants_created = any(name in steps and steps[name].create for name in project.dependants(service.name))
    # With its first container a service gets its first data, too: what a one-shot did to others is not in there.
    begun = sorted(n for n in service.depends_on if n in steps and steps[n].action == "create")
    current = [container for container in present if _is_current(container, config_hash, image_id)]
    done = [container for container in current if container.status == "exited" and not container.exit_code]
    at_work = [container for container in current if container.running]
    stale = [container for container in present if container not in current]
    reasons: tuple[str, ...] = ()
    if at_work:
        # A killed run started it. To start another one beside it would be two at the same work.
        return _settled_one_shot(service, present, at_work[-1], image_id)
    if stale and not done:
        reasons = _why_replaced(stale, service, config_hash, image_id, changes)
    elif not done:
        reasons = ("it has not run to success yet",)
    elif changed_files:
        reasons = changed_files
    elif begun:
        reasons = (f"{', '.join(begun)}, which it depends on, has its first container",)
    elif dependants_created:
        reasons = ("a service that needs it gets a new container",)
    if not reasons or not service.replicas:
        return _settled_one_shot(service, present, done[-1] if done else None, image_id)
    return ServicePlan(
        service=service,
        action="run",
        order="start_first",
        reasons=reasons,
        keep=(),
        watch=(),
        retire=tuple(present),
        create=1,
        image_id=image_id,
    )


def _settled_one_shot(
    service: Service, present: Sequence[Container], last: Container | None, image_id: str | None
) -> ServicePlan:
    """Nothing is to be run: `last` stays, and is waited for while it works; what else there is goes."""
    at_work = last is not None and last.running
    stays = () if last is None else (last,)
    retire = tuple(container for container in present if container not in stays) if service.replicas else ()
    reasons = [f"{container.name} is still at work" for container in stays if at_work]
    if retire:
        reasons.append(f"{len(present)} -> {len(stays)} containers")
    return ServicePlan(
        service=service,
        action="scale" if retire else "wait" if at_work else "none",
        order="start_first",
        reasons=tuple(reasons),
        keep=() if at_work else stays,
        watch=stays if at_work else (),
        retire=retire,
        create=0,
        image_id=image_id,
    )


def _order(step: ServicePlan, project: Project, facts: Facts) -> tuple[str, tuple[str, ...]]:
    """Give the order and, where the service is going to be down for a while, why."""
    service = step.service
    policy, exclusive = service.policy, service.exclusive
    # A right one that does not run joins as a new one does: a run that was killed left it beside the old one.
    joining = step.create or any(not container.running for container in step.watch)
    if not (joining and step.retire):
        return "start_first", ()
    if policy.order == "start_first" and exclusive:
        raise PlanError(
            f"{service.name}: order start_first is impossible, because two containers cannot share "
            f"{'; '.join(exclusive)}. Allowed here: order auto or stop_first"
        )
    if service.container_name and step.create:
        _refuse_without_a_record(step, facts)
        return "recreate", (f"the old one is removed first: {'; '.join(exclusive)}",)
    followers = [other.name for other in project.services.values() if service.name in other.bound_to]
    if followers:
        return "stop_first", (f"the old one stops first: {', '.join(followers)} bound to it",)
    if policy.order == "stop_first":
        return "stop_first", ("stop_first was asked for",)
    if exclusive:
        return "stop_first", (f"the old one stops first: {'; '.join(exclusive)}",)
    if policy.strict_dns and not policy.routes and project.dependants(service.name):
        return "stop_first", ("the old one stops first: x-rollout.dns is strict",)
    return "start_first", ()


def _refuse_without_a_record(step: ServicePlan, facts: Facts) -> None:
    """A container with a fixed name goes before the new one comes: only the record of what it was leads back."""
    service = step.service
    unknown = [c.name for c in step.retire if c.running and c.config_hash != facts.committed_hashes.get(service.name)]
    if unknown:
        raise PlanError(
            f"{service.name}: {', '.join(unknown)} has a fixed container_name, so it has to be removed before the new "
            "one is made, and no rollout has recorded the configuration that would bring it back. Roll out the files "
            "that it runs with once, which changes nothing and records them, or take container_name out"
        )


def _refuse_unsafe(step: ServicePlan) -> None:
    service = step.service
    if not step.replaces:
        return
    anonymous = sorted({target for container in step.retire for target in container.anonymous_volumes})
    if anonymous and not service.policy.discard_anonymous_volumes:
        raise PlanError(
            f"{service.name}: its container has to be replaced, and a new one would not see the data in the anonymous "
            f"volume at {', '.join(anonymous)}. Name the volume, or set x-rollout.anonymous_volumes: discard"
        )


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
                f"{step.service.name}: rollback: inexact, a container with a fixed container_name is made again from "
                "its recorded configuration and image, without what it wrote outside its volumes"
            )
        if step.action == "run":
            warnings.append(f"{step.service.name}: rollback: inexact, what a one-shot did is not undone")
    if strays:
        names = ", ".join(sorted(container.name for container in strays))
        warnings.append(f"containers of services that are no longer in the project stay: {names} (see remove_orphans)")
    return tuple(warnings)


def short(image_id: str) -> str:
    """The first twelve digits of an image id."""
    return image_id.split(":", 1)[-1][:12]
