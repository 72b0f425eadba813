# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load of the benches counts what goes wrong and nothing else: against real servers in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.bench.load import CLIENTS, Answer, Load

WEB = Path(__file__).resolve().parents[3] / "tests" / "hosts" / "images" / "web" / "web.py"


@pytest.fixture
def application(monkeypatch):
    """The application of the test's image, ready at once."""
    monkeypatch.setenv("BOOT", "0")
    monkeypatch.setenv("VERSION", "7")
    spec = importlib.util.spec_from_file_location("web_under_test", WEB)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.application()


def answers_of(app: web.Application, seconds: float) -> list[Answer]:
    async def run() -> list[Answer]:
        stop = asyncio.Event()
        async with TestServer(app) as server:
            load = Load(str(server.make_url("")).rstrip("/"))
            clients = asyncio.create_task(load.run(stop))
            await asyncio.sleep(seconds)
            stop.set()
            await clients
        return load.answers

    return asyncio.run(run())


def test_a_server_that_serves_loses_nothing(application):
    answers = answers_of(application, 0.3)
    assert {answer.kind for answer in answers} == set(CLIENTS)
    assert [answer for answer in answers if answer.failed or answer.cut] == []
    assert {(answer.version, answer.ready) for answer in answers} == {("7", True)}
    assert all(answer.began <= answer.ended <= time.time() for answer in answers)


def broken() -> web.Application:
    async def cut_stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: 0\n\n")
        return response

    async def cut_websocket(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        await response.receive()
        await response.close()
        return response

    async def booting(request: web.Request) -> web.Response:
        return web.Response(status=503, headers={"X-Gated": "no", "X-Container": "c1", "X-Time": str(time.time())})

    app = web.Application()
    app.router.add_get("/events", cut_stream)
    app.router.add_get("/ws", cut_websocket)
    app.router.add_route("*", "/{any:.*}", booting)
    return app


def test_what_breaks_off_is_cut_and_what_is_refused_has_failed():
    answers = answers_of(broken(), 0.2)
    assert all(answer.failed for answer in answers)
    cut = Counter(answer.kind for answer in answers if answer.cut)
    assert set(cut) == {"SSE", "websocket"}
    refused = [answer for answer in answers if answer.kind in ("GET", "POST", "slow")]
    assert {(each.failed, each.ready, each.container) for each in refused} == {("status 503", False, "c1")}


def test_a_server_that_is_not_there_fails_every_request():
    async def run() -> list[Answer]:
        stop = asyncio.Event()
        # Nothing listens on port 9 of this machine.
        load = Load("http://127.0.0.1:9")
        clients = asyncio.create_task(load.run(stop))
        await asyncio.sleep(0.1)
        stop.set()
        await clients
        return load.answers

    answers = asyncio.run(run())
    assert {answer.kind for answer in answers} == set(CLIENTS)
    assert all(answer.failed and not answer.cut and answer.began is None for answer in answers)
