# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run ended, and what it says of each service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import evidence
from .plan import Plan, ServicePlan


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `outcome` is unchanged, deployed, rolled_back, paused, partial or dirty; times in seconds.

    `serving` is what serves in place of what failed; `acted` whether there was anything to roll back; `problems` is
    what could not be done, `notes` what went otherwise than it should without being a failure.
    """

    outcome: str
    services: tuple[dict[str, Any], ...]
    seconds: float
    failure: evidence.Failure | None = None
    serving: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    acted: bool = True

    def message(self) -> str:
        """Say in one line what happened and what serves now."""
        if self.failure is None:
            return f"{self.outcome} in {self.seconds:.1f} s"
        serving = f"serving: {', '.join(self.serving)}" if self.serving else "none of it serves"
        sentence = self.failure.sentence()
        if self.outcome == "rolled_back":
            return f"{sentence}. {'Rolled back' if self.acted else 'This run had changed nothing'}; {serving}."
        if self.outcome == "paused":
            return f"{sentence}. Paused as failure_action says; {serving}. Run again to go on from here."
        if self.outcome == "partial":
            return f"{sentence}. The rest was rolled out, as failure_action says; {serving}. Run again to try the rest."
        return (
            f"{sentence}. The rollback failed too: {'; '.join(self.problems)}. "
            "Look at `docker compose ps -a` and run this again when that is mended."
        )


def describe(step: ServicePlan) -> dict[str, Any]:
    """Give one service's part of a plan as plain data."""
    return {
        "service": step.service.name,
        "action": step.action,
        "order": step.order,
        "reasons": list(step.reasons),
        "create": step.create,
        "old": [container.name for container in step.retire],
        "interrupts": step.interrupts,
    }


def unchanged(plan: Plan, seconds: float) -> Outcome:
    """Give the outcome of a plan that has nothing to do."""
    return Outcome("unchanged", tuple(told(step) for step in plan.services), seconds)


def told(step: ServicePlan, new: Iterable[str] = (), seconds: float = 0.0, down: float = 0.0) -> dict[str, Any]:
    """Give one service's part of a run as plain data; `new` names its new containers."""
    return {**describe(step), "new": list(new), "seconds": round(seconds, 2), "down": round(down, 2)}
