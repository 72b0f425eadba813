# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rollout before it happens: for each service one action, its order, and the reasons for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import exclusive
from .observe import Container
from .policy import Route
from .spec import Project, Service


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
    # Of those in `watch` or `restart`, what has another name than the one that its service gives it.
    misnamed: tuple[Container, ...] = ()
    # Services whose containers are bound to this one's.
    followers: tuple[str, ...] = ()

    @property
    def replaces(self) -> bool:
        """Whether new containers take the place of old ones."""
        return bool(self.create and self.retire)

    @property
    def joins(self) -> bool:
        """Whether containers of it start that do not run."""
        return bool(self.create) or any(not container.running for container in self.watch)

    @property
    def interrupts(self) -> bool:
        """Whether the service is down for a while, even when all goes well."""
        policy = self.service.policy
        if self.restart:
            batch, leaving = policy.parallelism or len(self.restart), self.restart
        else:
            # All at once, where two versions cannot run side by side.
            alone = self.order == "recreate" or self.service.exclusive or self.followers
            batch = 0 if alone else policy.canary or policy.parallelism or self.create
            leaving = () if self.order == "start_first" else tuple(c for c in self.retire if c.running)
        stays = any(container.serving for container in self.keep) and not self.service.exclusive
        return bool(leaving) and not stays and (not batch or len(leaving) <= batch)


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

    @property
    def at_rest(self) -> bool:
        """Whether there is nothing to do, nor to wait for."""
        return not self.orphans and all(step.action == "none" for step in self.services)

    def in_the_way_of(self, step: ServicePlan) -> tuple[Container, ...]:
        """Give the orphans that make way for this step, in the order in which they stop.

        They have what its containers have to have alone, or are bound to an orphan that has.
        """
        if not step.joins and not step.misnamed:
            return ()
        ahead = [orphan for orphan in self.orphans if exclusive.in_common(step.service.claims, orphan)]
        ids = {orphan.id for orphan in ahead}
        bound = [each for each in self.orphans if each.running and each not in ahead and each.bound_to & ids]
        return (*bound, *ahead)

    def bound_to(self, service: str) -> tuple[ServicePlan, ...]:
        """Give the steps of services whose old containers go before those of `service`, to which they are bound."""
        return tuple(step for step in self.services if step.retire and service in step.service.bound_to)


@dataclass(frozen=True)
class Facts:
    """What a plan is made from, beside the project and its containers.

    `hashes`: Compose's configuration hash by service; `images`: image id by reference, None where the engine has
    none (it will be pulled); `committed`: the services' normalised configuration at the last commit; `changed_files`:
    by service, why the files that its containers see differ from those of the last commit; `upstreams`: the content
    of each route's upstream file, None where there is none; `selected`: the services that are rolled out, None for all
    of them; `cut_off`: the containers that are bound to one that is gone, by id.
    """

    hashes: Mapping[str, str]
    images: Mapping[str, str | None]
    committed: Mapping[str, Any] = field(default_factory=dict)
    changed_files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    upstreams: Mapping[Route, str | None] = field(default_factory=dict)
    selected: frozenset[str] | None = None
    cut_off: frozenset[str] = frozenset()


def short(image_id: str) -> str:
    """The first twelve digits of an image id."""
    return image_id.split(":", 1)[-1][:12]
