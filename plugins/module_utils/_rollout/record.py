# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run did to one service: the way back is read from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .evidence import Failure
from .observe import Container
from .plan import ServicePlan
from .policy import Route


@dataclass
class Record:
    """Entered as it happens. Containers stand as they were before; times in seconds."""

    step: ServicePlan
    began: float
    # The project's containers before the last create, whose result the engine may have kept to itself.
    before: frozenset[str] | None = None
    created: list[str] = field(default_factory=list)
    # Their names, without those whose slots went back to old ones.
    created_names: dict[str, str] = field(default_factory=dict)
    # Started where they stood, by a repair.
    started: list[Container] = field(default_factory=list)
    repaired: bool = False
    stopped: list[Container] = field(default_factory=list)
    restarted: list[Container] = field(default_factory=list)
    renamed: list[Container] = field(default_factory=list)
    removed: list[Container] = field(default_factory=list)
    # What was made in place of removed ones on the way back.
    again: list[Container] = field(default_factory=list)
    # Old ones that stay because the new ones of their slots failed.
    kept: list[Container] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    # Whether more failed than the policy tolerates, and the run goes on all the same.
    failed: bool = False
    # Whether it was put back while the run goes on, because it or a service that is undone together with it failed.
    undone: bool = False
    # What may get traffic: running, and past its gate.
    serving: list[Container] = field(default_factory=list)
    # The upstream files as they were before this run.
    upstreams: dict[Route, str | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    down: float = 0.0
    _down_since: float | None = None

    def __post_init__(self) -> None:
        step = self.step
        present = (*step.keep, *step.watch, *step.restart, *step.retire)
        self.serving = [container for container in present if container.serving]

    @property
    def touched(self) -> bool:
        """Whether there is anything to undo."""
        containers = (*self.started, *self.stopped, *self.restarted, *self.renamed, *self.removed, *self.again)
        return bool(self.created or containers or self.upstreams)

    def leaves(self, containers: tuple[Container, ...], now: float) -> None:
        """From now on these get no traffic; the service is down when no other one does."""
        ids = {container.id for container in containers}
        served = bool(self.serving)
        self.serving = [container for container in self.serving if container.id not in ids]
        if served and not self.serving and self._down_since is None:
            self._down_since = now

    def joins(self, containers: list[Container], now: float) -> None:
        """From now on these may get traffic, too."""
        ids = {container.id for container in containers}
        self.serving = [*(container for container in self.serving if container.id not in ids), *containers]
        if self.serving and self._down_since is not None:
            self.down += now - self._down_since
            self._down_since = None
