"""What the tests of the development scenario share: the stack, its source tree, and an agent in it."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from tests.hosts.stack import Host, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_client.types import AgentState


class Workshop(Stack):
    """The stack as its developer sees it, with the source tree that its server is made of."""

    source = "/opt/letta/source/letta"
    health_py = f"{source}/letta/server/rest_api/routers/v1/health.py"
    app_py = f"{source}/letta/server/rest_api/app.py"

    def sources(self) -> list[str]:
        """The images that sources were built into."""
        filters = ["--filter", "label=agentfleet.letta.source=letta"]
        return sorted(self.host.run("docker", "images", *filters, "--format", "{{.Repository}}:{{.Tag}}").split())

    def version(self) -> str:
        """The version that the server says it is; empty while it does not answer."""
        try:
            return requests.get(self.url + self.health, timeout=5).json()["version"]
        except requests.RequestException:
            return ""

    def say(self, suffix: str) -> None:
        """Change the source: from now on the server's version ends in the suffix."""
        self.host.run("sed", "-i", f's/version=__version__[^,]*,/version=__version__ + "{suffix}",/', self.health_py)

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
def stack() -> Workshop:
    """The stack that the scenario deployed."""
    return Workshop.on("development")


@pytest.fixture(scope="session")
def neighbour() -> Host:
    """Another machine on the host's network."""
    return Host.named("llm")


@pytest.fixture(scope="session")
def agent(stack: Workshop) -> Iterator[AgentState]:
    """An agent that has to outlive whatever happens to the source."""
    created = stack.client.agents.create(name="survivor", model="vllm/tiny", memory_blocks=[])
    yield created
    stack.client.agents.delete(created.id)
