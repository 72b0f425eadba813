# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of containers and of the front door, as they are written and as they are read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.check_spec import final_checks, parse_checks
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import (
    Check,
    ExecCheck,
    HttpCheck,
    TcpCheck,
)
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import Problems, SpecError


def read(*raw: Any) -> tuple[Check, ...]:
    problems = Problems()
    checks = parse_checks(list(raw), "checks", problems)
    problems.settle(SpecError)
    return checks


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"http": {"port": 80}}, HttpCheck(port=80)),
        (
            {
                "http": {
                    "port": 8283,
                    "path": "/v1/health/?deep=1",
                    "status": [200, 204],
                    "json": {"status": "ok"},
                    "headers": {"X-Key": "a b", "X-Level": 2},
                    "timeout": "500ms",
                }
            },
            HttpCheck(
                port=8283,
                path="/v1/health/?deep=1",
                status=(200, 204),
                json={"status": "ok"},
                headers={"X-Key": "a b", "X-Level": "2"},
                timeout=0.5,
            ),
        ),
        ({"http": {"port": 80, "status": 418}}, HttpCheck(port=80, status=(418,))),
        ({"tcp": {"port": 5432}}, TcpCheck(5432)),
        ({"tcp": {"port": 5432, "timeout": 2}}, TcpCheck(5432, timeout=2.0)),
        ({"exec": {"command": ["pg_isready"]}}, ExecCheck(("pg_isready",))),
        ({"exec": {"command": "test -e '/a b'", "timeout": "1m"}}, ExecCheck(("test", "-e", "/a b"), timeout=60.0)),
    ],
)
def test_a_check_of_a_container(written: dict[str, Any], meant: Check) -> None:
    assert read(written) == (meant,)


def test_no_checks_are_none() -> None:
    assert parse_checks(None, "checks", Problems()) == ()
    assert final_checks(None) == ()
    assert final_checks([]) == ()


def test_checks_keep_their_order() -> None:
    assert read({"tcp": {"port": 1}}, {"exec": {"command": "a"}}, {"tcp": {"port": 2}}) == (
        TcpCheck(1),
        ExecCheck(("a",)),
        TcpCheck(2),
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"http": {"url": "http://127.0.0.1:8283/"}}, HttpCheck(url="http://127.0.0.1:8283/")),
        (
            {"http": {"url": "https://[::1]/x", "status": 401, "json": [1], "headers": {"Host": "a"}, "timeout": 1}},
            HttpCheck(url="https://[::1]/x", status=(401,), json=[1], headers={"Host": "a"}, timeout=1.0),
        ),
        ({"tcp": {"host": "127.0.0.1", "port": 5432}}, TcpCheck(5432, host="127.0.0.1")),
    ],
)
def test_a_check_of_the_front_door(written: dict[str, Any], meant: Check) -> None:
    assert final_checks([written]) == (meant,)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("http", "checks[0]: must be a mapping with one key; allowed: http, tcp, exec"),
        ({}, "checks[0]: must be a mapping with one key; allowed: http, tcp, exec"),
        ({"http": {}, "tcp": {}}, "checks[0]: must be a mapping with one key; allowed: http, tcp, exec"),
        ({"grpc": {"port": 1}}, "checks[0]: must be a mapping with one key; allowed: http, tcp, exec"),
        ({"http": None}, "checks[0].http.port: missing"),
        ({"http": "/"}, "checks[0].http: must be a mapping with the keys port, path, status, json, headers, timeout"),
        ({"http": {"url": "http://a/"}}, "checks[0].http.url: unknown; allowed: port, path,"),
        ({"http": {"port": 0}}, "checks[0].http.port: 0; allowed: 1 to 65535"),
        ({"http": {"port": 65536}}, "checks[0].http.port: 65536; allowed: 1 to 65535"),
        ({"http": {"port": "80"}}, "checks[0].http.port: '80'; allowed: 1 to 65535"),
        ({"http": {"port": 80, "path": "health"}}, "checks[0].http.path: 'health'; allowed: a path that begins with /"),
        ({"http": {"port": 80, "path": "/a b"}}, "checks[0].http.path: '/a b'; allowed: a path that begins with /"),
        ({"http": {"port": 80, "path": "/a\r\nX: y"}}, "checks[0].http.path: "),
        ({"http": {"port": 80, "status": "200"}}, "checks[0].http.status: '200'; allowed: 100 to 599, or a list"),
        ({"http": {"port": 80, "status": []}}, "checks[0].http.status: []; allowed: 100 to 599, or a list"),
        ({"http": {"port": 80, "status": [200, 99]}}, "checks[0].http.status: [200, 99]; allowed: 100 to 599"),
        ({"http": {"port": 80, "timeout": 0}}, "checks[0].http.timeout: 0; allowed: more than 0s"),
        ({"tcp": {}}, "checks[0].tcp.port: missing"),
        ({"tcp": {"prot": 1}}, "checks[0].tcp.prot: unknown, perhaps port is meant; allowed: port, timeout"),
        ({"tcp": {"port": 1, "timeout": "x"}}, "checks[0].tcp.timeout: 'x' is no duration"),
        ({"exec": {}}, "checks[0].exec.command: must be a list of words, or text that is split into words"),
        ({"exec": {"command": []}}, "checks[0].exec.command: must be a list of words"),
        ({"exec": {"command": ["a", 1]}}, "checks[0].exec.command: must be a list of words"),
        ({"exec": {"command": "a 'b"}}, "checks[0].exec.command: cannot be split into words"),
    ],
)
def test_a_wrong_check_is_refused_by_its_place(written: Any, problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        read(written)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({"http": {}}, "final_checks[0].http.url: missing"),
        ({"http": {"url": "http://a/", "port": 80}}, "final_checks[0].http.port: unknown; allowed: url, status,"),
        (
            {"http": {"url": "127.0.0.1:80"}},
            "final_checks[0].http.url: is no URL; allowed: http:// or https://, a host",
        ),
        ({"http": {"url": "ftp://a/"}}, "final_checks[0].http.url: is no URL"),
        ({"http": {"url": "http:///x"}}, "final_checks[0].http.url: is no URL"),
        ({"http": {"url": "http://a:99999/"}}, "final_checks[0].http.url: is no URL"),
        ({"http": {"url": "http://[::1/"}}, "final_checks[0].http.url: is no URL"),
        ({"http": {"url": "http://a/ b"}}, "final_checks[0].http.url: is no URL"),
        ({"tcp": {"port": 80}}, "final_checks[0].tcp.host: missing"),
        ({"tcp": {"host": "a"}}, "final_checks[0].tcp.port: missing"),
        ({"exec": {"command": "a"}}, "final_checks[0]: must be a mapping with one key; allowed: http, tcp"),
    ],
)
def test_a_wrong_check_of_the_front_door_is_refused_by_its_place(written: Any, problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        final_checks([written])
    assert problem in str(refused.value)


def test_checks_are_a_list() -> None:
    with pytest.raises(SpecError, match="final_checks: must be a list of checks, each one of http, tcp"):
        final_checks({"tcp": {}})


def test_every_problem_is_told() -> None:
    with pytest.raises(SpecError) as refused:
        read({"http": {"status": 1, "timeout": "x"}}, {"tcp": {}}, {"pigeon": {}})
    assert str(refused.value) == (
        "checks[0].http.status: 1; allowed: 100 to 599, or a list of such; "
        "checks[0].http.timeout: 'x' is no duration; write it like 90s or 1m30s; "
        "checks[0].http.port: missing; "
        "checks[1].tcp.port: missing; "
        "checks[2]: must be a mapping with one key; allowed: http, tcp, exec"
    )


@pytest.mark.parametrize(
    "written",
    [
        {"http": {"port": 80, "headers": "Authorization: Bearer hunter2"}},
        {"http": {"port": 80, "headers": {"Authorization": ["hunter2"]}}},
        {"http": {"port": 80, "headers": {"Authorization": "hunter2\nX: y"}}},
        {"http": {"port": 80, "headers": {"": "hunter2"}}},
        {"exec": {"command": "psql 'hunter2"}},
        {"exec": {"command": ["psql", {"password": "hunter2"}]}},
    ],
)
def test_a_refusal_shows_no_header_and_no_command(written: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as refused:
        read(written)
    assert "hunter2" not in str(refused.value)


def test_a_refusal_shows_no_url() -> None:
    with pytest.raises(SpecError) as refused:
        final_checks([{"http": {"url": "https://me:hunter2@a b/"}}])
    assert "hunter2" not in str(refused.value)
