"""What the tests of the vllm scenario share: the stack with its model, and an agent of that model."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

from tests.hosts.stack import Stack


class Talking(Stack):
    """The stack whose agents speak through the vLLM beside them."""

    def handles(self) -> set[str]:
        """The handles that a client is offered, but for Letta's own."""
        return {model.handle for model in self.client.models.list() if model.handle.startswith("vllm/")}

    def completions(self, model: str) -> int:
        """How many requests vLLM itself has answered with a model, since it started."""
        metrics = self.execute("vllm", "curl", "-fsS", "http://127.0.0.1:8000/metrics")
        counts = re.findall(rf'^vllm:request_success_total\{{.*model_name="{model}".*\}} (\S+)$', metrics, re.MULTILINE)
        assert counts, f"vLLM counts no requests of {model}"
        return int(sum(map(float, counts)))

    def make_agent(self, name: str, model: str) -> str:
        """An agent whose answers end soon: a model of random weights knows no end."""
        return self.client.agents.create(
            name=name, model=f"vllm/{model}", memory_blocks=[], include_base_tools=False, max_tokens=32
        ).id

    def answer(self, agent: str) -> str:
        """What an agent says to a message."""
        response = self.client.agents.messages.create(agent, messages=[{"role": "user", "content": "Speak."}])
        said = [message.content for message in response.messages if message.message_type == "assistant_message"]
        assert said, response
        return "".join(part if isinstance(part, str) else "".join(each.text for each in part) for part in said)


@pytest.fixture(scope="session")
def stack() -> Talking:
    """The stack that the scenario deployed."""
    return Talking.on("vllm")


@pytest.fixture(scope="session")
def oak(stack: Talking) -> str:
    """An agent of the model that the scenario deployed, which has to outlive whatever happens to the model."""
    return stack.make_agent("oak", "oak")


@pytest.fixture(scope="session")
def elm(stack: Talking) -> str:
    """An agent of the other model, made when that is served for the first time."""
    return stack.make_agent("elm", "elm")
