# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of the built images that never outlive a test."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import TYPE_CHECKING, Any

import docker
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker.models.containers import Container
    from docker.models.volumes import Volume


@pytest.fixture(scope="session")
def every_image(bring: Callable[..., dict[str, str]], images: dict[str, str]) -> dict[str, str]:
    """References of the images of all variants."""
    return {**images, **bring("app_server", "vllm")}


@pytest.fixture(scope="session")
def engine() -> docker.DockerClient:
    """The engine of this machine."""
    return docker.from_env(timeout=120)


@dataclasses.dataclass
class Box:
    """A container under the restrictions that the stack puts on each."""

    container: Container

    def wait_healthy(self, timeout: float = 60) -> None:
        """Wait until the image's own health check passes."""

        def healthy() -> bool:
            self.container.reload()
            assert self.container.status == "running", self.logs()
            return str(self.container.attrs["State"]["Health"]["Status"]) == "healthy"

        self.wait_until(healthy, timeout)

    def wait_exit(self, timeout: float = 60) -> int:
        """Wait until the container ends, and return its exit code."""
        return int(self.container.wait(timeout=timeout)["StatusCode"])

    def wait_until(self, condition: Callable[[], bool], timeout: float = 60) -> None:
        """Wait until the condition holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.25)

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command inside: exit code and output."""
        code, output = self.container.exec_run(list(command))
        return int(code), output.decode()

    def output_of(self, *command: str) -> str:
        """Run a command inside that has to succeed, and return its output."""
        code, output = self.run(*command)
        assert code == 0, output
        return output.strip()

    def logs(self) -> str:
        """Everything that the container has said."""
        return str(self.container.logs().decode())


@pytest.fixture
def prefix() -> str:
    """What the names of a test's objects begin with."""
    return f"agentfleet-test-images-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def network(engine: docker.DockerClient, prefix: str) -> Iterator[str]:
    """A network of the test's own."""
    made = engine.networks.create(prefix, internal=True)
    yield str(made.name)
    made.remove()


@pytest.fixture
def volume(engine: docker.DockerClient, prefix: str) -> Iterator[Volume]:
    """A fresh named volume."""
    made = engine.volumes.create(f"{prefix}-data")
    yield made
    made.remove()


# It asks for the network and the volume's removal to come after its own: fixtures end in reverse order.
@pytest.fixture
def start(engine: docker.DockerClient, prefix: str, network: str, volume: Volume) -> Iterator[Callable[..., Box]]:
    """Start a container, read-only and without a capability, on the test's network."""
    made: list[Container] = []

    def run(image: str, command: list[str] | None = None, **options: Any) -> Box:
        settings: dict[str, Any] = {
            "name": f"{prefix}-{len(made)}",
            "network": network,
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mem_limit": "1g",
            "pids_limit": 256,
            **options,
        }
        container = engine.containers.create(image, command, **settings)
        made.append(container)
        container.start()
        return Box(container)

    yield run
    for container in made:
        container.remove(force=True, v=True)
