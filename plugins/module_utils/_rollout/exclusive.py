# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a container has to have alone, so that no second one may run beside it, and what it is bound to."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import core_yaml
from .observe import Container, Thing

# A port on one of these is a port on all of them, as far as a rollout goes.
_EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104
_HOST_NETWORK = ("network_mode", "host")


@dataclass(frozen=True)
class Claim:
    """A thing that each container of a service has to have alone, and how the plan calls it."""

    reason: str
    thing: Thing


def bound_to(config: Mapping[str, Any]) -> frozenset[str]:
    """Give the services whose containers Compose names in this one's containers by id."""
    namespaces = (config.get(key) or "" for key in ("network_mode", "ipc", "pid"))
    names = [value.partition(":")[2] for value in namespaces if value.startswith("service:")]
    volumes = config.get("volumes_from") or ()
    return frozenset([*names, *(value.partition(":")[0] for value in volumes if not value.startswith("container:"))])


def claims(config: Mapping[str, Any], shared: frozenset[str], project: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Give all that a container of this service has to have alone; none: a second one could run beside the first.

    `shared`: targets of read-write mounts that two containers may use side by side. `project` is the whole normalised
    project, which says what a volume is called on this host, and what a service has mounted that this one takes over.
    """
    return tuple(Claim(reason, thing) for reason, thing in _claims(config, shared, project))


def _claims(
    config: Mapping[str, Any], shared: frozenset[str], project: Mapping[str, Any]
) -> Iterator[tuple[str, Thing]]:
    if config.get("container_name"):
        yield f"fixed name {config['container_name']}", ("name", config["container_name"])
    for port in config.get("ports") or ():
        if port.get("published"):
            number = str(port["published"])
            yield f"host port {number}", ("port", port.get("host_ip") or "", number, port.get("protocol") or "tcp")
    for key in ("network_mode", "ipc", "pid", "uts"):
        kind, colon, _owner = (config.get(key) or "").partition(":")
        if kind == "host" or (colon and kind in ("service", "container")):
            # The engine knows neither services nor, for sure, the name that is given here.
            yield f"{key} {config[key]}", (key, "host" if kind == "host" else "container")
    if config.get("mac_address"):
        yield "fixed MAC address", ("mac_address", config["mac_address"].lower())
    for network, options in (config.get("networks") or {}).items():
        for key in ("ipv4_address", "ipv6_address", "mac_address", "link_local_ips"):
            given = (options or {}).get(key) or ()
            for value in [given] if isinstance(given, str) else given:
                kind = "mac_address" if key == "mac_address" else "address"
                yield f"fixed {key} on network {network}", (kind, value.lower())
    for device in config.get("devices") or ():
        yield "devices", ("device", device.get("source") or "")
    reservations = ((config.get("deploy") or {}).get("resources") or {}).get("reservations") or {}
    if config.get("gpus") or reservations.get("devices"):
        # Which ones it gets is the driver's choice.
        yield "devices", ("device", "requested")
    for entry in config.get("volumes_from") or ():
        first, *others = entry.split(":")
        yield "volumes_from", ("volumes_from", others[0] if first == "container" else first)
        owner = (project.get("services") or {}).get(first) or {}
        # Compose drops what stands behind, such as `:ro`.
        yield from (("volumes_from", thing) for _target, thing in _written(owner, shared, project))
    yield from ((f"read-write mount {target}", thing) for target, thing in _written(config, shared, project))


def _written(
    config: Mapping[str, Any], shared: frozenset[str], project: Mapping[str, Any]
) -> Iterator[tuple[str, Thing]]:
    """Give the targets of a service's own read-write mounts, each with the volume or directory behind it."""
    for mount in config.get("volumes") or ():
        target, source = mount.get("target") or "", core_yaml.unescaped(mount.get("source") or "")
        writable = mount.get("type") in ("volume", "bind", "cluster") and not mount.get("read_only")
        # An anonymous volume (no source) is each container's own.
        if not writable or not source or posixpath.normpath(target) in shared:
            continue
        if mount["type"] == "bind":
            yield target, ("directory", posixpath.normpath(source))
            continue
        volume = (project.get("volumes") or {}).get(source) or {}
        yield target, ("volume", volume.get("name") or f"{project.get('name')}_{source}")
        options = volume.get("driver_opts") or {}
        if options.get("device") and "bind" in str(options.get("o")).split(","):
            yield target, ("directory", posixpath.normpath(str(options["device"])))


def in_common(claimed: tuple[Claim, ...], container: Container) -> tuple[str, ...]:
    """Say what of it a container has that is there already: its name, and while it runs, all that it holds."""
    held = {("name", container.name), *(container.holds if container.running else ())}
    return tuple(dict.fromkeys(each.reason for each in claimed if any(collide(each.thing, other) for other in held)))


def collide(one: Thing, other: Thing) -> bool:
    """Whether two containers cannot have these side by side."""
    if one[0] == other[0] == "port":
        return one[2:] == other[2:] and (one[1] == other[1] or bool(_EVERY_ADDRESS & {one[1], other[1]}))
    if _HOST_NETWORK in (one, other) and "port" in (one[0], other[0]):
        # Which ports those listen on that are in the host's network, nobody says.
        return True
    if one[0] == other[0] == "directory":
        return _holds(one[1], other[1]) or _holds(other[1], one[1])
    return one == other


def _holds(directory: str, path: str) -> bool:
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def linked_services(config: Mapping[str, Any]) -> frozenset[str]:
    """Give the services to whose containers Compose links this one's by name."""
    return frozenset(str(link).partition(":")[0] for link in config.get("links") or ())
