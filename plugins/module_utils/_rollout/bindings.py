# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services whose containers are bound to those of another one: Compose hashes them with that container's id.

It writes the id in the place of `service:x` before it labels a container with the hash of its configuration
(resolveServiceReferences in https://github.com/docker/compose/blob/v2.40.3/pkg/compose/convergence.go).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .exclusive import bound_to
from .observe import Container

_NAMESPACES = ("network_mode", "ipc", "pid")


def resolved(
    services: Mapping[str, Mapping[str, Any]], containers: Sequence[Container], hashes: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Give the services of a normalised configuration that name other containers, with the ids of these.

    Where a container is bound to several of one service, such as one that a killed run left beside its successor, the
    one that is as `hashes` says counts, or else the youngest.
    """
    found = {}
    for name, config in services.items():
        ids = {owner: _bound_now(name, owner, containers, hashes) for owner in bound_to(config)}
        changed = _with_ids(config, ids)
        if changed != config:
            found[name] = changed
    return found


def _bound_now(service: str, owner: str, containers: Sequence[Container], hashes: Mapping[str, str]) -> str | None:
    ids = {
        container_id for container in containers if container.service == service for container_id in container.bound_to
    }
    owners = [container for container in containers if container.service == owner and container.id in ids]
    best = max(owners, key=lambda c: (c.config_hash == hashes.get(owner), c.number), default=None)
    return None if best is None else best.id


def _with_ids(config: Mapping[str, Any], ids: Mapping[str, str | None]) -> dict[str, Any]:
    changed = dict(config)
    for key in _NAMESPACES:
        kind, _colon, owner = str(config.get(key) or "").partition(":")
        if kind == "service" and ids.get(owner):
            changed[key] = f"container:{ids[owner]}"
    if config.get("volumes_from"):
        changed["volumes_from"] = [_volumes_from(str(entry), ids) for entry in config["volumes_from"]]
    return changed


def _volumes_from(entry: str, ids: Mapping[str, str | None]) -> str:
    # Compose drops what stands behind, such as `:ro`.
    first, *rest = entry.split(":")
    return rest[0] if first == "container" else ids.get(first) or entry
