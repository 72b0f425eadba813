"""A web application that a rollout can lose requests of: slow to boot, with long answers, and bad on demand.

Environment:
  VERSION  what it calls itself; default 1
  BOOT     seconds that it answers 503 to everything after its start; default 3
  BREAK    crash: exits with code 1 instead of being ready. unhealthy: serves, but /health says 503 for ever.
           never: boots for ever. Empty, the default: none of them.

GET / names version and container, POST / gives the body back, /slow takes 2 seconds, /events?count=N sends N events of
0.2 seconds each (default 10), /ws is a websocket that echoes, /health is 200 once it is ready.

Each answer says in its header who gave it: X-Version, X-Container (its id's first 12 digits), X-Gated (yes once /health
says 200, so that no gate can have been passed before), X-Time (seconds since 1970, when the answer began).

On SIGTERM it is gone at once, with whatever it was serving.
"""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time

from aiohttp import WSMsgType, web

PORT = 8000
SLOW = 2.0
PAUSE = 0.2
BREAKS = ("", "crash", "unhealthy", "never")


class Application:
    """The application's handlers, and whether it is ready."""

    def __init__(self, version: str, boot: float, broken: str) -> None:
        self.version = version
        self.boot = boot
        self.broken = broken
        self.ready = False
        # The engine's default.
        self.container = socket.gethostname()

    async def start(self, _app: web.Application) -> None:
        """Begin to boot, beside the server that answers 503 meanwhile."""
        # Held, for the loop does not hold its tasks.
        self.booting = asyncio.create_task(self._boot())

    async def _boot(self) -> None:
        if self.broken == "never":
            return
        await asyncio.sleep(self.boot)
        if self.broken == "crash":
            print("web: this version is broken on purpose", flush=True)
            os._exit(1)
        self.ready = True

    async def sign(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Say in the answer's header who gave it, before the first byte of it leaves."""
        response.headers["X-Version"] = self.version
        response.headers["X-Container"] = self.container
        response.headers["X-Gated"] = "yes" if self.healthy else "no"
        response.headers["X-Time"] = f"{time.time():.6f}"

    @property
    def healthy(self) -> bool:
        return self.ready and self.broken != "unhealthy"

    @web.middleware
    async def refuse_while_booting(self, request: web.Request, handler) -> web.StreamResponse:
        if self.ready:
            return await handler(request)
        return web.Response(status=503, text="booting\n")

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503, text="ok\n" if self.healthy else "unhealthy\n")

    async def index(self, _request: web.Request) -> web.Response:
        return web.Response(text=f"{self.version} {self.container}\n")

    async def echo(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def slow(self, _request: web.Request) -> web.Response:
        await asyncio.sleep(SLOW)
        return web.Response(text=f"{self.version} {self.container}\n")

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        for number in range(int(request.query.get("count", "10"))):
            await response.write(f"data: {number}\n\n".encode())
            await asyncio.sleep(PAUSE)
        await response.write(b"data: end\n\n")
        return response

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        async for message in socket_:
            if message.type == WSMsgType.TEXT:
                await socket_.send_str(message.data)
        return socket_


def application() -> web.Application:
    """Give the application that the environment asks for."""
    broken = os.environ.get("BREAK", "")
    if broken not in BREAKS:
        raise SystemExit(f"BREAK is {broken!r}; allowed are {', '.join(filter(None, BREAKS))}, or nothing")
    served = Application(os.environ.get("VERSION", "1"), float(os.environ.get("BOOT", "3")), broken)
    app = web.Application(middlewares=[served.refuse_while_booting])
    app.on_startup.append(served.start)
    app.on_response_prepare.append(served.sign)
    app.router.add_get("/", served.index)
    app.router.add_post("/", served.echo)
    app.router.add_get("/slow", served.slow)
    app.router.add_get("/events", served.events)
    app.router.add_get("/ws", served.websocket)
    app.router.add_get("/health", served.health)
    return app


async def main() -> None:
    """Serve until SIGTERM."""
    # Process 1 of a container has no default action for it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 143)
    # Longer than nginx keeps an idle connection, so that it never closes one that nginx is about to use.
    runner = web.AppRunner(application(), access_log=None, keepalive_timeout=120)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", PORT).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
