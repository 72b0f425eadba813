from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .policy import Route


@dataclass(frozen=True)
class Switched:
    workers: tuple[tuple[str, tuple[int, ...]], ...] = ()


class Router(Protocol):
    def current(self, route: Route) -> str | None: ...
    def switch(self, route: Route, text: str) -> Switched: ...
    def drained(self, switched: Switched) -> int: ...


def render(route: Route, service: str, servers: Sequence[str], settled: bool) -> str:
    lines = [f"server {name}:{route.port} resolve max_fails=2 fail_timeout=5s;" for name in servers]
    if settled:
        lines.append(f"server {service}:{route.port} resolve backup;")
    return "\n".join(lines) + "\n"
