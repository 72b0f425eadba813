# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which containers of a service come and go together, and what a failed one means for the others.

Pure. A slot is one container's place: its old one leaves when its new one is proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .observe import Container
from .plan import ServicePlan
from .policy import Policy


@dataclass(frozen=True)
class Batch:
    """So many new containers, the old ones that leave for them, and how long they are watched then. Seconds."""

    size: int
    leaving: tuple[Container, ...]
    monitor: float


def batches(step: ServicePlan) -> tuple[Batch, ...]:
    """Divide a step: canaries first, then `parallelism` at a time. No more leave than come, but for a surplus."""
    policy = step.service.policy
    # What does not serve goes first.
    old = sorted(step.retire, key=lambda container: (container.serving, container.number))
    to_create = step.create
    divided: list[Batch] = []
    while to_create or old:
        canary = not divided and policy.canary
        size = min(canary or policy.parallelism or to_create, to_create)
        to_create -= size
        surplus = max(len(old) - to_create, 0)
        monitor = max(policy.monitor, policy.canary_time if canary else 0.0) if size else 0.0
        divided.append(Batch(size, tuple(old[:surplus]), monitor))
        old = old[surplus:]
    return tuple(divided)


def are_independent(step: ServicePlan) -> bool:
    """Whether an old container may keep its slot beside new ones in others."""
    alone = not step.service.one_shot and not step.followers
    return alone and (step.order == "start_first" or not step.service.exclusive)


def stay(leaving: Sequence[Container], failed: int) -> tuple[Container, ...]:
    """Give the old containers that keep their slots because `failed` new ones did not pass."""
    return tuple(leaving[max(len(leaving) - failed, 0) :])


def reaction(policy: Policy, failed: int, planned: int) -> str:
    """Say what so many failures mean: tolerate, or the policy's failure action."""
    return policy.failure_action if failed / planned > policy.max_failure_ratio else "tolerate"


def fails_fast(step: ServicePlan) -> bool:
    """Whether the first failure decides already."""
    policy = step.service.policy
    return not are_independent(step) or (policy.failure_action == "rollback" and not policy.max_failure_ratio)
