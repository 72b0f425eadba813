# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, as types: each carries the sentence that the operator reads."""

from __future__ import annotations


class SpecError(Exception):
    """The project's files ask for something wrong or unknown. Nothing was changed."""


class PlanError(Exception):
    """What runs and what should run cannot be joined safely. Nothing was changed."""


class ComposeError(Exception):
    """A docker compose command failed; the text is its own."""


class EngineError(Exception):
    """The engine refused or did not answer; the text is its own."""


class EngineUnreachable(EngineError):
    """The engine did not answer at all: it restarts, or is gone."""


class Interrupted(Exception):
    """A signal asked the run to end."""


class ImageError(Exception):
    """The image of a service cannot be had. `reason` is pull or build; the text says which image, and why."""

    def __init__(self, service: str, reason: str, text: str) -> None:
        super().__init__(text)
        self.service = service
        self.reason = reason


class Problems:
    """Collects what is wrong with a project, so that its operator reads all of it at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._found)

    def add(self, problem: str) -> None:
        """Add a sentence that names the field and what is allowed there."""
        if problem not in self._found:
            self._found.append(problem)

    def take(self, others: Problems) -> None:
        """Add all that another collection holds."""
        for problem in others._found:
            self.add(problem)

    def settle(self, error: type[SpecError] | type[PlanError]) -> None:
        """Raise `error` with all that was found; nothing where nothing was."""
        if self._found:
            raise error("; ".join(self._found))


class ProxyError(EngineError):
    """A proxy refused its upstream file, or did not take it up; the text is its own."""
