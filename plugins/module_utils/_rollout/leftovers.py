# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers that another tool left half-changed: nothing is planned around them, and one command mends each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .observe import Container

# Compose gives the container that takes another one's place this name until the other one is gone: the first digits of
# that one's id before its own name (tmpName in https://github.com/docker/compose/blob/v2.40.3/pkg/compose/convergence.go).
_BEING_RECREATED = re.compile(r"[0-9a-f]{12}_(?P<name>.+)")


def problems(containers: Sequence[Container]) -> tuple[str, ...]:
    """Name what is half-changed in a project's containers, and the command that mends it, a sentence each."""
    names = {container.name for container in containers}
    found = []
    for container in containers:
        recreated = _BEING_RECREATED.fullmatch(container.name)
        if container.status in ("removing", "dead"):
            found.append(
                f"{container.name}: the engine has not finished removing it (it is {container.status}); mend it with "
                f"`docker rm --force {container.name}`"
            )
        elif recreated and recreated["name"] in names:
            found.append(
                f"{container.name}: Docker Compose was interrupted while this was to take the place of "
                f"{recreated['name']}; mend it with `docker rm --force {container.name}`"
            )
        elif recreated:
            found.append(
                f"{container.name}: Docker Compose was interrupted after this took the place of {recreated['name']}; "
                f"mend it with `docker rename {container.name} {recreated['name']}`"
            )
    return tuple(found)
