"""What the tests of the production scenario share: the stack, an agent in it, and a neighbour of its host."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hosts.stack import Host, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letta_client.types import AgentState


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack that the scenario deployed."""
    return Stack.on("production")


@pytest.fixture(scope="session")
def neighbour() -> Host:
    """Another machine on the host's network."""
    return Host.named("llm")


@pytest.fixture(scope="session")
def agent(stack: Stack) -> Iterator[AgentState]:
    """An agent that has to outlive whatever happens to the stack."""
    created = stack.client.agents.create(name="survivor", model="vllm/tiny", memory_blocks=[])
    yield created
    stack.client.agents.delete(created.id)
