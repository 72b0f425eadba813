# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images, built by the role where they are missing, and containers of them that never outlive a test."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker.models.containers import Container
    from docker.models.volumes import Volume

ROOT = Path(__file__).resolve().parents[3]

PLAY = """
- name: Bring the images
  hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Bring the images
      ansible.builtin.include_role:
        name: agentfleet.letta.letta_images

    - name: Hand over what the role says
      ansible.builtin.copy:
        content: "{{ letta_images_resolved | to_json }}"
        dest: "{{ test_result }}"
        mode: "0600"
      changed_when: false
      check_mode: false
"""


@dataclasses.dataclass(frozen=True)
class RoleRun:
    """What a run of the role came to."""

    rc: int
    output: str
    resolved: dict[str, str] | None

    @property
    def changed(self) -> int:
        """How many tasks reported a change."""
        recap = self.output[self.output.rindex("PLAY RECAP") :]
        return int(recap.split("changed=")[1].split()[0])


@pytest.fixture(scope="session")
def run_role(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RoleRun]:
    """Run letta_images on this machine: run_role("--check", letta_images_source="build")."""
    directory = tmp_path_factory.mktemp("role")
    play = directory / "play.yml"
    play.write_text(PLAY)
    bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or ""

    def run(*arguments: str, **variables: Any) -> RoleRun:
        result = directory / f"{uuid.uuid4().hex}.json"
        values = {
            "letta_images_directory": str(directory / "var"),
            "letta_images_ca_bundle": bundle,
            "test_result": str(result),
            **variables,
        }
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(values), *arguments, str(play)],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        resolved = json.loads(result.read_text()) if result.exists() else None
        return RoleRun(done.returncode, done.stdout + done.stderr, resolved)

    return run


@pytest.fixture(scope="session")
def images(run_role: Callable[..., RoleRun]) -> dict[str, str]:
    """References of the built images: server, db, redis, nginx."""
    run = run_role(letta_images_source="build")
    assert run.rc == 0, run.output
    assert run.resolved is not None
    return run.resolved


@pytest.fixture(scope="session")
def every_image(run_role: Callable[..., RoleRun], images: dict[str, str]) -> dict[str, str]:
    """References of the built images of all variants."""
    run = run_role(letta_images_source="build", letta_images_services=["app_server"])
    assert run.rc == 0, run.output
    assert run.resolved is not None
    return {**images, **run.resolved}


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
