# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollout asks of the engine. docker_engine answers it by the Docker SDK for Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from .observe import Container
from .policy import Hook


@dataclass(frozen=True)
class Execution:
    """How a command in a container ended: `exit_code` None when it had not after its time. Output as text."""

    exit_code: int | None
    output: str


class Engine(Protocol):
    """The effects of a rollout on containers.

    All raise EngineError when the engine refuses, and its subclass EngineUnreachable when it is not there.
    """

    def api_version(self) -> tuple[int, int]:
        """Give the newest version of its API that the engine speaks."""

    def containers(self, project: str) -> list[Container]:
        """Give all containers of a project, stopped ones too."""

    def inspect(self, container_id: str) -> Container | None:
        """Give one container, None when it is gone."""

    def image_id(self, reference: str) -> str | None:
        """Give the id of an image, None when the engine has none of that name."""

    def tag(self, image_id: str, reference: str) -> None:
        """Let `reference` name the image again."""

    def network(self, name: str) -> dict[str, Any] | None:
        """Give a network as the engine inspects it, None when there is none."""

    def volume(self, name: str) -> dict[str, Any] | None:
        """Give a volume as the engine inspects it, None when there is none."""

    def start(self, container_id: str) -> None:
        """Start a container."""

    def stop(self, container_id: str, grace: int) -> None:
        """Stop a container; its process has `grace` seconds before it is killed."""

    def set_restart_policy(self, container_id: str, policy: tuple[str, int]) -> None:
        """Set name and maximum retries of the restart policy."""

    def remove(self, container_id: str) -> None:
        """Remove a container that does not run. Its volumes stay; one that is gone already is fine."""

    def rename(self, container_id: str, name: str) -> None:
        """Give a container another name."""

    def execute(self, container_id: str, command: Hook, timeout: float) -> Execution:
        """Run a command in a running container and wait for its end, `timeout` seconds at most."""

    def processes(self, container_id: str) -> dict[int, str]:
        """Give the command line of each process of a running container, by its number on this host."""

    def unpack(self, container_id: str, archive: bytes) -> None:
        """Unpack a tar archive over a container's root, whether it runs or not."""

    def remove_network(self, name: str) -> None:
        """Remove a network that nothing uses; one that is gone already is fine."""

    def remove_volume(self, name: str) -> None:
        """Remove a volume that nothing uses, and its data; one that is gone already is fine."""

    def logs(self, container_id: str, lines: int) -> list[str]:
        """Give the last lines of a container's output."""

    def watch(self, project: str) -> Any:
        """Give a context manager whose value is a Watch over the project's containers."""


class Watch(Protocol):
    """A wake-up call."""

    def wait(self, seconds: float) -> None:
        """Return when the engine reports something of the project, or after `seconds`."""
