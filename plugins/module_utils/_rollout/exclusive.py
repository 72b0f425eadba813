# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why two containers of a service cannot run side by side, and whose containers theirs are bound to."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

# A port on one of these is a port on all of them, as far as a rollout goes.
_EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104


def bound_to(config: Mapping[str, Any]) -> frozenset[str]:
    """Give the services whose containers Compose names in this one's containers by id."""
    namespaces = (config.get(key) or "" for key in ("network_mode", "ipc", "pid"))
    names = [value.partition(":")[2] for value in namespaces if value.startswith("service:")]
    volumes = config.get("volumes_from") or ()
    return frozenset([*names, *(value.partition(":")[0] for value in volumes if not value.startswith("container:"))])


def exclusive(config: Mapping[str, Any], shared: frozenset[str]) -> tuple[str, ...]:
    """Give each reason why a second container of this service could not run beside the first; none: it could.

    `shared`: targets of read-write mounts that two containers may use side by side.
    """
    reasons = []
    if config.get("container_name"):
        reasons.append(f"fixed name {config['container_name']}")
    for port in config.get("ports") or ():
        if port.get("published"):
            reasons.append(f"host port {port['published']}")
    for key in ("network_mode", "ipc", "pid", "uts"):
        if _is_shared_namespace(config.get(key) or ""):
            reasons.append(f"{key} {config[key]}")
    if config.get("mac_address"):
        reasons.append("fixed MAC address")
    for network, options in (config.get("networks") or {}).items():
        for key in ("ipv4_address", "ipv6_address", "mac_address", "link_local_ips"):
            if (options or {}).get(key):
                reasons.append(f"fixed {key} on network {network}")
    reservations = ((config.get("deploy") or {}).get("resources") or {}).get("reservations") or {}
    if config.get("devices") or config.get("gpus") or reservations.get("devices"):
        reasons.append("devices")
    if config.get("volumes_from"):
        reasons.append("volumes_from")
    for mount in config.get("volumes") or ():
        writable = mount.get("type") in ("volume", "bind", "cluster") and not mount.get("read_only")
        target = mount.get("target") or ""
        # An anonymous volume (no source) is each container's own.
        if writable and mount.get("source") and posixpath.normpath(target) not in shared:
            reasons.append(f"read-write mount {target}")
    return tuple(reasons)


def published(config: Mapping[str, Any]) -> frozenset[tuple[str, str, str]]:
    """Give the fixed host ports of a service: address (empty: all), port, protocol."""
    return frozenset(
        (port.get("host_ip") or "", str(port["published"]), port.get("protocol") or "tcp")
        for port in config.get("ports") or ()
        if port.get("published")
    )


def collide(one: Iterable[tuple[str, str, str]], other: Iterable[tuple[str, str, str]]) -> tuple[str, ...]:
    """Give the host ports that two containers cannot both have."""
    ports = {
        port
        for address, port, protocol in one
        for its_address, its_port, its_protocol in other
        if (port, protocol) == (its_port, its_protocol)
        and (address == its_address or _EVERY_ADDRESS & {address, its_address})
    }
    return tuple(sorted(ports))


def _is_shared_namespace(value: str) -> bool:
    return value == "host" or value.startswith(("service:", "container:"))


def linked_services(config: Mapping[str, Any]) -> frozenset[str]:
    """Give the services to whose containers Compose links this one's by name."""
    return frozenset(str(link).partition(":")[0] for link in config.get("links") or ())
