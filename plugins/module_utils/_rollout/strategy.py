# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which order the old and the new container of a service come and go, and where none is safe.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import PlanError
from .exclusive import linked_services
from .plan import Facts, ServicePlan
from .spec import Project


def order_of(
    step: ServicePlan, project: Project, facts: Facts, steps: Mapping[str, ServicePlan]
) -> tuple[str, tuple[str, ...]]:
    """Give the order and, where the service is going to be down for a while, why."""
    service = step.service
    policy, exclusive = service.policy, service.exclusive
    made_again = sorted(name for name in service.bound_to if name in steps and steps[name].order == "recreate")
    if made_again and step.retire:
        # On the way back what it is bound to is another container.
        _refuse_without_a_record(step, facts)
        return "recreate", (f"the old one is removed first: bound to {', '.join(made_again)}",)
    # A right one that does not run joins as a new one does: a run that was killed left it beside the old one.
    if not (step.joins and step.retire):
        return "start_first", ()
    if policy.order == "start_first" and exclusive:
        raise PlanError(
            f"{service.name}: order start_first is impossible, because two containers cannot share "
            f"{'; '.join(exclusive)}. Allowed here: order auto or stop_first"
        )
    linked = [other.name for other in project.services.values() if service.name in linked_services(other.config)]
    if step.create and (service.container_name or linked):
        _refuse_without_a_record(step, facts)
        # A link leads to a container by its name, which the new one has only when the old one is gone.
        why = [*exclusive, *(f"{name} has a link to it" for name in linked)]
        return "recreate", (f"the old one is removed first: {'; '.join(why)}",)
    if step.followers:
        return "stop_first", (f"the old one stops first: {', '.join(step.followers)} bound to it",)
    if policy.order == "stop_first":
        return "stop_first", ("stop_first was asked for",)
    if exclusive:
        return "stop_first", (f"the old one stops first: {'; '.join(exclusive)}",)
    if policy.strict_dns and not policy.routes and project.dependants(service.name):
        return "stop_first", ("the old one stops first: x-rollout.dns is strict",)
    return "start_first", ()


def _refuse_without_a_record(step: ServicePlan, facts: Facts) -> None:
    """What goes before the new one comes is brought back by a record alone."""
    service = step.service
    running = [container.name for container in step.retire if container.running]
    if running and service.name not in facts.committed:
        raise PlanError(
            f"{service.name}: {', '.join(running)} has to be removed before the new one is made, because of a fixed "
            "container_name, a link to it, or a container with one of these that it is bound to; and no rollout has "
            "recorded the configuration that would bring it back. Roll out the files that it runs with once, which "
            "changes nothing and records them"
        )


def refuse_unsafe(step: ServicePlan, project: Project) -> None:
    """Raise PlanError where new containers could not be made, or would not see the data of the old ones."""
    service = step.service
    absent = sorted(
        name for name in service.bound_to if name in project.services and not project.services[name].replicas
    )
    if step.create and absent:
        raise PlanError(f"{service.name}: it is bound to a container of {', '.join(absent)}, which has 0 replicas")
    if not step.replaces:
        return
    anonymous = sorted({target for container in step.retire for target in container.anonymous_volumes})
    if anonymous and not service.policy.discard_anonymous_volumes:
        raise PlanError(
            f"{service.name}: its container has to be replaced, and a new one would not see the data in the anonymous "
            f"volume at {', '.join(anonymous)}. Name the volume, or set x-rollout.anonymous_volumes: discard"
        )
