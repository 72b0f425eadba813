# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The values of a project that must not be seen in evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from . import evidence, inline_files, mounted_files
from .spec import Project


def redactor(project: Project, delivered: Mapping[str, str], warn: Callable[[str], None]) -> evidence.Redact:
    """Give what takes them out of a text; the arguments as for `secrets`."""
    return evidence.redactor(secrets(project, delivered, warn))


def secrets(project: Project, delivered: Mapping[str, str], warn: Callable[[str], None]) -> list[str]:
    """Give what secrets hold, and the values of variables whose names say that they are secret.

    `delivered` are the values of variables that are delivered as files.
    """
    values = inline_files.secret_values(mounted_files.of_project(project), delivered)
    for path in project.secret_files:
        try:
            values.append(Path(path).read_text("utf-8", errors="replace"))
        except OSError as error:
            warn(f"secret file {path} cannot be read, so it is not taken out of logs: {error}")
    for service in project.services.values():
        environment = service.config.get("environment") or {}
        # Compose doubles each dollar sign in what it normalises.
        pairs = (f"{name}={value}".replace("$$", "$") for name, value in environment.items())
        values += evidence.secret_values(pairs)
    return values
