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


class Problems:
    """Collects what is wrong with a project, so that its operator reads all of it at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, problem: str) -> None:
        """Add a sentence that names the field and what is allowed there."""
        if problem not in self._found:
            self._found.append(problem)

    def settle(self, error: type[SpecError] | type[PlanError]) -> None:
        """Raise `error` with all that was found; nothing where nothing was."""
        if self._found:
            raise error("; ".join(self._found))


class ProxyError(EngineError):
    """A proxy refused its upstream file, or did not take it up; the text is its own."""
