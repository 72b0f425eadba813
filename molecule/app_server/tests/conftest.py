"""What the tests of the app_server scenario share: the host, a client of the server on it, and its operator."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PROJECT = Path(__file__).parents[3]
PORT = 8283
SECONDS = 60
Frame = dict[str, Any]


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


class Connection:
    """A websocket of the App Server: commands go out, responses and events come in."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._asked = 0
        self.closed_with: int | None = None

    async def ask(self, kind: str, **fields: Any) -> Frame:
        """Send a command and return its response, which has to say that it succeeded."""
        self._asked += 1
        number = f"request-{self._asked}"
        await self._socket.send_json({"type": kind, "request_id": number, **fields})
        answer = await self.wait_for(lambda frame: frame.get("request_id") == number)
        assert answer["success"] is True, answer
        return answer

    async def tell(self, kind: str, **fields: Any) -> None:
        """Send a command that has no response."""
        await self._socket.send_json({"type": kind, **fields})

    async def wait_for(self, wanted: Callable[[Frame], bool]) -> Frame:
        """Return the next frame that is wanted."""
        seen = []
        async with asyncio.timeout(SECONDS):
            async for message in self._socket:
                frame = json.loads(message.data)
                if wanted(frame):
                    return frame
                seen.append(frame)
        raise AssertionError(f"the server closed the connection ({self._socket.close_code}) after {seen}")

    async def wait_until_closed(self) -> int | None:
        """Read until the server closes the connection, and return with which code."""
        async for _ in self._socket:
            pass
        return self._socket.close_code


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
    def token(self) -> str:
        """The token that the deployment made."""
        return self.host.run("cat", "/opt/letta/secrets/app_server_token")

    @asynccontextmanager
    async def connected(self, headers: dict[str, str] | None = None) -> AsyncIterator[Connection]:
        """A websocket through nginx, with the token unless other headers are given."""
        mine = {"Authorization": f"Bearer {self.token}"} if headers is None else headers
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{self.url}/ws", headers=mine) as socket:
            yield Connection(socket)

    def agents(self) -> list[str]:
        """The ids of the agents that the server lists."""

        async def listed() -> list[str]:
            async with self.connected() as connection:
                return [agent["id"] for agent in (await connection.ask("agent_list", query={}))["agents"]]

        return asyncio.run(listed())

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

    def wait_until_ready(self, seconds: float = 180) -> None:
        """Wait until the server answers through the front door."""
        deadline = time.monotonic() + seconds
        while not self.ready():
            assert time.monotonic() < deadline, f"{self.url} was not ready within {seconds} s"
            time.sleep(0.5)

    def ready(self) -> bool:
        """Whether the server answers through the front door."""
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == requests.codes.ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack that the scenario deployed."""
    return Stack(host=Host(os.environ["LETTA_TEST_HOST"]), inventory=os.environ["LETTA_TEST_INVENTORY"])


@pytest.fixture(scope="session")
def agent(stack: Stack) -> dict[str, str]:
    """An agent and a conversation of it that have to outlive whatever happens to the stack."""

    async def made() -> dict[str, str]:
        async with stack.connected() as connection:
            started = await connection.ask(
                "runtime_start",
                create_agent={"body": {"name": "survivor", "model": "lmstudio/tiny"}, "pin_global": False},
                create_conversation={"body": {"summary": "kept"}},
                recover_approvals=False,
            )
            return started["runtime"]

    return asyncio.run(made())
