# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers as the engine reports them, reduced to what a rollout decides on."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
CONFIG_HASH = "com.docker.compose.config-hash"

_NANOSECONDS = 1e9
_ENGINE_STOP_TIMEOUT = 10

# Something on this host of which only one container can have, or should have, one: its kind, and which one it is.
# port: address (empty: all), port, protocol; network_mode, ipc, pid, uts: host, or container; address; mac_address;
# device: path, or requested (of a driver); volumes_from: whose; volume: name; directory: path; name.
Thing = tuple[str, ...]


@dataclass(frozen=True)
class Healthcheck:
    """The healthcheck that the engine runs, Compose's and the image's merged. Times in seconds."""

    interval: float
    timeout: float
    retries: int
    start_period: float

    def deadline(self) -> float:
        """Seconds after the start by which a container that is going to be healthy is."""
        return max(60.0, self.start_period + (self.retries + 1) * (self.interval + self.timeout))


@dataclass(frozen=True)
class Probe:
    """One run of a healthcheck."""

    start: str
    exit_code: int
    output: str


@dataclass(frozen=True)
class Container:
    """One container, from Engine API `GET /containers/{id}/json`. Memory in bytes, 0 for no limit."""

    id: str
    name: str
    service: str
    number: int
    oneoff: bool
    image: str
    image_id: str
    config_hash: str
    status: str
    exit_code: int
    oom_killed: bool
    error: str
    restart_count: int
    started_at: str
    health: str | None
    probes: tuple[Probe, ...]
    healthcheck: Healthcheck | None
    restart_policy: tuple[str, int]
    stop_timeout: int
    memory_limit: int
    anonymous_volumes: tuple[str, ...]
    environment: tuple[str, ...]
    # Of its first process on this host, 0 while it does not run.
    pid: int = 0
    # On its networks; none in a namespace that is not its own.
    addresses: tuple[str, ...] = ()
    # Containers whose namespaces or volumes it uses, by id.
    bound_to: frozenset[str] = frozenset()
    # What it has while it runs and another one may need alone. Volumes and directories: those that it can write to.
    holds: frozenset[Thing] = frozenset()

    @property
    def running(self) -> bool:
        """Whether its process lives (a paused one's does)."""
        return self.status in ("running", "paused", "restarting")

    @property
    def serving(self) -> bool:
        """Whether it runs and, where it has a healthcheck, passed it."""
        return self.status == "running" and self.health in (None, "healthy")


def container(inspect: Mapping[str, Any]) -> Container:
    """Make a Container of the engine's inspect answer."""
    labels = inspect["Config"].get("Labels") or {}
    state, host = inspect["State"], inspect["HostConfig"]
    health = state.get("Health") or {}
    policy = host.get("RestartPolicy") or {}
    healthcheck = _healthcheck(inspect["Config"].get("Healthcheck"))
    stop_timeout = inspect["Config"].get("StopTimeout")
    return Container(
        id=inspect["Id"],
        name=inspect["Name"].lstrip("/"),
        service=labels.get(SERVICE, ""),
        number=int(labels.get(NUMBER) or 0),
        oneoff=labels.get(ONEOFF) == "True",
        image=inspect["Config"].get("Image", ""),
        image_id=inspect["Image"],
        config_hash=labels.get(CONFIG_HASH, ""),
        status=state["Status"],
        exit_code=state.get("ExitCode", 0),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error", ""),
        restart_count=inspect.get("RestartCount", 0),
        started_at=state.get("StartedAt", ""),
        # The engine says "none" for a container whose healthcheck is disabled.
        health=health.get("Status") if healthcheck else None,
        probes=tuple(
            Probe(probe.get("Start", ""), probe.get("ExitCode", 0), probe.get("Output", ""))
            for probe in health.get("Log") or ()
        ),
        healthcheck=healthcheck,
        restart_policy=(policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0),
        stop_timeout=_ENGINE_STOP_TIMEOUT if stop_timeout is None else stop_timeout,
        memory_limit=host.get("Memory") or 0,
        anonymous_volumes=tuple(
            sorted(
                mount["Destination"]
                for mount in inspect.get("Mounts") or ()
                if mount.get("Type") == "volume" and _is_anonymous(mount.get("Name", ""))
            )
        ),
        environment=tuple(inspect["Config"].get("Env") or ()),
        pid=state.get("Pid", 0),
        addresses=tuple(
            # A network may have IPv6 alone.
            network.get("IPAddress") or network["GlobalIPv6Address"]
            for network in _networks(inspect)
            if network.get("IPAddress") or network.get("GlobalIPv6Address")
        ),
        bound_to=_bound_to(host),
        holds=frozenset([*_of_host(inspect["HostConfig"]), *_of_networks(inspect), *_written(inspect)]),
    )


def _of_host(host: Mapping[str, Any]) -> Iterator[Thing]:
    for port, bindings in (host.get("PortBindings") or {}).items():
        for binding in bindings or ():
            if binding.get("HostPort"):
                yield "port", binding.get("HostIp") or "", binding["HostPort"], port.partition("/")[2] or "tcp"
    for key, mode in (("network_mode", "NetworkMode"), ("ipc", "IpcMode"), ("pid", "PidMode"), ("uts", "UTSMode")):
        kind = str(host.get(mode) or "").partition(":")[0]
        if kind in ("host", "container"):
            yield key, kind
    for device in host.get("Devices") or ():
        yield "device", device["PathOnHost"]
    if host.get("DeviceRequests"):
        yield "device", "requested"
    for source in host.get("VolumesFrom") or ():
        yield "volumes_from", str(source).partition(":")[0]


def _of_networks(inspect: Mapping[str, Any]) -> Iterator[Thing]:
    for network in _networks(inspect):
        # Fixed or not: what it has, nobody else can have.
        fixed = (network.get("IPAMConfig") or {}).get("LinkLocalIPs") or ()
        for address in (network.get("IPAddress"), network.get("GlobalIPv6Address"), *fixed):
            if address:
                yield "address", address.lower()
        if network.get("MacAddress"):
            yield "mac_address", network["MacAddress"].lower()


def _written(inspect: Mapping[str, Any]) -> Iterator[Thing]:
    for mount in inspect.get("Mounts") or ():
        if mount.get("RW") and mount.get("Type") in ("volume", "bind", "cluster"):
            if mount.get("Name"):
                yield "volume", mount["Name"]
            if mount.get("Source"):
                yield "directory", posixpath.normpath(mount["Source"])


def _networks(inspect: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(((inspect.get("NetworkSettings") or {}).get("Networks") or {}).values())


def _bound_to(host: Mapping[str, Any]) -> frozenset[str]:
    modes = (str(host.get(key) or "") for key in ("NetworkMode", "IpcMode", "PidMode"))
    namespaces = (mode.partition(":")[2] for mode in modes if mode.startswith("container:"))
    return frozenset([*namespaces, *(str(source).partition(":")[0] for source in host.get("VolumesFrom") or ())])


def _healthcheck(config: Mapping[str, Any] | None) -> Healthcheck | None:
    """Read Config.Healthcheck; zero means the engine's own default (30 s, 30 s, 3 tries)."""
    test = (config or {}).get("Test") or []
    if not config or not test or test[0] == "NONE":
        return None
    return Healthcheck(
        interval=(config.get("Interval") or 0) / _NANOSECONDS or 30.0,
        timeout=(config.get("Timeout") or 0) / _NANOSECONDS or 30.0,
        retries=config.get("Retries") or 3,
        start_period=(config.get("StartPeriod") or 0) / _NANOSECONDS,
    )


def _is_anonymous(volume: str) -> bool:
    return len(volume) == 64 and all(digit in "0123456789abcdef" for digit in volume)
