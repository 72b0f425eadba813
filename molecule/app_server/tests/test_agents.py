"""What a client does with agents, and that they outlive what an operator does to the stack."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio
import time

SPOKEN = "Slow and steady is how this model speaks."


def said(stack, agent) -> str:
    """What the server keeps of the conversation."""

    async def ask() -> str:
        async with stack.connected() as connection:
            answer = await connection.ask(
                "conversation_messages_list",
                conversation_id=agent["conversation_id"],
                query={"agent_id": agent["agent_id"]},
            )
            return str(answer["messages"])

    return asyncio.run(ask())


def test_a_turn_reaches_the_model_and_streams_back_while_it_speaks(stack, agent):
    async def turn() -> tuple[str, list[float]]:
        words, arrived = "", []
        async with stack.connected() as connection:
            await connection.ask("runtime_start", **agent, recover_approvals=False)
            await connection.tell(
                "input",
                runtime=agent,
                payload={"kind": "create_message", "messages": [{"role": "user", "content": "Speak."}]},
            )
            while SPOKEN not in words:
                frame = await connection.wait_for(lambda frame: frame["type"] == "stream_delta")
                delta = frame["delta"]
                assert delta.get("message_type") != "loop_error", delta
                if delta.get("message_type") == "assistant_message":
                    content = delta["content"]
                    words += content if isinstance(content, str) else "".join(part["text"] for part in content)
                    arrived.append(time.monotonic())
        return words, arrived

    words, arrived = asyncio.run(turn())
    assert words == SPOKEN
    # The model takes 3.6 s for it. In a buffered stream all events arrive together at the end.
    assert arrived[-1] - arrived[0] > 2.5, arrived
    assert len({round(moment, 1) for moment in arrived}) >= 5, arrived


def test_the_agent_is_listed_and_is_files_on_the_volume(stack, agent):
    assert agent["agent_id"] in stack.agents()
    volume = stack.host.run("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", "letta_app_server")
    files = stack.host.run("grep", "--recursive", "--files-with-matches", agent["agent_id"], volume)
    assert f"{volume}/.letta/lc-local-backend/" in files
    assert SPOKEN in said(stack, agent)


def test_an_update_replaces_the_server_alone_and_keeps_everything(stack, agent):
    before = stack.container("app_server"), stack.container("nginx")
    token = stack.token
    environment = {
        "LMSTUDIO_BASE_URL": "http://llm.test:8000/v1",
        "LMSTUDIO_API_KEY": "lmstudio-key-of-the-test",
        "TZ": "Etc/UTC",
    }

    async def stay_connected() -> int | None:
        async with stack.connected() as connection:
            update = asyncio.create_task(asyncio.to_thread(stack.deploy, letta_stack_environment=environment))
            code = await asyncio.wait_for(connection.wait_until_closed(), 300)
            deployed = await update
            assert deployed.succeeded, deployed.said
            return code

    assert asyncio.run(stay_connected()) is not None
    assert stack.container("app_server") != before[0], "the server was not replaced"
    assert stack.container("nginx") == before[1], "nginx was replaced for nothing"
    assert stack.token == token
    assert agent["agent_id"] in stack.agents()
    assert SPOKEN in said(stack, agent)


def test_everything_is_there_after_the_host_rebooted(stack, agent):
    stack.host.reboot()
    stack.wait_until_healthy()
    assert agent["agent_id"] in stack.agents()
    assert SPOKEN in said(stack, agent)
