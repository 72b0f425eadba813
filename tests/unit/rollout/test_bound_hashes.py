# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are bound to others carry another hash than Compose tells of their service."""

from __future__ import annotations

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import bound_hashes
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.bound_hashes import BoundHash

from . import samples

SERVICES = samples.project(
    app={}, side={"network_mode": "service:app", "depends_on": {"app": {"condition": "service_started"}}}
).services.values()
TOLD = {"app": "a", "side": "s"}


def runs(label: str, number: int = 1) -> samples.observe.Container:
    return samples.container(service="side", config_hash=label, number=number)


def test_without_a_record_what_runs_is_right() -> None:
    assert bound_hashes.expected(TOLD, SERVICES, {}, [runs("label")]) == {"app": "a", "side": "label"}
    assert bound_hashes.expected(TOLD, SERVICES, {}, []) == TOLD


def test_the_same_configuration_as_at_the_last_commit_carries_the_same_label() -> None:
    recorded = {"side": BoundHash("s", "label")}
    assert bound_hashes.expected(TOLD, SERVICES, recorded, [runs("another")])["side"] == "label"


def test_another_configuration_is_carried_by_none() -> None:
    recorded = {"side": BoundHash("before", "label")}
    assert bound_hashes.expected(TOLD, SERVICES, recorded, [runs("label")])["side"] == "s"


def test_a_commit_records_what_the_newest_container_carries() -> None:
    containers = [runs("new", number=2), runs("old", number=1)]
    assert bound_hashes.to_record(TOLD, SERVICES, containers) == {"side": BoundHash("s", "new")}
    assert bound_hashes.to_record(TOLD, SERVICES, []) == {}
