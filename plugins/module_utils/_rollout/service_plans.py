# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to one service, given its containers and what happens to the services it depends on.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import proxy, strategy
from .changes import changed_keys
from .observe import Container
from .plan import Facts, ServicePlan, short
from .policy import Route
from .spec import Project, Service

# Their containers end and begin in this run: what is bound to one, or restarts with it, has to follow.
_RENEWED = ("update", "repair", "restart")


def long_running(
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
    leaving = {c.id for name in service.bound_to if name in steps for c in steps[name].retire}
    lost = {c.id for c in present if c.id in facts.cut_off or c.bound_to & leaving}
    cut_off = tuple(f"{c.name} is bound to a container that is gone" for c in present if c.id in lost and not beyond)
    current = [c for c in present if _is_current(c, config_hash, image_id) and c.id not in lost and not beyond]
    stale = [container for container in present if container not in current]
    # The ones that serve stay; among equals the oldest number.
    current.sort(key=lambda container: (not container.serving, not container.running, container.number))
    wanted, surplus = current[: service.replicas], current[service.replicas :]
    create = service.replicas - len(wanted)
    retire = (*stale, *surplus)
    drifted = [container for container in wanted if container.restart_policy != service.restart_policy]
    # As long as there are others, one of them has the name.
    misnamed = tuple(c for c in wanted if not retire and service.container_name not in ("", c.name))
    watch = tuple(c for c in wanted if not c.serving or c in drifted or c in misnamed)
    keep = tuple(container for container in wanted if container not in watch)
    restarts = _renewed_dependencies(service, steps)
    restart: tuple[Container, ...] = ()
    reasons: list[str] = []
    if stale:
        action = "update"
        reasons.extend((*_why_replaced(stale, service, config_hash, image_id, changes), *beyond, *cut_off))
    elif not present and create:
        action = "create"
        reasons.append("it has no container")
    elif create or surplus:
        action = "scale"
        reasons.append(f"{len(present)} -> {service.replicas} containers")
    elif drifted or misnamed or any(not container.running for container in watch):
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
    reasons.extend(f"{container.name} is not called {service.container_name}" for container in misnamed)
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
        misnamed=misnamed,
        followers=tuple(other.name for other in project.services.values() if service.name in other.bound_to),
    )
    strategy.refuse_unsafe(step, project)
    order, why = strategy.order_of(step, project, facts, steps)
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


def one_shot(
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


def untouched(service: Service, present: Sequence[Container], facts: Facts) -> ServicePlan:
    """A service that this run has nothing to do with."""
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
