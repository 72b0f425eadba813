# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on a site on this machine, from one process: what clients see while the site's containers are replaced.

The load is bounded: a few clients of each kind, and each pauses after an answer. Nothing is asked twice: a client that
lost a POST cannot know whether to send it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Callable, cast

import aiohttp

CLIENTS: Mapping[str, int] = {"GET": 4, "POST": 4, "slow": 4, "SSE": 4, "websocket": 4}
PAUSE = 0.05
# Nothing that is asked takes longer than about 2 seconds of a server that answers.
DEADLINE = 15.0
EVENTS = 8
# A websocket is asked so often, and for so long, before another one is opened. Seconds.
ECHO_PAUSE = 0.1
WEBSOCKET = 1.6

Ask = Callable[["_Attempt"], Awaitable[str]]


@dataclass(frozen=True)
class Answer:
    """What came of one request, stream or websocket.

    `seconds` is from question to end. `began` is when the server began to answer and `ended` when the client had all of
    it, in seconds since 1970. `container` is the first 12 digits of the id of the one that answered, empty where none
    did; `ready` whether it said so. `failed` says why there was no good answer, and is empty where there was one; `cut`
    is a stream or websocket that had begun and broke off.
    """

    kind: str
    seconds: float
    ended: float
    began: float | None
    container: str
    version: str
    ready: bool
    failed: str
    cut: bool


@dataclass
class Load:
    """Clients at work on `url`. `answers` grows meanwhile."""

    url: str
    clients: Mapping[str, int] = field(default_factory=lambda: CLIENTS)
    pause: float = PAUSE
    answers: list[Answer] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what has begun by then is brought to its end."""
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        alone = aiohttp.TCPConnector(limit=0, force_close=True)
        # aiohttp asks again by itself where a kept connection was closed, but never a POST: so only that is kept.
        kept = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=alone, ws_response_class=_Websocket) as fresh,
            aiohttp.ClientSession(timeout=timeout, connector=kept) as keeping,
        ):
            asks: dict[str, Ask] = {
                "GET": lambda attempt: self._get(fresh, "/", attempt),
                "POST": lambda attempt: self._post(keeping, attempt),
                "slow": lambda attempt: self._get(fresh, "/slow", attempt),
                "SSE": lambda attempt: self._stream(fresh, attempt),
                "websocket": lambda attempt: self._websocket(fresh, attempt),
            }
            clients = [
                self._client(kind, asks[kind], self.pause * number / count, stop)
                for kind, count in self.clients.items()
                for number in range(count)
            ]
            await asyncio.gather(*clients)

    async def answered_by(self, version: str, patience: float) -> bool:
        """Wait until a request that is asked from now on is answered well by `version`, for `patience` seconds."""
        now = time.time()
        seen = len(self.answers)
        while time.time() < now + patience:
            new = self.answers[seen:]
            if any(not each.failed and each.version == version and (each.began or 0) >= now for each in new):
                return True
            await asyncio.sleep(self.pause)
        return False

    async def _client(self, kind: str, ask: Ask, delay: float, stop: asyncio.Event) -> None:
        await asyncio.sleep(delay)
        while not stop.is_set():
            attempt = _Attempt(kind)
            try:
                failed = await ask(attempt)
            except aiohttp.WSServerHandshakeError as error:
                attempt.sign(error.headers or {})
                failed = f"status {error.status}"
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                failed = type(error).__name__
            self.answers.append(attempt.answer(failed))
            await asyncio.sleep(self.pause)

    async def _get(self, session: aiohttp.ClientSession, path: str, attempt: _Attempt) -> str:
        async with session.get(self.url + path) as response:
            attempt.sign(response.headers)
            await response.read()
            return "" if response.status == 200 else f"status {response.status}"

    async def _post(self, session: aiohttp.ClientSession, attempt: _Attempt) -> str:
        sent = b"x" * 256
        async with session.post(self.url + "/", data=sent) as response:
            attempt.sign(response.headers)
            body = await response.read()
            if response.status != 200:
                return f"status {response.status}"
            return "" if body == sent else "another body"

    async def _stream(self, session: aiohttp.ClientSession, attempt: _Attempt) -> str:
        async with session.get(f"{self.url}/events?count={EVENTS}") as response:
            attempt.sign(response.headers)
            if response.status != 200:
                return f"status {response.status}"
            attempt.opened = True
            lines = [line async for line in response.content if line.strip()]
            return "" if lines and lines[-1] == b"data: end\n" else "ended early"

    async def _websocket(self, session: aiohttp.ClientSession, attempt: _Attempt) -> str:
        async with session.ws_connect(f"{self.url}/ws") as websocket:
            attempt.sign(cast("_Websocket", websocket).headers)
            attempt.opened = True
            end = time.monotonic() + WEBSOCKET
            while time.monotonic() < end:
                await websocket.send_str("echo")
                message = await websocket.receive(timeout=DEADLINE)
                if message.type != aiohttp.WSMsgType.TEXT or message.data != "echo":
                    return f"ended early: {message.type.name}"
                await asyncio.sleep(ECHO_PAUSE)
            return ""


class _Websocket(aiohttp.ClientWebSocketResponse):
    """One that shows the header of the answer that opened it."""

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers


@dataclass
class _Attempt:
    """A request under way."""

    kind: str
    asked: float = field(default_factory=time.monotonic)
    opened: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def sign(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def answer(self, failed: str) -> Answer:
        began = self.headers.get("X-Time")
        return Answer(
            kind=self.kind,
            seconds=time.monotonic() - self.asked,
            ended=time.time(),
            began=float(began) if began else None,
            container=self.headers.get("X-Container", ""),
            version=self.headers.get("X-Version", ""),
            ready=self.headers.get("X-Gated") == "yes",
            failed=failed,
            cut=bool(failed) and self.opened,
        )
