# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the checks of x-rollout and of the argument final_checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .checks import Check, ExecCheck, HttpCheck, TcpCheck
from .errors import Problems, SpecError
from .fields import Fields, is_whole

_OF_AN_ANSWER = ("status", "json", "headers", "timeout")
_HTTP = ("port", "path", *_OF_AN_ANSWER)
_FRONT_DOOR_HTTP = ("url", *_OF_AN_ANSWER, "validate_certs")
_TIMEOUT, _EXEC_TIMEOUT = 5.0, 30.0


def parse_checks(raw: Any, where: str, problems: Problems) -> tuple[Check, ...]:
    """Read the checks of a container: http and tcp at a port of it, exec in it."""
    checks: list[Check | None] = []
    for kind, value, at in _kinds(raw, where, ("http", "tcp", "exec"), problems):
        if kind == "http":
            checks.append(_http(Fields(value, at, _HTTP, problems)))
        elif kind == "tcp":
            checks.append(_tcp(Fields(value, at, ("port", "timeout"), problems)))
        else:
            checks.append(_exec(Fields(value, at, ("command", "timeout"), problems)))
    return tuple(check for check in checks if check is not None)


def final_checks(raw: Any) -> tuple[Check, ...]:
    """Read the module argument final_checks: http at a url, tcp at a host and port.

    Raises SpecError with all that is wrong with it.
    """
    problems = Problems()
    checks: list[Check | None] = []
    for kind, value, at in _kinds(raw, "final_checks", ("http", "tcp"), problems):
        if kind == "http":
            checks.append(_front_door_http(Fields(value, at, _FRONT_DOOR_HTTP, problems)))
        else:
            checks.append(_front_door_tcp(Fields(value, at, ("host", "port", "timeout"), problems)))
    problems.settle(SpecError)
    return tuple(check for check in checks if check is not None)


def _kinds(raw: Any, where: str, kinds: tuple[str, ...], problems: Problems) -> Iterator[tuple[str, Any, str]]:
    """Give kind, what is asked, and the path of each check."""
    if raw is None:
        return
    if not isinstance(raw, list):
        problems.add(f"{where}: must be a list of checks, each one of {', '.join(kinds)}")
        return
    for number, check in enumerate(raw):
        (kind, *others) = check if isinstance(check, Mapping) and check else (None,)
        if kind in kinds and not others:
            yield str(kind), check[kind], f"{where}[{number}].{kind}"
        else:
            problems.add(f"{where}[{number}]: must be a mapping with one key; allowed: {', '.join(kinds)}")


def _http(fields: Fields) -> HttpCheck | None:
    port, path = fields.port("port"), fields.text("path") or "/"
    if not path.startswith("/") or not _is_one_word(path):
        fields.refuse("path", "a path that begins with / and has no spaces")
    answer = _answer(fields)
    return HttpCheck(port=port, path=path, **answer) if fields.require("port") and port is not None else None


def _front_door_http(fields: Fields) -> HttpCheck | None:
    url = fields.text("url")
    if url is not None and not _is_url(url):
        # Not shown: it may hold a password.
        fields.problems.add(f"{fields.where}.url: is no URL; allowed: http:// or https://, a host, a path")
    answer, unverified = _answer(fields), fields.flag("validate_certs") is False
    if not fields.require("url") or url is None:
        return None
    return HttpCheck(url=url, validate_certs=not unverified, **answer)


def _answer(fields: Fields) -> dict[str, Any]:
    return {
        "status": _status(fields),
        "json": fields.value("json"),
        "headers": _headers(fields),
        "timeout": fields.seconds("timeout", positive=True) or _TIMEOUT,
    }


def _status(fields: Fields) -> tuple[int, ...]:
    value = fields.value("status")
    if value is None:
        return (200,)
    codes = value if isinstance(value, list) else [value]
    if codes and all(is_whole(code) and 100 <= code <= 599 for code in codes):
        return tuple(codes)
    fields.refuse("status", "100 to 599, or a list of such")
    return (200,)


def _headers(fields: Fields) -> dict[str, str]:
    value = fields.value("headers")
    if value is None:
        return {}
    if isinstance(value, Mapping):
        headers = {str(name): str(content) for name, content in value.items() if isinstance(content, (str, int))}
        lines = [line for header in headers.items() for line in header]
        if len(headers) == len(value) and all(headers) and all(line.isprintable() for line in lines):
            return headers
    # Not shown: it may hold a token.
    fields.problems.add(f"{fields.where}.headers: must be a mapping of names to text of one line")
    return {}


def _tcp(fields: Fields) -> TcpCheck | None:
    port, timeout = fields.port("port"), fields.seconds("timeout", positive=True)
    return TcpCheck(port, timeout=timeout or _TIMEOUT) if fields.require("port") and port is not None else None


def _front_door_tcp(fields: Fields) -> TcpCheck | None:
    host, port, timeout = fields.text("host"), fields.port("port"), fields.seconds("timeout", positive=True)
    if not fields.require("host", "port") or host is None or port is None:
        return None
    return TcpCheck(port, host=host, timeout=timeout or _TIMEOUT)


def _exec(fields: Fields) -> ExecCheck:
    return ExecCheck(fields.argv("command"), timeout=fields.seconds("timeout", positive=True) or _EXEC_TIMEOUT)


def _is_one_word(text: str) -> bool:
    return text.isprintable() and " " not in text


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and _is_one_word(text)
    except ValueError:
        return False
