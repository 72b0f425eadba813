# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose project that a bench works on, and what the engine tells of it."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import yaml

_LABEL = "com.docker.compose.project"
HEALTHY = "health_status: healthy"
# Seconds that an event may be on its way.
_ARRIVES = 0.2
# How often the engine is asked for what it does not tell. Seconds.
_LOOK = 0.05


@dataclass(frozen=True)
class Happened:
    """Something that happened to a container, `time` in seconds since 1970, `container` its id."""

    time: float
    action: str
    container: str


@dataclass
class Project:
    """A project on the engine, in a directory of its own; `remove` leaves nothing of it."""

    directory: Path
    state: Path
    environment: dict[str, str]
    engine: docker.DockerClient
    name: str

    @classmethod
    def make(cls, folder: Path, environment: dict[str, str], engine: docker.DockerClient) -> Project:
        """Give a project with an empty directory below `folder`."""
        name = f"bench-{secrets.token_hex(4)}"
        directory = folder / name
        directory.mkdir()
        # A proxy's user reads what is mounted from here.
        directory.chmod(0o755)
        return cls(directory, folder / f"{name}-state", environment, engine, name)

    @property
    def compose_command(self) -> list[str]:
        return ["docker", "compose", "--project-directory", str(self.directory), "--project-name", self.name]

    def write(self, services: dict[str, Any]) -> None:
        """Write its Compose file."""
        text = yaml.safe_dump({"services": services}, sort_keys=False)
        (self.directory / "compose.yaml").write_text(text, encoding="utf-8")

    def containers(self) -> list[Any]:
        """Give all containers of the project."""
        found = self.engine.containers.list(all=True, filters={"label": f"{_LABEL}={self.name}"}, ignore_removed=True)
        return list(found)

    def pause(self) -> None:
        """Pause its containers, and with them their health checks: what is not measured shall not cost what is."""
        for container in self.containers():
            container.pause()

    def unpause(self) -> None:
        """Let its containers go on, and wait until they are healthy: the engine forgets that meanwhile."""
        for container in self.containers():
            container.unpause()
        while any(container.health == "starting" for container in self.containers()):
            time.sleep(_LOOK)

    def remove(self) -> None:
        """Leave nothing of it on the engine."""
        for container in self.containers():
            if container.status == "paused":
                container.unpause()
            container.remove(force=True, v=True)
        for network in self.engine.networks.list(filters={"label": f"{_LABEL}={self.name}"}):
            network.remove()

    @contextmanager
    def events(self) -> Iterator[list[Happened]]:
        """Record what happens to its containers; whole once the block is left."""
        of_project = ["--filter", "type=container", "--filter", f"label={_LABEL}={self.name}"]
        # A process of its own: its output ends cleanly with it.
        argv = ["docker", "events", *of_project, "--format", "{{json .}}"]
        recorded: list[Happened] = []
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as stream:

            def read() -> None:
                for line in stream.stdout or ():
                    event = json.loads(line)
                    recorded.append(Happened(event["timeNano"] / 1e9, event["Action"], event["Actor"]["ID"]))

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            try:
                yield recorded
            finally:
                # What happened last has to have arrived.
                time.sleep(_ARRIVES)
                stream.terminate()
                reader.join(timeout=10)


def free_port() -> int:
    """Give a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
