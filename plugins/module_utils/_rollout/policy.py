# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a service is replaced, in the words of the Compose Specification and of x-rollout. Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import Check

ORDERS = ("auto", "start_first", "stop_first")


@dataclass(frozen=True)
class Overrides:
    """What the caller asks of every service; None leaves it to the service's own words."""

    order: str | None = None
    parallelism: int | None = None
    timeout: float | None = None
    stable: float | None = None
    canary: int | None = None
    canary_time: float | None = None


@dataclass(frozen=True)
class Hook:
    """A command that is run in a container after its start, or before its stop.

    `environment`: NAME=value, or NAME alone, which the engine takes out of the container's own.
    """

    command: tuple[str, ...]
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    environment: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """Who sends traffic to a service: the nginx of the service `proxy`, from `upstream` to `port`.

    `directory` is where the proxy's containers have the directory of upstream files mounted.
    """

    proxy: str
    upstream: str
    port: int
    directory: str = "/etc/nginx/upstreams"


@dataclass(frozen=True)
class WayBack:
    """deploy.rollback_config: how old containers come back. `parallelism` 0 is all at once; `order` None is ours."""

    parallelism: int = 0
    delay: float = 0.0
    monitor: float = 0.0
    failure_action: str = "continue"
    order: str | None = None


@dataclass(frozen=True)
class Policy:
    """How one service is replaced. `timeout` None derives it from the healthcheck; `parallelism` 0 is all at once.

    `shared`: normalised targets of read-write mounts that two containers may use side by side.
    """

    order: str = "auto"
    parallelism: int = 1
    delay: float = 0.0
    monitor: float = 0.0
    failure_action: str = "rollback"
    max_failure_ratio: float = 0.0
    timeout: float | None = None
    stable: float = 5.0
    no_healthcheck: str = "running"
    discard_anonymous_volumes: bool = False
    shared: frozenset[str] = frozenset()
    strict_dns: bool = False
    checks: tuple[Check, ...] = ()
    routes: tuple[Route, ...] = ()
    drain_timeout: float = 600.0
    canary: int = 0
    canary_time: float = 0.0
    back: WayBack = WayBack()
