# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks and volumes that exist already, as a real engine inspected them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, resources, spec

from . import samples

NETWORK = json.loads(samples.text("network.json"))
VOLUME = json.loads(samples.text("volume.json"))
LIKE_IT = {"internal": True, "labels": {"tier": "back"}}


def conflicts(
    networks: dict[str, Any], volumes: dict[str, Any], there: dict[str, Any]
) -> tuple[tuple[str, ...], list[str]]:
    """The conflicts, and the names that were asked for."""
    asked: list[str] = []

    def find(name: str) -> Any:
        asked.append(name)
        return there.get(name)

    definition = {"name": "shop", "services": {"web": None}, "networks": networks, "volumes": volumes}
    return resources.conflicts(spec.parse(core_yaml.dump(definition)), find, find), asked


def network(definition: dict[str, Any] | None, **really: Any) -> tuple[str, ...]:
    return conflicts({"net": definition}, {}, {"shop_net": {**NETWORK, **really}})[0]


def volume(definition: dict[str, Any] | None, **really: Any) -> tuple[str, ...]:
    return conflicts({}, {"data": definition}, {"shop_data": {**VOLUME, **really}})[0]


def test_what_does_not_exist_yet_is_no_conflict() -> None:
    assert conflicts({"net": LIKE_IT}, {"data": {}}, {})[0] == ()


def test_what_is_as_it_should_be_is_no_conflict() -> None:
    assert network(LIKE_IT) == ()
    assert volume(None) == ()


def test_they_are_looked_up_by_their_real_names() -> None:
    assert conflicts({"net": {}, "own": {"name": "mine"}}, {"data": None}, {})[1] == ["shop_net", "mine", "shop_data"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"internal": False}, "internal is False instead of True"),
        ({"labels": {"tier": "front"}}, "labels is {'tier': 'front'} instead of {'tier': 'back'}"),
        ({"driver": "overlay"}, "driver is 'overlay' instead of 'bridge'"),
        ({"enable_ipv6": True}, "enable_ipv6 is True instead of False"),
        (
            {"driver_opts": {"com.docker.network.driver.mtu": 1400}},
            "driver_opts is {'com.docker.network.driver.mtu': '1400'}",
        ),
        ({"ipam": {"config": [{"subnet": "10.9.0.0/24"}]}}, "ipam subnets is ['10.9.0.0/24'] instead of"),
    ],
)
def test_a_changed_network_is_refused_with_the_difference(change: dict[str, Any], words: str) -> None:
    (told,) = network({**LIKE_IT, **change})
    assert told.startswith(f"networks.net: {words}")
    assert "give it a new name" in told


def test_compose_s_own_labels_and_the_engine_s_own_choices_are_no_difference() -> None:
    labels = {"tier": "back", "com.docker.compose.network": "net"}
    assert network(LIKE_IT, Labels=labels, Options={"com.docker.network.bridge.name": "br0"}) == ()
    assert volume({}, Labels={"com.docker.compose.volume": "data"}) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"driver": "nfs"}, "driver is 'nfs' instead of 'local'"),
        ({"driver_opts": {"type": "tmpfs"}}, "driver_opts is {'type': 'tmpfs'} instead of {}"),
        ({"labels": {"keep": "yes"}}, "labels is {'keep': 'yes'} instead of {}"),
    ],
)
def test_a_changed_volume_is_refused_with_the_difference(change: dict[str, Any], words: str) -> None:
    (told,) = volume(change)
    assert told.startswith(f"volumes.data: {words}")


def test_an_external_one_has_to_exist_and_may_be_as_it_is() -> None:
    external = {"name": "shared", "external": True}
    assert conflicts({"net": external}, {}, {"shared": {**NETWORK, "Internal": False}})[0] == ()
    assert conflicts({"net": external}, {}, {})[0] == (
        "networks.net: external, but shared does not exist; create it first",
    )
