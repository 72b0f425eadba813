"""What the tests of the production scenario share: the host, the way to it as a client and as an operator."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from letta_client import Letta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_client.types import AgentState

PROJECT = Path(__file__).parents[3]
PORT = 8283


@dataclass(frozen=True)
class Host:
    """A test host, which is a container of this machine's engine."""

    container: str

    def run(self, *argv: str) -> str:
        """Run a command on the host and return what it printed."""
        done = subprocess.run(["docker", "exec", self.container, *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv} on {self.container}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    @property
    def address(self) -> str:
        """Where a client outside of the host finds it, now: a restart may change it."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        argv = ["docker", "inspect", "--format", template, self.container]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Deployment:
    """How a run of the deployment playbook ended."""

    succeeded: bool
    said: str


@dataclass(frozen=True)
class Stack:
    """The stack on a host, as its clients and its operator see it."""

    host: Host
    inventory: str

    @property
    def url(self) -> str:
        """The front door."""
        return f"http://{self.host.address}:{PORT}"

    @property
    def password(self) -> str:
        """The password that the deployment made."""
        return self.host.run("cat", "/opt/letta/secrets/server_password")

    @property
    def client(self) -> Letta:
        """A client as an application would make it, that does not try again on its own."""
        return Letta(base_url=self.url, api_key=self.password, max_retries=0)

    def container(self, service: str) -> str:
        """The id of the one running container of a service."""
        containers = self.host.run(
            "docker", "ps", "--no-trunc", "--quiet",
            "--filter", "label=com.docker.compose.project=letta",
            "--filter", f"label=com.docker.compose.service={service}",
        ).split()  # fmt: skip
        assert len(containers) == 1, f"{service} has the running containers {containers}"
        return containers[0]

    def image(self, service: str) -> str:
        """The reference that the service's container was made from."""
        return self.host.run("docker", "inspect", "--format", "{{.Config.Image}}", self.container(service))

    def query(self, sql: str) -> str:
        """What the stack's database answers, unformatted."""
        psql = ["psql", "--username=letta", "--dbname=letta", "--tuples-only", "--no-align", f"--command={sql}"]
        return self.host.run("docker", "exec", self.container("letta_db"), *psql)

    def deploy(self, **variables: object) -> Deployment:
        """Run the deployment playbook again, with some variables changed and the settings that an operator has."""
        done = subprocess.run(
            ["ansible-playbook", "-i", self.inventory, "-e", json.dumps(variables), "playbooks/deploy.yml"],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # Ansible folds long lines.
        return Deployment(succeeded=done.returncode == 0, said=" ".join(done.stdout.split()))

    def wait_until_healthy(self, seconds: float = 180) -> None:
        """Wait until the server answers through the front door."""
        deadline = time.monotonic() + seconds
        while not self.healthy():
            assert time.monotonic() < deadline, f"{self.url} was not healthy within {seconds} s"
            time.sleep(0.5)

    def healthy(self) -> bool:
        """Whether the server answers through the front door."""
        try:
            return requests.get(f"{self.url}/v1/health/", timeout=5).status_code == requests.codes.ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack that the scenario deployed."""
    return Stack(host=Host(os.environ["LETTA_TEST_HOST"]), inventory=os.environ["LETTA_TEST_INVENTORY"])


@pytest.fixture(scope="session")
def neighbour() -> Host:
    """Another machine on the host's network."""
    return Host(os.environ["LETTA_TEST_NEIGHBOUR"])


@pytest.fixture(scope="session")
def agent(stack: Stack) -> Iterator[AgentState]:
    """An agent that has to outlive whatever happens to the stack."""
    created = stack.client.agents.create(name="survivor", model="vllm/tiny", memory_blocks=[])
    yield created
    stack.client.agents.delete(created.id)
