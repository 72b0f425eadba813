"""What a client does with agents, and that they outlive what an operator does to the stack."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time


def listed(stack) -> list[str]:
    return [agent.id for agent in stack.client.agents.list()]


def test_an_agent_is_listed_and_its_row_is_in_postgresql(stack, agent):
    assert agent.id in listed(stack)
    assert stack.query(f"SELECT name FROM agents WHERE id = '{agent.id}'") == "survivor"


def test_a_stream_arrives_while_it_is_still_being_said(stack, agent):
    began = time.monotonic()
    arrived, words = [], ""
    with stack.client.agents.messages.create(
        agent.id, input="Speak.", streaming=True, stream_tokens=True, timeout=60
    ) as stream:
        for event in stream:
            arrived.append(time.monotonic() - began)
            if event.message_type == "assistant_message":
                words += event.content if isinstance(event.content, str) else "".join(p.text for p in event.content)
    assert words == "Slow and steady is how this model speaks."
    # The model takes 3.6 s for it. In a buffered stream all events arrive together at the end.
    assert arrived[-1] - arrived[0] > 2.5, arrived
    assert len({round(moment, 1) for moment in arrived}) >= 5, arrived


def test_the_agent_is_there_after_the_server_was_replaced(stack, agent):
    before = stack.container("letta_server"), stack.container("letta_db")
    environment = {"VLLM_API_BASE": "http://llm.test:8000/v1", "LETTA_LOGGING_JSON_LOGGING": "true"}
    deployed = stack.deploy(letta_stack_environment=environment)
    assert deployed.succeeded, deployed.said
    assert stack.container("letta_server") != before[0], "the server was not replaced"
    assert stack.container("letta_db") == before[1], "the database was replaced for nothing"
    assert agent.id in listed(stack)


def test_the_agent_is_there_after_the_engine_restarted(stack, agent):
    before = stack.container("letta_server")
    stack.host.run("systemctl", "restart", "docker.service")
    stack.wait_until_healthy()
    assert stack.container("letta_server") == before, "live-restore did not keep the containers"
    assert agent.id in listed(stack)


def test_the_agent_is_there_after_the_host_rebooted(stack, agent):
    stack.host.reboot()
    stack.wait_until_healthy()
    assert agent.id in listed(stack)
