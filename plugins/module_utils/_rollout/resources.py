# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks and volumes are checked before any container is created.

A changed network definition makes Compose (2.31 and later) stop running containers in spite of --no-recreate, and a
changed volume definition is silently ignored or, with -y, loses the data. Both are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .engine import Engine
from .errors import EngineError
from .plan import Plan
from .spec import Project

Find = Callable[[str], Optional[Mapping[str, Any]]]


def conflicts(project: Project, network: Find, volume: Find) -> tuple[str, ...]:
    """Give a sentence for each network and volume that exists with another definition, or ought to exist.

    `network` and `volume` look one up by its real name, as the engine inspects it.
    """
    found = []
    for key, spec in project.networks.items():
        found += _check(f"networks.{key}", spec, network(_name(project, key, spec)), _network_differences)
    for key, spec in project.volumes.items():
        found += _check(f"volumes.{key}", spec, volume(_name(project, key, spec)), _volume_differences)
    return tuple(found)


@dataclass(frozen=True)
class Resource:
    """A network or a volume by its real name."""

    kind: str
    name: str


def missing(plan: Plan, engine: Engine) -> tuple[Resource, ...]:
    """Give the project's own networks and volumes that the engine does not have yet."""
    if not plan.changes:
        return ()
    project, found = plan.project, []
    for kind, specs, find in (
        ("network", project.networks, engine.network),
        ("volume", project.volumes, engine.volume),
    ):
        for key, spec in specs.items():
            name = _name(project, key, spec)
            if not (spec or {}).get("external") and find(name) is None:
                found.append(Resource(kind, name))
    return tuple(found)


def remove(new: tuple[Resource, ...], engine: Engine) -> None:
    """Remove what a run that failed has made, where nothing uses it."""
    for resource in new:
        remove_one = engine.remove_network if resource.kind == "network" else engine.remove_volume
        try:
            remove_one(resource.name)
        except EngineError:
            # Something uses it, and so it stays.
            continue


def _name(project: Project, key: str, spec: Mapping[str, Any] | None) -> str:
    return str((spec or {}).get("name") or f"{project.name}_{key}")


def _check(
    where: str,
    spec: Mapping[str, Any] | None,
    actual: Mapping[str, Any] | None,
    differences: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]],
) -> list[str]:
    spec = spec or {}
    if spec.get("external"):
        return [] if actual else [f"{where}: external, but {spec.get('name')} does not exist; create it first"]
    if actual is None:
        return []
    return [
        f"{where}: {difference}, and {actual['Name']} exists already: its definition cannot be changed while "
        "containers use it; give it a new name"
        for difference in differences(spec, actual)
    ]


def _differs(what: str, wanted: Any, actual: Any) -> list[str]:
    return [] if wanted == actual else [f"{what} is {wanted!r} instead of {actual!r}"]


def _own_labels(labels: Mapping[str, Any] | None) -> dict[str, str]:
    return {key: str(value) for key, value in (labels or {}).items() if not key.startswith("com.docker.compose.")}


def _options(options: Mapping[str, Any] | None) -> dict[str, str]:
    return {key: str(value) for key, value in (options or {}).items()}


def _network_differences(spec: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    found = _differs("internal", bool(spec.get("internal")), bool(actual.get("Internal")))
    found += _differs("labels", _own_labels(spec.get("labels")), _own_labels(actual.get("Labels")))
    # What a specification leaves out is the engine's choice, which it may have made otherwise.
    if spec.get("driver"):
        found += _differs("driver", spec["driver"], actual.get("Driver"))
    if spec.get("enable_ipv6") is not None:
        found += _differs("enable_ipv6", spec["enable_ipv6"], bool(actual.get("EnableIPv6")))
    if spec.get("driver_opts"):
        found += _differs("driver_opts", _options(spec["driver_opts"]), _options(actual.get("Options")))
    subnets = {item["subnet"] for item in (spec.get("ipam") or {}).get("config") or () if item.get("subnet")}
    if subnets:
        existing = {item.get("Subnet") for item in (actual.get("IPAM") or {}).get("Config") or ()}
        found += _differs("ipam subnets", sorted(subnets), sorted(existing))
    return found


def _volume_differences(spec: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    found = _differs("labels", _own_labels(spec.get("labels")), _own_labels(actual.get("Labels")))
    if spec.get("driver"):
        found += _differs("driver", spec["driver"], actual.get("Driver"))
    if spec.get("driver_opts"):
        found += _differs("driver_opts", _options(spec["driver_opts"]), _options(actual.get("Options")))
    return found
