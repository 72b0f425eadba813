"""What the tests of the development scenario share: the host, its source tree, the way to it as a developer."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from letta_client import Letta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from letta_client.types import AgentState

PROJECT = Path(__file__).parents[3]
SOURCE = "/opt/letta/source/letta"
HEALTH = f"{SOURCE}/letta/server/rest_api/routers/v1/health.py"
APP = f"{SOURCE}/letta/server/rest_api/app.py"


@dataclass(frozen=True)
class Host:
    """A test host, which is a container of this machine's engine."""

    container: str

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a command on the host and return what it printed."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", self.container, *argv],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{argv} on {self.container}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    def shell(self, command: str) -> str:
        """Run a line of shell."""
        return self.run("bash", "-euo", "pipefail", "-c", command)

    def write(self, path: str, text: str) -> None:
        """Write a file, whose directory is made."""
        self.run("bash", "-euc", f"mkdir -p $(dirname {shlex.quote(path)}); cat >{shlex.quote(path)}", stdin=text)

    @property
    def address(self) -> str:
        """Where others find it."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        argv = ["docker", "inspect", "--format", template, self.container]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Deployment:
    """How a run of the deployment playbook ended."""

    succeeded: bool
    said: str

    @property
    def changed(self) -> int:
        """How many tasks changed something on the host."""
        return int(re.search(r"development\s*: ok=\d+ changed=(\d+)", self.said)[1])


@dataclass
class Stack:
    """The stack on a host, as its clients and its developer see it. `settings` are those of the variant in use."""

    host: Host
    inventory: str
    settings: dict

    @property
    def url(self) -> str:
        """The server's own port."""
        return f"http://{self.host.address}:8283"

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

    def inspect(self, service: str, template: str) -> str:
        """What the engine says of the service's container."""
        return self.host.run("docker", "inspect", "--format", template, self.container(service))

    def image(self, service: str) -> str:
        """The reference that the service's container was made from."""
        return self.inspect(service, "{{.Config.Image}}")

    def sources(self) -> list[str]:
        """The images that sources were built into."""
        filters = ["--filter", "label=agentfleet.letta.source=letta"]
        return sorted(self.host.run("docker", "images", *filters, "--format", "{{.Repository}}:{{.Tag}}").split())

    def query(self, sql: str) -> str:
        """What the stack's database answers, unformatted."""
        psql = ["psql", "--username=letta", "--dbname=letta", "--tuples-only", "--no-align", f"--command={sql}"]
        return self.host.run("docker", "exec", self.container("letta_db"), *psql)

    def deploy(self, *arguments: str) -> Deployment:
        """Run the deployment playbook again, with the settings in use."""
        done = subprocess.run(
            [
                *["ansible-playbook", "-i", self.inventory, "-e", json.dumps(self.settings)],
                *arguments,
                "playbooks/deploy.yml",
            ],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # Ansible folds long lines.
        return Deployment(succeeded=done.returncode == 0, said=" ".join(done.stdout.split()))

    def version(self) -> str:
        """The version that the server says it is; empty while it does not answer."""
        try:
            return requests.get(f"{self.url}/v1/health/", timeout=5).json()["version"]
        except requests.RequestException:
            return ""

    def wait_for(self, met: Callable[[], bool], what: str, seconds: float = 240) -> None:
        """Wait for what is to become so."""
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(0.5)

    def say(self, suffix: str) -> None:
        """Change the source: from now on the server's version ends in the suffix."""
        self.host.run("sed", "-i", f's/version=__version__[^,]*,/version=__version__ + "{suffix}",/', HEALTH)

    def environment_of_tools(self) -> str:
        """What code of a tool sees of its environment and of all processes of the container."""
        source = '''
def look() -> str:
    """Look around, at every process."""
    import os
    seen = {"environment": dict(os.environ)}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = open(f"/proc/{process}/cmdline").read().replace(chr(0), " ")
            seen[command] = "closed"
            seen[command] = open(f"/proc/{process}/environ").read()
        except OSError:
            pass
    return repr(seen)
'''
        run = requests.post(
            f"{self.url}/v1/tools/run",
            headers={"Authorization": f"Bearer {self.password}"},
            json={"source_code": source, "args": {}},
            timeout=120,
        )
        assert run.status_code == requests.codes.ok, run.text
        assert run.json()["status"] == "success", run.text
        return run.json()["tool_return"]


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack that the scenario deployed."""
    return Stack(host=Host(os.environ["LETTA_TEST_HOST"]), inventory=os.environ["LETTA_TEST_INVENTORY"], settings={})


@pytest.fixture(scope="session")
def neighbour() -> Host:
    """Another machine on the host's network."""
    return Host(os.environ["LETTA_TEST_NEIGHBOUR"])


@pytest.fixture(scope="session")
def agent(stack: Stack) -> Iterator[AgentState]:
    """An agent that has to outlive whatever happens to the source."""
    created = stack.client.agents.create(name="survivor", model="vllm/tiny", memory_blocks=[])
    yield created
    stack.client.agents.delete(created.id)
