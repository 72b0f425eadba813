# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an answer passes a check, and what an operator reads of it."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import answers
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.answers import Reply
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import ExecCheck, HttpCheck
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.engine import Execution

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.0, 1.0, 0.5]) | st.text("ab1", max_size=2)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
STARTING = b'{"status":"starting"}'


@pytest.mark.parametrize(
    ("check", "reply", "passed", "words"),
    [
        (HttpCheck(80), Reply(200, "OK"), True, "200 OK"),
        (HttpCheck(80), Reply(204, "No Content"), False, "204 No Content"),
        (HttpCheck(80, status=(200, 204)), Reply(204, "No Content"), True, "204 No Content"),
        (HttpCheck(80, status=(503,)), Reply(503, ""), True, "503"),
        (
            HttpCheck(80),
            Reply(503, "Service Unavailable", body=STARTING),
            False,
            '503 Service Unavailable: {"status":"starting"}',
        ),
        (HttpCheck(80), Reply(302, "Found", "/login"), False, "302 Found to /login"),
        (HttpCheck(80), Reply(500, "Oh", body=b"two\nlines\x1b[31m\r\n"), False, "500 Oh: two lines [31m"),
        (HttpCheck(80), Reply(500, "Oh", body=b"x" * 201), False, f"500 Oh: {'x' * 200}..."),
        (HttpCheck(80), Reply(500, "Oh", body=b"\xff"), False, "500 Oh: \N{REPLACEMENT CHARACTER}"),
        (HttpCheck(80, json={"status": "ok"}), Reply(200, "OK", body=b'{"status": "ok", "more": 1}'), True, "200 OK"),
        (
            HttpCheck(80, json={"status": "ok"}),
            Reply(200, "OK", body=STARTING),
            False,
            '200 OK, but without {"status": "ok"}: {"status":"starting"}',
        ),
        (
            HttpCheck(80, json={"a": 1}),
            Reply(200, "OK", body=b"<p>up</p>"),
            False,
            "200 OK, but not in JSON: <p>up</p>",
        ),
        (HttpCheck(80, json={"a": 1}), Reply(200, "OK"), False, "200 OK, but its body is empty"),
        (
            HttpCheck(80, json={"a": 1}),
            Reply(200, "OK", body=b"[" * 60_000),
            False,
            f"200 OK, but not in JSON: {'[' * 200}...",
        ),
        (
            HttpCheck(80, json={"a": 1}),
            Reply(200, "OK", body=b'{"a": 1}' + b" " * answers.BODY_LIMIT),
            False,
            '200 OK, but its body is longer than 64 KiB: {"a": 1}',
        ),
        (HttpCheck(80, json=[1]), Reply(404, "Not Found", body=b"[1]"), False, "404 Not Found: [1]"),
        (HttpCheck(80, json=False), Reply(200, "OK", body=b"false"), True, "200 OK"),
        (HttpCheck(80, json=False), Reply(200, "OK", body=b"0"), False, "200 OK, but without false: 0"),
    ],
)
def test_an_http_answer_passes_by_status_and_json(check: HttpCheck, reply: Reply, passed: bool, words: str) -> None:
    assert answers.of_http(check, reply) == (passed, words)


@pytest.mark.parametrize(
    ("check", "status", "needed"),
    [
        (HttpCheck(80), 200, False),
        (HttpCheck(80), 500, True),
        (HttpCheck(80, json={}), 200, True),
    ],
)
def test_a_body_is_read_only_where_it_decides_or_explains(check: HttpCheck, status: int, needed: bool) -> None:
    assert answers.needs_body(check, status) is needed


@pytest.mark.parametrize(
    ("found", "wanted", "holds"),
    [
        ({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1}}, True),
        ({"a": {"c": 2}}, {"a": {"b": 1}}, False),
        ({"a": 1}, {"a": {"b": 1}}, False),
        ([{"a": 1}], {"a": 1}, False),
        ([1, 2], [1], False),
        ([1, 2], [2, 1], False),
        ([{"a": 1, "b": 2}], [{"a": 1}], False),
        ([{"a": True}], [{"a": 1}], False),
        (1, True, False),
        (False, 0, False),
        (1.0, 1, True),
        (None, False, False),
        ("1", 1, False),
        ({}, {}, True),
        (None, {}, False),
    ],
)
def test_a_mapping_may_hold_more_and_all_else_is_equal(found: Any, wanted: Any, holds: bool) -> None:
    assert answers.holds(found, wanted) is holds


@given(JSON)
def test_every_value_holds_itself_however_it_is_spelt(value: Any) -> None:
    assert answers.holds(json.loads(json.dumps(value, indent=1)), value)


@given(st.dictionaries(st.text("ab", max_size=2), JSON, max_size=3), st.text("cd", min_size=1), JSON)
def test_a_key_more_in_the_answer_changes_nothing(value: dict[str, Any], key: str, more: Any) -> None:
    assert answers.holds({**value, key: more}, value)
    assert answers.holds({"in": {**value, key: more}}, {"in": value})


@given(st.dictionaries(st.text("ab", max_size=2), JSON, max_size=3), st.text("cd", min_size=1), JSON)
def test_a_key_more_that_is_wanted_is_missed(value: dict[str, Any], key: str, more: Any) -> None:
    assert not answers.holds(value, {**value, key: more})


@pytest.mark.parametrize(
    ("execution", "passed", "words"),
    [
        (Execution(0, "accepting connections\n"), True, "exit code 0"),
        (Execution(2, "no response\n"), False, "exit code 2: no response"),
        (Execution(1, ""), False, "exit code 1"),
        (Execution(None, ""), False, "timed out after 30 s"),
        (Execution(None, "trying\n"), False, "timed out after 30 s: trying"),
        (Execution(1, "first " + "x" * 198 + "\nlast"), False, f"exit code 1: ...{'x' * 195} last"),
    ],
)
def test_a_command_passes_by_its_exit_code(execution: Execution, passed: bool, words: str) -> None:
    assert answers.of_execution(ExecCheck(("pg_isready",)), execution) == (passed, words)


def _refused_certificate() -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)), "connection refused"),
        (OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH)), "no route to host"),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (socket.timeout("timed out"), "timed out after 2.5 s"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "timed out after 2.5 s"),
        (http.client.RemoteDisconnected("Remote end closed"), "the connection was closed without an answer"),
        (http.client.BadStatusLine("+PONG"), "what answers there does not speak HTTP"),
        (_refused_certificate(), "the certificate does not hold: self-signed certificate"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), "TLS failed: [SSL: WRONG_VERSION_NUMBER] wrong"),
        (OSError(), "the connection failed"),
    ],
)
def test_what_keeps_an_answer_from_coming_has_words(error: Exception, words: str) -> None:
    assert answers.of_error(error, 2.5) == words


@pytest.mark.parametrize(
    "error",
    [ValueError("Invalid header value b'Bearer tok\\nen'"), http.client.InvalidURL("URL can't contain tok en")],
)
def test_a_request_that_cannot_be_sent_is_not_quoted(error: Exception) -> None:
    words = answers.of_error(error, 5)
    assert words.startswith("cannot be asked")
    assert "tok" not in words


@pytest.mark.parametrize(
    ("url", "request_"),
    [
        ("http://172.18.0.3:8283/v1/health/", "GET http://172.18.0.3:8283/v1/health/"),
        ("http://[fd00::3]:80/", "GET http://[fd00::3]:80/"),
        ("https://op:hunter22@shop.example/a?b", "GET https://shop.example/a?b"),
        ("http://shop/?token=hunter22&deep=1#part", "GET http://shop/?token=[redacted]&deep=[redacted]"),
        ("http://[shop", "GET of what is no URL"),
    ],
)
def test_a_request_shows_where_it_went_and_no_secret(url: str, request_: str) -> None:
    assert answers.get_request(url) == request_


def test_a_command_is_shown_as_a_shell_would_take_it_without_the_password_in_its_url() -> None:
    check = ExecCheck(("psql", "postgresql://letta:hunter22@db/letta", "-c", "select 1"))
    assert answers.exec_request(check) == "exec psql postgresql://letta:[redacted]@db/letta -c 'select 1'"


@pytest.mark.parametrize(
    "check",
    [
        HttpCheck(80, headers={"X-Key": "hunter22-and-more"}),
        HttpCheck(80, headers={"Authorization": "Bearer hunter22-and-more"}),
        HttpCheck(80, path="/health?key=hunter22-and-more&x=1"),
        HttpCheck(80, path="/health?key=hunter22%2Dand%2Dmore"),
        HttpCheck(url="https://op:hunter22-and-more@shop/"),
        HttpCheck(url="https://op:hunter22%2Dand%2Dmore@shop/"),
    ],
)
@pytest.mark.parametrize("where", ["reason", "location", "body"])
def test_a_server_that_quotes_the_request_does_not_bring_its_secrets_into_the_answer(
    check: HttpCheck, where: str
) -> None:
    said = "no hunter22-and-more here"
    reply = Reply(400, **{where: said.encode() if where == "body" else said})  # type: ignore[arg-type]
    assert "no [redacted] here" in answers.of_http(check, reply)[1]


@given(st.integers(150, 210))
def test_the_cut_leaves_no_part_of_a_secret(before: int) -> None:
    check = HttpCheck(80, headers={"X-Key": "s3cr3t-s3cr3t"})
    _passed, words = answers.of_http(check, Reply(400, body=b"." * before + b"s3cr3t-s3cr3t"))
    assert "s3" not in words


@pytest.mark.parametrize(
    ("host", "shown"), [("172.18.0.3", "172.18.0.3:80"), ("fd00::3", "[fd00::3]:80"), ("shop", "shop:80")]
)
def test_an_address_is_shown_as_in_a_url(host: str, shown: str) -> None:
    assert answers.address(host, 80) == shown
