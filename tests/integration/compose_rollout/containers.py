# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single containers, networks and volumes for tests of what asks the engine, without Compose."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import docker

from .debian import IMAGE


@dataclass
class Containers:
    """What one test made on the engine."""

    engine: docker.DockerClient
    name: str = field(default_factory=lambda: f"rollout-test-{secrets.token_hex(4)}")
    _made: list[Any] = field(default_factory=list)

    def create(self, script: str = "sleep 1000", **keys: Any) -> str:
        """Create a container that runs a shell script; gives its id."""
        name = f"{self.name}-{len(self._made)}"
        made = self.engine.containers.create(IMAGE, ["sh", "-c", script], name=name, stop_signal="SIGKILL", **keys)
        self._made.append(made)
        return str(made.id)

    def start(self, script: str = "sleep 1000", **keys: Any) -> str:
        """Create one and start it; gives its id."""
        container_id = self.create(script, **keys)
        self.engine.api.start(container_id)
        return container_id

    def network(self, **keys: Any) -> str:
        """Make a network; gives its name."""
        made = self.engine.networks.create(f"{self.name}-{len(self._made)}", **keys)
        self._made.append(made)
        return str(made.name)

    def volume(self) -> str:
        """Make a volume; gives its name."""
        made = self.engine.volumes.create(f"{self.name}-{len(self._made)}")
        self._made.append(made)
        return str(made.name)

    def remove(self) -> None:
        """Leave nothing of it on the engine."""
        for made in reversed(self._made):
            try:
                if isinstance(made, docker.models.networks.Network):
                    made.remove()
                else:
                    made.remove(force=True)
            except docker.errors.NotFound:
                continue
