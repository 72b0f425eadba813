# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that is bound to another one has the hash of a configuration that names this one by its id."""

from __future__ import annotations

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.bindings import resolved

from .samples import container

_OWNER = container(id="0a", service="x", number=1, config_hash="one")
_YOUNGER = container(id="0b", service="x", number=2, config_hash="two")


def follower(*owners: str):
    return container(id="0f", service="f", bound_to=frozenset(owners))


@pytest.mark.parametrize(
    ("config", "with_id"),
    [
        ({"network_mode": "service:x"}, {"network_mode": "container:0a"}),
        ({"pid": "service:x", "ipc": "service:x"}, {"pid": "container:0a", "ipc": "container:0a"}),
        ({"volumes_from": ["x:ro", "container:other:ro"]}, {"volumes_from": ["0a", "other"]}),
    ],
)
def test_each_way_to_be_bound(config: dict, with_id: dict) -> None:
    services = {"f": {"image": "shop", **config}, "x": {"image": "shop"}}
    assert resolved(services, [_OWNER, follower("0a")], {}) == {"f": {"image": "shop", **with_id}}
    assert services["f"] == {"image": "shop", **config}


@pytest.mark.parametrize("mode", ["host", "none", "bridge", "container:other", None])
def test_what_names_no_other_service_stays_as_it_is(mode: str) -> None:
    assert resolved({"f": {"network_mode": mode}}, [_OWNER, follower("0a")], {}) == {}


def test_without_a_container_there_is_no_id_to_be_bound_to() -> None:
    services = {"f": {"network_mode": "service:x"}}
    assert resolved(services, [_OWNER], {}) == {}
    assert resolved(services, [_OWNER, follower("gone")], {}) == {}


def test_of_several_the_one_that_is_as_it_should_be_counts_or_else_the_youngest() -> None:
    services = {"f": {"network_mode": "service:x"}}
    containers = [_YOUNGER, _OWNER, follower("0a"), follower("0b")]
    assert resolved(services, containers, {"x": "one"})["f"]["network_mode"] == "container:0a"
    assert resolved(services, containers, {"x": "other"})["f"]["network_mode"] == "container:0b"
