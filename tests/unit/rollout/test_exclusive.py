# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why two containers of a service cannot run side by side."""

from __future__ import annotations

from typing import Any

import pytest

from . import samples


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"container_name": "web"}, "fixed name web"),
        ({"ports": [{"target": 80, "published": "8080"}]}, "host port 8080"),
        ({"network_mode": "host"}, "network_mode host"),
        ({"ipc": "host"}, "ipc host"),
        ({"pid": "container:x"}, "pid container:x"),
        ({"uts": "host"}, "uts host"),
        ({"mac_address": "02:42:ac:11:00:02"}, "fixed MAC address"),
        ({"networks": {"front": {"ipv4_address": "172.20.0.9"}}}, "fixed ipv4_address on network front"),
        ({"devices": [{"source": "/dev/kvm", "target": "/dev/kvm"}]}, "devices"),
        ({"gpus": [{"count": -1}]}, "devices"),
        ({"deploy": {"resources": {"reservations": {"devices": [{"count": 1}]}}}}, "devices"),
        ({"volumes_from": ["other"]}, "volumes_from"),
        ({"volumes": [{"type": "bind", "source": "/srv", "target": "/srv"}]}, "read-write mount /srv"),
    ],
)
def test_whatever_is_exclusive_has_a_reason(config: dict[str, Any], reason: str) -> None:
    assert samples.service(**config).exclusive == (reason,)


@pytest.mark.parametrize(
    "config",
    [
        {"ports": [{"target": 80}]},
        {"network_mode": "none"},
        {"networks": {"front": None}},
        {"volumes": [{"type": "bind", "source": "/srv", "target": "/srv", "read_only": True}]},
        {"volumes": [{"type": "tmpfs", "target": "/tmp"}]},
        {"volumes": [{"type": "volume", "target": "/anonymous"}]},
        {"volumes": [{"type": "volume", "source": "v", "target": "/v"}], "x-rollout": {"shared": ["/v"]}},
    ],
)
def test_what_two_containers_may_share_is_not_exclusive(config: dict[str, Any]) -> None:
    assert samples.service(**config).exclusive == ()


@pytest.mark.parametrize(
    ("config", "services"),
    [
        ({"network_mode": "service:a", "ipc": "service:b", "pid": "service:c"}, {"a", "b", "c"}),
        ({"volumes_from": ["a", "b:ro", "container:c"]}, {"a", "b"}),
        ({"network_mode": "host", "pid": "container:c"}, set()),
        ({}, set()),
    ],
)
def test_services_are_bound_to_those_whose_containers_theirs_name(config: dict[str, Any], services: set[str]) -> None:
    assert samples.service(**config).bound_to == services
