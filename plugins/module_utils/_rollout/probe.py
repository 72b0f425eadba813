# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask containers inside their network, and the front door from this host. Nothing is installed anywhere for it."""

from __future__ import annotations

import base64
import http.client
import os
import queue
import socket
import ssl
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Callable
from urllib.parse import SplitResult, unquote, urlsplit

from . import answers, host_processes
from .checks import Answer, Check, ExecCheck, HttpCheck, TcpCheck
from .engine import Engine
from .errors import EngineError, EngineUnreachable
from .observe import Container
from .policy import Hook

_LOOPBACK = "127.0.0.1"
_PORTS = {"http": 80, "https": 443}
_NOT_RUNNING = "the container does not run"
_NO_WAY_IN = (
    "cannot be asked: the container has no address of its own, and its network namespace cannot be entered from here; "
    "that takes root on the engine's host"
)


class HostChecker:
    """checks.Checker on the engine's host.

    Raises EngineError where the engine fails, and nothing else: what goes wrong between here and the one asked is an
    answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_container(self, check: Check, container: Container) -> Answer:
        """Ask at the address by which others reach it, so that one who listens on loopback alone fails.

        One without an address (network_mode none, host, service:x) is asked at 127.0.0.1 in its namespace.
        """
        # The caller's look may be older than a restart, which brings another process and another address.
        now = self._engine.inspect(container.id)
        request = _request(check, now or container)
        if now is None or now.status != "running":
            return Answer(False, request, _NOT_RUNNING)
        passed, answer = self._execute(check, now) if isinstance(check, ExecCheck) else _inside(check, now)
        return Answer(passed, request, answer)

    def of_front_door(self, check: Check) -> Answer:
        """Ask from this host, as a user would. A command has no front door, and fails."""
        if isinstance(check, ExecCheck):
            return Answer(
                False, answers.exec_request(check), "a command is asked of a container, not of the front door"
            )
        if isinstance(check, TcpCheck):
            place = _Place(check.host or _LOOPBACK, check.port)
            passed, answer = _try(_tcp, _Line(place, check.timeout))
            return Answer(passed, f"tcp {place}", answer)
        request = answers.get_request(check.url)
        try:
            url = urlsplit(check.url)
            place = _Place(url.hostname or "", url.port or _PORTS[url.scheme])
        except (ValueError, KeyError):
            return Answer(False, request, "cannot be asked: that is no http or https URL")
        target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        context = _tls(check) if url.scheme == "https" else None
        passed, answer = _try(_http(check, target, _usual_headers(url)), _Line(place, check.timeout, tls=context))
        return Answer(passed, request, answer)

    def _execute(self, check: ExecCheck, container: Container) -> tuple[bool, str]:
        try:
            execution = self._engine.execute(container.id, Hook(check.command), check.timeout)
        except EngineUnreachable:
            raise
        except EngineError:
            now = self._engine.inspect(container.id)
            if now is not None and now.status == "running":
                raise
            return False, _NOT_RUNNING
        return answers.of_execution(check, execution)


@dataclass(frozen=True)
class _Place:
    host: str
    port: int

    def __str__(self) -> str:
        return answers.address(self.host, self.port)


def _place(check: HttpCheck | TcpCheck, container: Container) -> _Place:
    return _Place(container.addresses[0] if container.addresses else _LOOPBACK, check.port)


def _request(check: Check, container: Container) -> str:
    if isinstance(check, ExecCheck):
        return answers.exec_request(check)
    place = _place(check, container)
    return f"tcp {place}" if isinstance(check, TcpCheck) else answers.get_request(f"http://{place}{check.path}")


def _inside(check: HttpCheck | TcpCheck, container: Container) -> tuple[bool, str]:
    namespace = host_processes.network(container.pid, container.id)
    if namespace is None and not container.addresses:
        return False, _NO_WAY_IN
    ask = _tcp if isinstance(check, TcpCheck) else _http(check, check.path, {"Host": container.service})
    return _try(ask, _Line(_place(check, container), check.timeout, namespace=namespace))


class _NoWayIn(OSError):
    """What has no address could not be entered either."""


@dataclass
class _Line:
    """The connection of one try. `namespace` is an open handle of the network namespace to connect in."""

    place: _Place
    timeout: float
    namespace: int | None = None
    tls: ssl.SSLContext | None = None
    # What is certain before the end: a wrong status, whose body is still awaited.
    known: tuple[bool, str] | None = None
    _socket: socket.socket | None = field(default=None, init=False)

    def connect(self) -> socket.socket:
        """Connect, in the calling thread, which stays in the namespace for good."""
        if self.namespace is not None:
            entered = host_processes.enter_network(self.namespace)
            if not entered and self.place.host == _LOOPBACK:
                # Here that would be this host's own.
                raise _NoWayIn(_NO_WAY_IN)
        self._socket = socket.create_connection((self.place.host, self.place.port), self.timeout)
        if self.tls is not None:
            self._socket = self.tls.wrap_socket(self._socket, server_hostname=self.place.host)
        return self._socket

    def hang_up(self) -> None:
        """End it from another thread, which then reads the end of the stream."""
        with suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


_Ask = Callable[[_Line], "tuple[bool, str]"]


def _try(ask: _Ask, line: _Line) -> tuple[bool, str]:
    """Ask once, and wait `line.timeout` seconds at most for all of it.

    In a thread of its own: it is threads that enter namespaces, and neither the lookup of a name nor an answer that
    comes byte by byte heeds the timeout of a socket.
    """
    answered: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer = ask(line)
        except _NoWayIn as error:
            answer = False, str(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer = line.known or (False, answers.of_error(error, line.timeout))
        finally:
            if line.namespace is not None:
                os.close(line.namespace)
        answered.put(answer)

    threading.Thread(target=run, daemon=True).start()
    try:
        return answered.get(timeout=line.timeout)
    except queue.Empty:
        line.hang_up()
        return line.known or (False, answers.timed_out(line.timeout))


def _tcp(line: _Line) -> tuple[bool, str]:
    line.connect().close()
    return True, "connected"


def _http(check: HttpCheck, target: str, usual: dict[str, str]) -> _Ask:
    """Give what GETs `target` once, with the headers that are usual there unless the check has its own."""
    own = {name.lower() for name in check.headers}
    headers = {name: value for name, value in usual.items() if name.lower() not in own}

    def ask(line: _Line) -> tuple[bool, str]:
        with closing(http.client.HTTPConnection(line.place.host, line.place.port)) as connection:
            connection.sock = line.connect()
            connection.request("GET", target, headers={"Connection": "close", **headers, **check.headers})
            response = connection.getresponse()
            reply = answers.Reply(response.status, response.reason, response.getheader("Location", ""))
            if answers.needs_body(check, reply.status):
                if reply.status not in check.status:
                    line.known = answers.of_http(check, reply)
                reply = replace(reply, body=response.read(answers.BODY_LIMIT + 1))
        return answers.of_http(check, reply)

    return ask


def _usual_headers(url: SplitResult) -> dict[str, str]:
    user, _at, host = url.netloc.rpartition("@")
    headers = {"Host": host}
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    return headers


def _tls(check: HttpCheck) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not check.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
