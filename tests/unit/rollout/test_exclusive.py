# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container has to have alone, as a project's files say it and as the engine does."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import exclusive, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.observe import Thing

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
        ({"devices": [{"source": "/dev/kvm"}, {"source": "/dev/fuse"}], "gpus": [{"count": 1}]}, "devices"),
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


def recorded() -> spec.Project:
    """The project whose container inspect/exclusive.json is, as Compose 2.40.3 normalised it."""
    return spec.parse(samples.text("exclusive.config"))


def test_the_engine_says_of_a_container_all_that_its_service_has_to_have_alone() -> None:
    project, seen = recorded(), samples.container("exclusive")
    claimed = {claim.thing for claim in project.services["web"].claims}
    # Whose volumes it has, the engine says by id; and what is behind a volume, it says of the volume.
    by_name = {("name", "the-web"), ("volumes_from", "owner"), ("directory", "/srv/shop/bound")}
    assert by_name < claimed
    assert claimed - by_name <= seen.holds
    assert {
        *(("port", "127.0.0.1", "18291", "tcp"), ("ipc", "host"), ("pid", "host"), ("uts", "host")),
        *(("mac_address", "02:42:ac:11:00:02"), ("address", "172.29.77.9"), ("device", "/dev/null")),
        *(("volume", "shop_data"), ("volume", "shop_bound"), ("directory", "/srv/shop/dir$x")),
    } <= claimed
    assert not [thing for thing in seen.holds if thing[-1].endswith("/ro")]
    assert exclusive.in_common(project.services["web"].claims, seen) == project.services["web"].exclusive


def test_a_stopped_container_has_its_name_alone() -> None:
    claims = recorded().services["web"].claims
    assert exclusive.in_common(claims, samples.container("exclusive", status="exited")) == ("fixed name the-web",)
    assert not exclusive.in_common(claims, samples.container("exclusive", status="exited", name="other"))


def test_what_another_service_s_volumes_are_that_it_takes_over() -> None:
    volume = {"type": "volume", "source": "data", "target": "/data"}
    owner = {"volumes": [volume, {**volume, "source": "up", "target": "/up"}, {**volume, "read_only": True}]}

    def things(**config: Any) -> set[Thing]:
        return {claim.thing for claim in samples.project(owner=owner, web=config).services["web"].claims}

    assert things(volumes_from=["owner"], **{"x-rollout": {"shared": ["/up"]}}) == {
        ("volumes_from", "owner"),
        ("volume", "shop_data"),
    }
    assert ("volume", "shop_data") in things(volumes_from=["owner:ro"])
    assert things(volumes_from=["container:the-db:ro"]) == {("volumes_from", "the-db")}


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (("port", "", "80", "tcp"), ("port", "127.0.0.1", "80", "tcp"), False),
        (("port", "0.0.0.0", "80", "tcp"), ("port", "::", "80", "tcp"), False),
        (("port", "127.0.0.1", "80", "tcp"), ("port", "127.0.0.1", "80", "tcp"), False),
        (("port", "127.0.0.1", "80", "tcp"), ("port", "127.0.0.2", "80", "tcp"), True),
        (("port", "", "80", "tcp"), ("port", "", "80", "udp"), True),
        (("port", "", "80", "tcp"), ("port", "", "81", "tcp"), True),
        (("port", "", "80", "tcp"), ("network_mode", "host"), False),
        (("port", "", "80", "tcp"), ("network_mode", "container"), True),
        (("address", "172.20.0.9"), ("network_mode", "host"), True),
        (("directory", "/srv"), ("directory", "/srv"), False),
        (("directory", "/srv"), ("directory", "/srv/db/data"), False),
        (("directory", "/"), ("directory", "/srv"), False),
        (("directory", "/srv/db"), ("directory", "/srv/db2"), True),
        (("volume", "data"), ("volume", "data"), False),
        (("volume", "data"), ("volume", "data2"), True),
        (("volume", "data"), ("name", "data"), True),
    ],
)
def test_what_collides(one: Thing, other: Thing, both: bool) -> None:
    assert {exclusive.collide(*pair) for pair in ((one, other), (other, one))} == {not both}
