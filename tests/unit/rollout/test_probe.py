# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks are asked over real connections, of servers that answer well, badly, or not at all."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import (
    Answer,
    ExecCheck,
    HttpCheck,
    TcpCheck,
)
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.engine import Execution
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import EngineError, EngineUnreachable
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.observe import Container
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Hook
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.probe import HostChecker

from . import samples

# A try that is to be waited out. Seconds.
SHORT = 0.3
OK = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[[socket.socket], None]


@dataclass
class Engine:
    """What the engine says of one container, and how a command in it ends."""

    found: list[Container | None]
    execution: Execution | EngineError = field(default_factory=lambda: Execution(0, ""))
    ran: list[tuple[Hook, float]] = field(default_factory=list)

    def inspect(self, container_id: str) -> Container | None:
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]

    def execute(self, container_id: str, command: Hook, timeout: float) -> Execution:
        self.ran.append((command, timeout))
        if isinstance(self.execution, EngineError):
            raise self.execution
        return self.execution


def checker(*found: Container | None, **how: Any) -> HostChecker:
    return HostChecker(Engine(list(found), **how))  # type: ignore[arg-type]


@contextmanager
def server(serve: Serve) -> Iterator[int]:
    """Let `serve` handle each connection to a port of 127.0.0.1; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _peer = listening.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        # Wakes the accept, which close alone does not.
        listening.shutdown(socket.SHUT_RDWR)


def reads(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        piece = connection.recv(4096)
        if not piece:
            break
        request += piece
    return request


def says(*pieces: bytes) -> Serve:
    """Give what answers each request with the same bytes, and closes."""

    def serve(connection: socket.socket) -> None:
        reads(connection)
        connection.sendall(b"".join(pieces))

    return serve


def listens(requests: list[bytes]) -> Serve:
    """Give what records each request and answers that all is well."""

    def serve(connection: socket.socket) -> None:
        requests.append(reads(connection))
        connection.sendall(OK + b"\r\n")

    return serve


def keeps_saying(*pieces: bytes) -> Serve:
    """Give what answers with the pieces, and then with a byte now and then for ever."""

    def serve(connection: socket.socket) -> None:
        reads(connection)
        connection.sendall(b"".join(pieces))
        while True:
            connection.sendall(b"x")
            time.sleep(SHORT / 10)

    return serve


def is_silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def front_door(serve: Serve, path: str = "/", **keys: Any) -> Answer:
    with server(serve) as port:
        return checker(None).of_front_door(HttpCheck(url=f"http://127.0.0.1:{port}{path}", **keys))


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_get_carries_its_own_headers_and_the_usual_ones() -> None:
    requests: list[bytes] = []
    with server(listens(requests)) as port:
        url = f"http://127.0.0.1:{port}/health?deep=1#part"
        answer = checker(None).of_front_door(HttpCheck(url=url, headers={"X-Key": "hunter22"}))
    assert answer == Answer(True, f"GET http://127.0.0.1:{port}/health?deep=[redacted]", "200 OK")
    line, *headers = requests[0].decode().strip().split("\r\n")
    assert line == "GET /health?deep=1 HTTP/1.1"
    assert {f"Host: 127.0.0.1:{port}", "Connection: close", "X-Key: hunter22"} <= set(headers)


@pytest.mark.parametrize("name", ["Host", "host"])
def test_a_host_header_of_the_check_s_own_is_the_only_one(name: str) -> None:
    requests: list[bytes] = []
    with server(listens(requests)) as port:
        checker(None).of_front_door(HttpCheck(url=f"http://127.0.0.1:{port}", headers={name: "shop.example"}))
    assert [line for line in requests[0].decode().split("\r\n") if line.lower().startswith("host:")] == [
        f"{name}: shop.example"
    ]


def test_the_user_in_a_url_is_sent_and_not_shown() -> None:
    requests: list[bytes] = []
    with server(listens(requests)) as port:
        answer = checker(None).of_front_door(HttpCheck(url=f"http://op:hunter%2022@127.0.0.1:{port}/"))
    assert answer.request == f"GET http://127.0.0.1:{port}/"
    # op:hunter 22
    assert b"\r\nAuthorization: Basic b3A6aHVudGVyIDIy\r\n" in requests[0]


@pytest.mark.parametrize(
    ("serve", "check", "passed", "words"),
    [
        (says(OK, b"\r\n"), {}, True, "200 OK"),
        (says(OK, b"Content-Length: 8\r\n\r\n", b'{"a": 1}'), {"json": {"a": 1}}, True, "200 OK"),
        (
            says(OK, b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n'),
            {"json": {"a": 1}},
            True,
            "200 OK",
        ),
        (
            says(OK, b"Content-Length: 9\r\n\r\n", b'{"a": 1'),
            {"json": {"a": 1}},
            False,
            '200 OK, but not in JSON: {"a": 1',
        ),
        (
            says(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b'{"status":"starting"}'),
            {},
            False,
            '503 Service Unavailable: {"status":"starting"}',
        ),
        (
            says(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"),
            {},
            False,
            "302 Found to /login",
        ),
        (says(b"+PONG\r\n"), {}, False, "what answers there does not speak HTTP"),
        (says(), {}, False, "the connection was closed without an answer"),
        (is_silent, {}, False, "timed out after 0.3 s"),
        (keeps_saying(b"HTTP/1.1 2"), {}, False, "timed out after 0.3 s"),
        (keeps_saying(OK, b"Content-Type: text/event-stream\r\n\r\n"), {}, True, "200 OK"),
        (keeps_saying(OK, b"\r\n"), {"json": {"a": 1}}, False, "timed out after 0.3 s"),
        (keeps_saying(b"HTTP/1.1 503 Not Yet\r\n\r\n"), {}, False, "503 Not Yet"),
    ],
)
def test_whatever_a_server_does_is_an_answer(serve: Serve, check: dict[str, Any], passed: bool, words: str) -> None:
    timeout = SHORT if "0.3 s" in words or words.endswith("Not Yet") else 5.0
    answer = front_door(serve, timeout=timeout, **check)
    assert (answer.passed, answer.answer) == (passed, words)


def test_a_port_that_nobody_listens_on_refuses(closed_port: int) -> None:
    asked = checker(None)
    assert asked.of_front_door(HttpCheck(url=f"http://127.0.0.1:{closed_port}/a")) == Answer(
        False, f"GET http://127.0.0.1:{closed_port}/a", "connection refused"
    )
    assert asked.of_front_door(TcpCheck(closed_port, host="127.0.0.1")) == Answer(
        False, f"tcp 127.0.0.1:{closed_port}", "connection refused"
    )


def test_a_connection_that_is_accepted_is_enough_for_tcp() -> None:
    with server(is_silent) as port:
        answer = checker(None).of_front_door(TcpCheck(port, host="localhost"))
    assert answer == Answer(True, f"tcp localhost:{port}", "connected")


@pytest.mark.parametrize("url", ["", "/health", "ftp://shop/", "http://[shop", "http://shop:99999/"])
def test_what_is_no_url_is_an_answer(url: str) -> None:
    answer = checker(None).of_front_door(HttpCheck(url=url))
    assert (answer.passed, answer.answer) == (False, "cannot be asked: that is no http or https URL")


def test_a_name_that_does_not_exist_is_an_answer() -> None:
    answer = checker(None).of_front_door(TcpCheck(80, host="shop.invalid", timeout=SHORT))
    assert not answer.passed
    assert answer.request == "tcp shop.invalid:80"


@pytest.mark.parametrize("headers", [{"X-Key": "hunter22\r\nX: y"}, {"X-Key": "hunter22\N{EURO SIGN}"}])
def test_headers_that_cannot_be_sent_are_an_answer_that_does_not_quote_them(headers: dict[str, str]) -> None:
    answer = front_door(says(OK, b"\r\n"), headers=headers)
    assert not answer.passed
    assert answer.answer.startswith("cannot be asked")
    assert "hunter" not in str(answer)


def test_a_command_is_no_question_to_the_front_door() -> None:
    answer = checker(None).of_front_door(ExecCheck(("true",)))
    assert answer == Answer(False, "exec true", "a command is asked of a container, not of the front door")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its self-signed certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "test.pem"
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def over_tls(certificate: Path, serve: Serve) -> Serve:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def wrapped(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            serve(secured)

    return wrapped


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_the_check_says_otherwise(certificate: Path) -> None:
    with server(over_tls(certificate, says(OK, b"\r\n"))) as port:
        url = f"https://127.0.0.1:{port}/"
        refused = checker(None).of_front_door(HttpCheck(url=url))
        taken = checker(None).of_front_door(HttpCheck(url=url, validate_certs=False))
    assert not refused.passed
    assert refused.answer.startswith("the certificate does not hold: self")
    assert taken == Answer(True, f"GET {url}", "200 OK")


def test_a_certificate_that_the_system_trusts_is_taken(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(over_tls(certificate, says(OK, b"\r\n"))) as port:
        trusted = checker(None).of_front_door(HttpCheck(url=f"https://127.0.0.1:{port}/"))
        other_name = checker(None).of_front_door(HttpCheck(url=f"https://localhost:{port}/"))
    assert trusted.answer == "200 OK"
    assert not other_name.passed
    assert "localhost" in other_name.answer


def test_https_of_what_speaks_no_tls_or_nothing_at_all_is_an_answer() -> None:
    with server(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        plain = checker(None).of_front_door(HttpCheck(url=f"https://127.0.0.1:{port}/", timeout=SHORT))
    with server(is_silent) as port:
        silent = checker(None).of_front_door(HttpCheck(url=f"https://127.0.0.1:{port}/", timeout=SHORT))
    assert not plain.passed
    assert silent.answer == "timed out after 0.3 s"


# Containers. None of these has a process on this host, so they are asked from the host itself.

HERE = samples.container(service="web", addresses=("127.0.0.1",), pid=0)


def test_a_container_whose_namespace_cannot_be_entered_is_asked_at_its_address() -> None:
    requests: list[bytes] = []
    with server(listens(requests)) as port:
        asked = checker(HERE)
        answers = [asked.of_container(check, HERE) for check in (HttpCheck(port, "/health"), TcpCheck(port))]
    assert answers == [
        Answer(True, f"GET http://127.0.0.1:{port}/health", "200 OK"),
        Answer(True, f"tcp 127.0.0.1:{port}", "connected"),
    ]
    assert b"\r\nHost: web\r\n" in requests[0]


@pytest.mark.parametrize("check", [HttpCheck(80), TcpCheck(80)])
def test_a_container_without_address_or_namespace_is_never_looked_for_on_the_host(check: HttpCheck | TcpCheck) -> None:
    with server(says(OK, b"\r\n")) as port:
        lost = samples.container(addresses=(), pid=0)
        answer = checker(lost).of_container(type(check)(port), lost)
    assert not answer.passed
    assert "takes root on the engine's host" in answer.answer


@pytest.mark.parametrize("check", [HttpCheck(80), TcpCheck(80), ExecCheck(("true",))])
@pytest.mark.parametrize("now", [None, samples.container("exited"), samples.container("restarting")])
def test_a_container_that_does_not_run_is_not_asked(
    check: HttpCheck | TcpCheck | ExecCheck, now: Container | None
) -> None:
    answer = checker(now).of_container(check, HERE)
    assert (answer.passed, answer.answer) == (False, "the container does not run")


def test_the_address_of_now_counts_not_the_one_of_before() -> None:
    before = samples.container(addresses=("192.0.2.1",), pid=0)
    with server(is_silent) as port:
        answer = checker(HERE).of_container(TcpCheck(port), before)
    assert answer.request == f"tcp 127.0.0.1:{port}"
    assert answer.passed


def test_a_command_is_run_by_the_engine_with_the_check_s_own_time() -> None:
    engine = Engine([HERE], Execution(2, "no response\n"))
    answer = HostChecker(engine).of_container(ExecCheck(("pg_isready", "-q"), timeout=7), HERE)  # type: ignore[arg-type]
    assert answer == Answer(False, "exec pg_isready -q", "exit code 2: no response")
    assert engine.ran == [(Hook(("pg_isready", "-q")), 7)]


def test_a_command_cut_off_by_its_container_s_end_is_an_answer() -> None:
    ended = checker(HERE, samples.container("exited"), execution=EngineError("is not running"))
    assert ended.of_container(ExecCheck(("true",)), HERE) == Answer(False, "exec true", "the container does not run")


@pytest.mark.parametrize("error", [EngineError("no space left"), EngineUnreachable("gone")])
def test_an_engine_that_fails_is_no_answer(error: EngineError) -> None:
    with pytest.raises(type(error), match=str(error)):
        checker(HERE, execution=error).of_container(ExecCheck(("true",)), HERE)
