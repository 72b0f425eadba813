# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a container, or the front door, has to answer: http, tcp and exec checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Union

from .observe import Container


@dataclass(frozen=True)
class HttpCheck:
    """A GET has to give `status`; where asked for, a JSON body that holds `json`. Timeout of one try in seconds.

    A container is asked at `port`; the front door at `url`, whose certificate has to hold unless `validate_certs` is
    false. Redirects are not followed.
    """

    port: int = 0
    path: str = "/"
    url: str = ""
    status: tuple[int, ...] = (200,)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 5.0
    validate_certs: bool = True


@dataclass(frozen=True)
class TcpCheck:
    """A connection has to be accepted: by a container at `port`, by the front door at `host` and `port`."""

    port: int
    host: str = ""
    timeout: float = 5.0


@dataclass(frozen=True)
class ExecCheck:
    """A command in the container has to exit with 0."""

    command: tuple[str, ...]
    timeout: float = 30.0


Check = Union[HttpCheck, TcpCheck, ExecCheck]


@dataclass(frozen=True)
class Answer:
    """What one try gave: whether it passed, what was asked, and what came back, in words."""

    passed: bool
    request: str
    answer: str


class Checker(Protocol):
    """Tries a check once."""

    def of_container(self, check: Check, container: Container) -> Answer:
        """Ask a running container, inside its network."""

    def of_front_door(self, check: Check) -> Answer:
        """Ask from this host, as a user would."""
