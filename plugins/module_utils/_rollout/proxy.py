# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which containers a proxy sends traffic to: the text of its upstream file, and what a rollout asks of who routes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from .policy import Route

_HEADER = "# The servers that nginx balances over. Rollouts rewrite this file while nginx runs.\n"
# A server that failed twice is left alone for so long, where there is another.
_FAILURES = "max_fails=2 fail_timeout=5s"
_DIRECTIVE = re.compile(r"(?:^|;)\s*server\s+([^;]+)")


@dataclass(frozen=True)
class Switched:
    """What served before a switch: for each container of the proxy its id and its worker processes on this host.

    Empty where no container of the proxy ran.
    """

    workers: tuple[tuple[str, tuple[int, ...]], ...] = ()


class Router(Protocol):
    """Who routes."""

    def current(self, route: Route) -> str | None:
        """Give the content of the route's upstream file, None where there is none. ProxyError: it cannot be read."""

    def switch(self, route: Route, text: str) -> Switched:
        """Give the route's upstream file this content, and return when nothing but its servers gets new connections.

        Raises ProxyError when a proxy refuses it or does not take it up; the file of before is back then.
        """

    def drained(self, switched: Switched) -> int:
        """Give how many of the workers of before a switch still serve."""


@dataclass(frozen=True)
class _Server:
    """One server directive: its address, and what follows it."""

    address: str
    parameters: tuple[str, ...]

    @property
    def name(self) -> str:
        return re.sub(r":\d+$", "", self.address)

    @property
    def first(self) -> bool:
        """Whether it gets traffic while all is well."""
        return "backup" not in self.parameters and "down" not in self.parameters

    def line(self) -> str:
        return f"server {' '.join((self.address, *self.parameters))};\n"


def render(route: Route, service: str, servers: Sequence[str], settled: bool) -> str:
    """Give the upstream file that sends traffic to the containers named `servers`.

    `settled`: between rollouts. Then the service's own name stands behind them, which Docker's DNS answers with
    whatever runs: containers made by others, as by `docker compose down` and `up`, have names that this file does not
    know. Without a container it is all there is, for nginx refuses an upstream of backups alone.
    """
    lines = [f"server {name}:{route.port} resolve {_FAILURES};\n" for name in servers]
    if not servers:
        # While a rollout has nothing to send traffic to, nginx answers 502 at once.
        name, parameters = (service, f"resolve {_FAILURES}") if settled else ("127.0.0.1", "down")
        lines.append(f"server {name}:{route.port} {parameters};\n")
    elif settled:
        lines.append(f"server {service}:{route.port} resolve backup;\n")
    return _HEADER + "".join(lines)


def servers(text: str) -> tuple[str, ...]:
    """Give the names that an upstream file sends traffic to, backups not among them.

    The file may be a person's, or the first one, which names a service and no container.
    """
    return tuple(server.name for server in _read(text) if server.first)


def bridge(before: str, text: str, gone: Collection[str]) -> str | None:
    """Give the file to load between two whose servers nginx has not met yet; None where it can go at once.

    A worker that starts asks for the address of a name that is new to nginx, and has no server until the answer is
    there: a few milliseconds of 502. Names that it knew before a reload keep their addresses
    (https://github.com/nginx/nginx/blob/release-1.30.0/src/http/modules/ngx_http_upstream_zone_module.c).
    So the servers of before stay until the new ones are known. `gone`: names that cannot answer any more.
    """
    known = [server for server in _read(before) if "down" not in server.parameters and server.name not in gone]
    if any(server.first and server.name in servers(text) for server in known):
        return None
    named = {server.name for server in _read(text)}
    kept = [server for server in known if server.name not in named]
    return text + "".join(server.line() for server in kept) if kept else None


def _read(text: str) -> list[_Server]:
    found = _DIRECTIVE.findall(re.sub(r"#[^\n]*", "", text))
    return [_Server(words[0], tuple(words[1:])) for words in map(str.split, found) if words]
