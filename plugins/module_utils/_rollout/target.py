# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to run: the project as Compose reads it from its files, and the part of it that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import selection, spec, versions
from .compose_cli import ComposeCli
from .errors import ComposeError, Problems, SpecError
from .request import Request


@dataclass(frozen=True)
class Target:
    """The project, its normalised configuration as text, and each service's hash.

    `selected` are the services that are rolled out; no other one's containers are touched.
    """

    project: spec.Project
    selected: frozenset[str]
    hashes: Mapping[str, str]
    config: str = field(repr=False)

    @property
    def services(self) -> tuple[spec.Service, ...]:
        """The selected services, in dependency order."""
        return tuple(service for name, service in self.project.services.items() if name in self.selected)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the selection leaves undone."""
        return selection.left_behind(self.project, self.selected)


def read(asked: Request, compose: ComposeCli, problems: Problems) -> Target:
    """Let Compose read the project's files.

    Raises SpecError, with all problems, where there is no project to go on with; and ComposeError where Compose is
    missing or too old.
    """
    project = selected = None
    try:
        config = _config(compose)
        project = spec.parse(config, asked.overrides)
        selected = selection.select(project, asked.services, compose.declared_services)
    except SpecError as error:
        problems.add(str(error))
    if project is None or selected is None:
        problems.settle(SpecError)
        raise AssertionError("no project, and no problem with it")
    return Target(project, selected, compose.hashes(config), config)


def _config(compose: ComposeCli) -> str:
    try:
        return compose.config()
    except ComposeError as error:
        # Where Compose is missing or too old, this says it better.
        version = compose.version()
        raise SpecError(f"{error}{versions.unknown_key(str(error), version)}") from error
