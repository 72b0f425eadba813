# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hash the containers of a service carry whose namespaces or volumes are those of another one's container.

Compose puts that container's id into the configuration before it hashes it for the label, and `config --hash` does
not, so the two never agree. What each was at the last commit tells whether anything changed since.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .observe import Container
from .spec import Service


@dataclass(frozen=True)
class BoundHash:
    """What Compose says of one configuration, and what the containers that it made of it carry."""

    told: str
    label: str


def expected(
    hashes: Mapping[str, str],
    services: Iterable[Service],
    recorded: Mapping[str, BoundHash],
    containers: Iterable[Container],
) -> dict[str, str]:
    """Give by service the hash that a container of the configuration carries whose `hashes` Compose tells.

    Without a record what runs is taken for right, as Compose takes it.
    """
    labels = {container.service: container.config_hash for container in containers}
    found = dict(hashes)
    for service in services:
        if service.bound_to and service.name in hashes:
            told = hashes[service.name]
            record = recorded.get(service.name)
            if record is None:
                found[service.name] = labels.get(service.name, told)
            elif record.told == told:
                found[service.name] = record.label
    return found


def to_record(
    hashes: Mapping[str, str], services: Iterable[Service], containers: Iterable[Container]
) -> dict[str, BoundHash]:
    """Give what a commit records: the newest container carries the label of what was rolled out."""
    newest = {c.service: c for c in sorted(containers, key=lambda container: container.number)}
    return {
        service.name: BoundHash(hashes[service.name], newest[service.name].config_hash)
        for service in services
        if service.bound_to and service.name in newest and service.name in hashes
    }
