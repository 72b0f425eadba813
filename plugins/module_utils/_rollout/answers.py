# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came back of a check: whether it passes, and how that is told in one line. Pure."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from .checks import ExecCheck, HttpCheck
from .engine import Execution
from .evidence import redactor

# What is read of a body, in bytes; one byte more says that there is more.
BODY_LIMIT = 2**16
# What is told of a body or an output, in characters.
_TOLD = 200
_CREDENTIALS = re.compile(r"://([^/?#]*)@")
_PASSWORD = re.compile(r"(://[^/:@\s]*:)[^/@\s]+@")
_QUERY_VALUE = re.compile(r"=([^&]+)")
_UNPRINTABLE = re.compile(r"[^\S ]|[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Reply:
    """What an HTTP server answered. `body` is empty where nobody asked for it, and at most BODY_LIMIT + 1 bytes."""

    status: int
    reason: str = ""
    location: str = ""
    body: bytes = b""

    @property
    def line(self) -> str:
        """The status as HTTP words it, and where a redirect leads."""
        return " ".join(filter(None, (str(self.status), self.reason, self.location and f"to {self.location}")))


def needs_body(check: HttpCheck, status: int) -> bool:
    """Say whether the body decides, or tells why the check fails. A stream of events never ends, so else it is left."""
    return check.json is not None or status not in check.status


def of_http(check: HttpCheck, reply: Reply) -> tuple[bool, str]:
    """Give whether an HTTP answer passes, and its words."""
    hide = redactor(_secrets(check))
    body = _told(hide(_line(reply.body.decode("utf-8", "replace"))))
    line = _told(hide(_line(reply.line)))
    if reply.status not in check.status:
        return False, f"{line}: {body}" if body else line
    if check.json is None:
        return True, line
    wanted = hide(json.dumps(check.json))
    if len(reply.body) > BODY_LIMIT:
        return False, f"{line}, but its body is longer than {BODY_LIMIT // 1024} KiB: {body}"
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return False, f"{line}, but not in JSON: {body}" if body else f"{line}, but its body is empty"
    if not holds(found, check.json):
        return False, f"{line}, but without {wanted}: {body}"
    return True, line


def holds(found: Any, wanted: Any) -> bool:
    """Say whether a JSON value contains another: a mapping each wanted key, to any depth; all else has to be equal."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and holds(found[key], wanted[key]) for key in wanted)
    return _equal(found, wanted)


def _equal(found: Any, wanted: Any) -> bool:
    """Compare as JSON does, where true is not 1."""
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_equal(one, other) for one, other in zip(found, wanted))
        )
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and found.keys() == wanted.keys()
            and all(_equal(found[k], wanted[k]) for k in wanted)
        )
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def of_execution(check: ExecCheck, execution: Execution) -> tuple[bool, str]:
    """Give whether a command passes, and its words. Its last words say more than its first."""
    output = _line(execution.output)
    output = f"...{output[-_TOLD:]}" if len(output) > _TOLD else output
    ended = timed_out(check.timeout) if execution.exit_code is None else f"exit code {execution.exit_code}"
    if execution.exit_code == 0:
        return True, ended
    return False, f"{ended}: {output}" if output else ended


def of_error(error: Exception, timeout: float) -> str:
    """Give the words for what kept an answer from coming. None of them quotes the request, or what was read."""
    if isinstance(error, (TimeoutError, socket.timeout)):
        return timed_out(timeout)
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.strerror or error}"
    if isinstance(error, http.client.InvalidURL) or not isinstance(error, (OSError, http.client.HTTPException)):
        return "cannot be asked: the URL, the path or a header holds what HTTP does not allow there"
    if isinstance(error, http.client.HTTPException):
        return "what answers there does not speak HTTP"
    words = error.strerror or str(error) or "the connection failed"
    return words[:1].lower() + words[1:]


def timed_out(timeout: float) -> str:
    """Give the words for an answer that did not come in time. Seconds."""
    return f"timed out after {timeout:g} s"


def get_request(url: str) -> str:
    """Give the words for a GET, without the password and the query's values that the URL may hold."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "GET of what is no URL"
    shown = parts._replace(
        netloc=parts.netloc.rpartition("@")[2], query=_QUERY_VALUE.sub("=[redacted]", parts.query), fragment=""
    )
    return f"GET {_line(shown.geturl())}"


def exec_request(check: ExecCheck) -> str:
    """Give the words for a command in a container, without the passwords in its URLs."""
    shown = _PASSWORD.sub(r"\1[redacted]@", _line(shlex.join(check.command)))
    return f"exec {shown}"


def address(host: str, port: int) -> str:
    """Give host and port as a URL has them; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _secrets(check: HttpCheck) -> list[str]:
    """Give what a server must not bring into the answer by quoting the request: header values, also word by word."""
    values = list(check.headers.values())
    for value in check.headers.values():
        # "Bearer abc": a server quotes the second alone, and the first is no secret.
        values += value.split()[1:]
    user = _CREDENTIALS.search(check.url)
    values += user[1].split(":", 1)[1:] if user else []
    values += _QUERY_VALUE.findall(f"{check.url.partition('?')[2]}&{check.path.partition('?')[2]}")
    return [spelling for value in values for spelling in (value, _line(value), unquote_plus(value))]


def _line(text: str) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def _told(text: str) -> str:
    return f"{text[:_TOLD]}..." if len(text) > _TOLD else text
