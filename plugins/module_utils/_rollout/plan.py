# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Join what should run with what runs: for each service one action, its order, and the reasons for it.

Pure: the same project, containers and images always give the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .changes import changed_keys
from .errors import PlanError
from .observe import Container
from .spec import Project, Service


@dataclass(frozen=True)
class ServicePlan:
    """What happens to one service.

    `action`: none; create (first containers); update (others take the place of `retire`); scale (only the count
    changes); repair (right, but stopped or with another restart policy); wait (right, but not healthy yet); run (a
    one-shot). `keep` stay as they are; `watch` stay, are repaired and have to pass the gate; `retire` are stopped, and
    removed at commit; `create` is how many new ones are made, of the image `image_id` (None: not on this host yet).
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

    @property
    def interrupts(self) -> bool:
        """Whether the service is down for a while, even when all goes well."""
        return self.order == "stop_first" and any(container.running for container in self.retire)


@dataclass(frozen=True)
class Plan:
    """The whole rollout, services in dependency order. `orphans` are removed at commit."""

    project: Project
    services: tuple[ServicePlan, ...]
    orphans: tuple[Container, ...]
    warnings: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether carrying it out would change anything on the host."""
        return any(step.action not in ("none", "wait") for step in self.services) or bool(self.orphans)


def make_plan(
    project: Project,
    containers: Sequence[Container],
    hashes: Mapping[str, str],
    images: Mapping[str, str | None],
    committed: Mapping[str, Any],
    remove_orphans: bool,
) -> Plan:
    """Plan the way from `containers` to `project`.

    `hashes`: Compose's configuration hash by service; `images`: image id by reference, None where the engine has
    none (it will be pulled); `committed`: the services' normalised configuration at the last commit, to say what
    changed. Raises PlanError where no safe way exists.
    """
    by_service: dict[str, list[Container]] = {name: [] for name in project.services}
    strays: list[Container] = []
    for container in containers:
        by_service.get(container.service, strays).append(container)

    steps: dict[str, ServicePlan] = {}
    # Dependants first: a one-shot runs again when one of them gets a new container.
    for service in reversed(list(project.services.values())):
        present = sorted(by_service[service.name], key=lambda container: container.number)
        dependants_created = any(steps[name].create for name in project.dependants(service.name))
        plan_service = _one_shot if service.one_shot else _long_running
        steps[service.name] = plan_service(
            service,
            present,
            hashes.get(service.name, ""),
            images.get(service.image),
            _reasons(service, committed.get(service.name)),
            dependants_created,
        )
    ordered = tuple(steps[name] for name in project.services)
    return Plan(
        project=project,
        services=ordered,
        orphans=tuple(strays) if remove_orphans else (),
        warnings=_warnings(ordered, () if remove_orphans else strays),
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
    service: Service,
    present: Sequence[Container],
    config_hash: str,
    image_id: str | None,
    changes: tuple[str, ...],
    _dependants_created: bool,
) -> ServicePlan:
    current = [container for container in present if _is_current(container, config_hash, image_id)]
    stale = [container for container in present if container not in current]
    # The ones that serve stay; among equals the oldest number.
    current.sort(key=lambda container: (not container.serving, not container.running, container.number))
    wanted, surplus = current[: service.replicas], current[service.replicas :]
    create = service.replicas - len(wanted)
    drifted = [container for container in wanted if container.restart_policy != service.restart_policy]
    watch = tuple(container for container in wanted if not container.serving or container in drifted)
    keep = tuple(container for container in wanted if container not in watch)
    retire = (*stale, *surplus)
    reasons: list[str] = []
    if stale:
        action = "update"
        reasons.extend(_why_replaced(stale, service, config_hash, image_id, changes))
    elif not present and create:
        action = "create"
        reasons.append("it has no container")
    elif create or surplus:
        action = "scale"
        reasons.append(f"{len(present)} -> {service.replicas} containers")
    elif drifted or any(not container.running for container in watch):
        action = "repair"
    else:
        action = "wait" if watch else "none"
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
    )
    _refuse_unsafe(step)
    order, why = _order(step)
    return replace(step, order=order, reasons=(*step.reasons, *why))


def _one_shot(
    service: Service,
    present: Sequence[Container],
    config_hash: str,
    image_id: str | None,
    changes: tuple[str, ...],
    dependants_created: bool,
) -> ServicePlan:
    """A one-shot runs when it never succeeded as it is now, or before a dependant gets a new container."""
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


def _order(step: ServicePlan) -> tuple[str, tuple[str, ...]]:
    """Give the order and, where the service is going to be down for a while, why."""
    policy, exclusive = step.service.policy, step.service.exclusive
    # A right one that does not run joins as a new one does: a run that was killed left it beside the old one.
    joining = step.create or any(not container.running for container in step.watch)
    if not (joining and step.retire):
        return "start_first", ()
    if policy.order == "start_first" and exclusive:
        raise PlanError(
            f"{step.service.name}: order start_first is impossible, because two containers cannot share "
            f"{'; '.join(exclusive)}. Allowed here: order auto or stop_first"
        )
    if policy.order == "stop_first":
        return "stop_first", ("stop_first was asked for",)
    if exclusive:
        return "stop_first", (f"the old one stops first: {'; '.join(exclusive)}",)
    return "start_first", ()


def _refuse_unsafe(step: ServicePlan) -> None:
    service = step.service
    if not step.create or not step.retire:
        return
    if service.irreplaceable:
        raise PlanError(
            f"{service.name}: its container has to be replaced ({'; '.join(step.reasons)}), and this version cannot "
            f"do that safely for a service with {'; '.join(service.irreplaceable)}. Take that out of the service"
        )
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
            if next(s for s in steps if s.service.name == dependency).order == "start_first":
                warnings.append(
                    f"{step.service.name} reaches {dependency} by Docker's DNS, which names a new container from its "
                    "start on, before it has passed its gate"
                )
    if strays:
        names = ", ".join(sorted(container.name for container in strays))
        warnings.append(f"containers of services that are no longer in the project stay: {names} (see remove_orphans)")
    return tuple(warnings)


def short(image_id: str) -> str:
    """The first twelve digits of an image id."""
    return image_id.split(":", 1)[-1][:12]
