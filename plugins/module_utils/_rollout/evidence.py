# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator needs to know of a failure, with secrets taken out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from .checks import Answer
from .observe import Container

Redact = Callable[[str], str]

_SECRET_WORDS = ("PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "DSN")
# Shorter values ("1", "true") would blacken half of every log and hide nothing.
_SHORTEST_SECRET = 6
_REDACTED = "[redacted]"
_URL_PASSWORD = re.compile(r"://[^/:@\s]*:([^/@\s]+)@")


@dataclass(frozen=True)
class Failure:
    """Why a rollout stopped.

    `reason` is one of pull, build, create, exited, restarting, oom, unhealthy, timeout, check, hook, proxy, commit,
    interrupted. `check` holds what the last failing check asked, and what came back.
    """

    service: str
    container: str
    reason: str
    detail: str
    exit_code: int | None = None
    restart_count: int | None = None
    health_log: tuple[dict[str, Any], ...] = ()
    logs: tuple[str, ...] = ()
    check: dict[str, str] | None = None

    def sentence(self) -> str:
        """One line that says which container and why, ending in its last words."""
        who = ": ".join(name for name in (self.service, self.container) if name)
        lead = f"{who} " if self.container else f"{who}: " if who else ""
        return f"{lead}{self.detail}{self._last_words()}"

    def _last_words(self) -> str:
        if self.reason in ("unhealthy", "timeout") and self.health_log:
            probe = self.health_log[-1]
            words = str(probe["output"]).strip().splitlines()
            return f" (last health probe: exit code {probe['exit_code']}{', ' + words[-1][:200] if words else ''})"
        if self.reason in ("check", "hook", "proxy"):
            return ""
        words = [line.strip() for line in self.logs if line.strip()]
        return f" (last line of its log: {words[-1][:200]})" if words else ""


class Halt(Exception):
    """Ends the way forward."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence())
        self.failure = failure


def of_container(
    container: Container,
    reason: str,
    detail: str,
    logs: Sequence[str],
    redact: Redact,
    answer: Answer | None = None,
) -> Failure:
    """Gather what one failed container left."""
    return Failure(
        service=container.service,
        container=container.name,
        reason=reason,
        detail=redact(detail),
        exit_code=None if container.running else container.exit_code,
        restart_count=container.restart_count,
        health_log=tuple(
            {"start": probe.start, "exit_code": probe.exit_code, "output": redact(probe.output)}
            for probe in container.probes
        ),
        logs=tuple(redact(line) for line in logs),
        check=None if answer is None else of_answer(answer, redact),
    )


def of_answer(answer: Answer, redact: Redact) -> dict[str, str]:
    """Give what a failing check asked and what came back."""
    return {"request": redact(answer.request), "answer": redact(answer.answer)}


def redactor(secrets: Iterable[str]) -> Redact:
    """Give a function that replaces each secret value in a text.

    A key of several lines is taken out line by line, as logs are read. Longer values go first: one may contain another.
    """
    lines = {line.strip() for secret in secrets for line in secret.splitlines()}
    known = sorted((line for line in lines if len(line) >= _SHORTEST_SECRET), key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, _REDACTED)
        return text

    return redact


def secret_values(environment: Iterable[str]) -> list[str]:
    """Give the values of `NAME=value` pairs whose names say that they are secret, and the passwords in URLs."""
    values = []
    for pair in environment:
        name, _equals, value = pair.partition("=")
        if any(word in name.upper() for word in _SECRET_WORDS):
            values.append(value)
        values += _URL_PASSWORD.findall(value)
    return values
