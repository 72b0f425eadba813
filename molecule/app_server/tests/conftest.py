"""What the tests of the app_server scenario share: the server, a client of it, and an agent in it."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SECONDS = 60
Frame = dict[str, Any]


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
        async for _frame in self._socket:
            pass
        return self._socket.close_code


class AppServer(Stack):
    """The App Server as its clients see it."""

    @property
    def token(self) -> str:
        """The token that the deployment made."""
        return self.secret("app_server_token")

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


@pytest.fixture(scope="session")
def stack() -> AppServer:
    """The stack that the scenario deployed."""
    return AppServer.on("app-server", health="/readyz")


@pytest.fixture(scope="session")
def agent(stack: AppServer) -> dict[str, str]:
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
