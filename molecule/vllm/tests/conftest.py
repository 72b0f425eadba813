"""What the tests of the vllm scenario share: the host, the way to it as a client and as an operator."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from letta_client import Letta

PROJECT = Path(__file__).parents[3]
PORT = 8283


@dataclass(frozen=True)
class Deployment:
    """How a run of the deployment playbook ended."""

    succeeded: bool
    said: str


@dataclass(frozen=True)
class Stack:
    """The stack on a host, as its clients and its operator see it."""

    container_of_host: str
    inventory: str

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a command on the host and return what it printed."""
        command = ["docker", "exec", self.container_of_host, *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"{argv}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    @property
    def url(self) -> str:
        """The front door."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        argv = ["docker", "inspect", "--format", template, self.container_of_host]
        return f"http://{subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()}:{PORT}"

    @property
    def client(self) -> Letta:
        """A client as an application would make it, that does not try again on its own."""
        password = self.run("cat", "/opt/letta/secrets/server_password")
        return Letta(base_url=self.url, api_key=password, max_retries=0, timeout=180)

    def container(self, service: str) -> str:
        """The id of the one running container of a service."""
        containers = self.run(
            "docker", "ps", "--no-trunc", "--quiet",
            "--filter", "label=com.docker.compose.project=letta",
            "--filter", f"label=com.docker.compose.service={service}",
        ).split()  # fmt: skip
        assert len(containers) == 1, f"{service} has the running containers {containers}"
        return containers[0]

    def query(self, sql: str) -> str:
        """What the stack's database answers, unformatted."""
        psql = ["psql", "--username=letta", "--dbname=letta", "--tuples-only", "--no-align", f"--command={sql}"]
        return self.run("docker", "exec", self.container("letta_db"), *psql)

    def handles(self) -> set[str]:
        """The handles that a client is offered, but for Letta's own."""
        return {model.handle for model in self.client.models.list() if model.handle.startswith("vllm/")}

    def completions(self, model: str) -> int:
        """How many requests vLLM itself has answered with a model, since it started."""
        metrics = self.run("docker", "exec", self.container("vllm"), "curl", "-fsS", "http://127.0.0.1:8000/metrics")
        counts = re.findall(rf'^vllm:request_success_total\{{.*model_name="{model}".*\}} (\S+)$', metrics, re.MULTILINE)
        assert counts, f"vLLM counts no requests of {model}"
        return int(sum(map(float, counts)))

    def answer(self, agent: str) -> str:
        """What an agent says to a message."""
        response = self.client.agents.messages.create(agent, messages=[{"role": "user", "content": "Speak."}])
        said = [message.content for message in response.messages if message.message_type == "assistant_message"]
        assert said, response
        return "".join(part if isinstance(part, str) else "".join(each.text for each in part) for part in said)

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


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack that the scenario deployed."""
    return Stack(os.environ["LETTA_TEST_HOST"], os.environ["LETTA_TEST_INVENTORY"])


@pytest.fixture(scope="session")
def oak(stack: Stack) -> str:
    """An agent of the model that the scenario deployed, which has to outlive whatever happens to the model."""
    return stack.client.agents.create(name="oak", model="vllm/oak", memory_blocks=[], include_base_tools=False).id
