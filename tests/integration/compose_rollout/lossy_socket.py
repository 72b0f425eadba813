# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A way to the engine that passes everything on but its events."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import docker

# How long an event stream lives that is to be cut. Seconds.
_LIFE = 0.3


class LossySocket:
    """A Unix socket in front of the engine's.

    `manner`: of an event stream, deaf passes the answer's head on and nothing after it; cut ends it after a moment,
    again and again.
    """

    def __init__(self, path: Path, manner: str) -> None:
        self.address = f"unix://{path}"
        self.streams = 0
        self._manner = manner
        self._engine = docker.utils.parse_host(docker.utils.kwargs_from_env().get("base_url")).partition("://")[2]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def __enter__(self) -> LossySocket:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self._engine)
            Relay(self, self._manner, client, engine).start()


class Relay:
    """One connection, both ways."""

    def __init__(self, owner: LossySocket, manner: str, client: socket.socket, engine: socket.socket) -> None:
        self._owner = owner
        self._manner = manner
        self._client = client
        self._engine = engine
        self._streams = False

    def start(self) -> None:
        for way in (self._ask, self._answer):
            threading.Thread(target=way, daemon=True).start()

    def _ask(self) -> None:
        for piece in _pieces(self._client):
            request = piece.partition(b"\r\n")[0]
            if request.startswith(b"GET ") and b"/events" in request:
                self._streams = True
                self._owner.streams += 1
                if self._manner == "cut":
                    threading.Timer(_LIFE, self._end).start()
            self._engine.sendall(piece)
        _end(self._engine)

    def _answer(self) -> None:
        for piece in _pieces(self._engine):
            if self._streams and self._manner == "deaf" and not piece.startswith(b"HTTP/"):
                continue
            try:
                self._client.sendall(piece)
            except OSError:
                break
        _end(self._client)

    def _end(self) -> None:
        _end(self._client)
        _end(self._engine)


def _pieces(source: socket.socket):
    while True:
        try:
            piece = source.recv(65536)
        except OSError:
            return
        if not piece:
            return
        yield piece


def _end(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        end.close()
