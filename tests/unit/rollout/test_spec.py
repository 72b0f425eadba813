# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What should run, read from what Compose 2.40.3 really printed and from small variations of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Overrides, Policy

from . import samples


@pytest.fixture(scope="module")
def shop() -> spec.Project:
    return spec.parse(samples.text("shop.config"))


def test_services_stand_in_dependency_order(shop: spec.Project) -> None:
    assert list(shop.services) == ["db", "migrate", "web", "front"]
    assert shop.dependencies("front") == ("db", "migrate", "web")
    assert shop.dependants("db") == ("migrate", "web")


def test_what_a_dependant_waits_for_to_complete_is_a_one_shot(shop: spec.Project) -> None:
    assert [service.name for service in shop.services.values() if service.one_shot] == ["migrate"]


def test_the_policy_is_read_from_update_config_and_x_rollout(shop: spec.Project) -> None:
    assert shop.services["web"].policy == Policy(
        order="start_first",
        parallelism=1,
        delay=2.0,
        monitor=60.0,
        timeout=300.0,
        stable=1.5,
        no_healthcheck="fail",
    )
    assert shop.services["db"].policy == Policy()


@pytest.mark.parametrize(
    ("service", "policy"),
    [("db", ("unless-stopped", 0)), ("web", ("on-failure", 3)), ("migrate", ("no", 0)), ("front", ("always", 4))],
)
def test_the_restart_policy_is_the_one_that_the_engine_gets(
    shop: spec.Project, service: str, policy: tuple[str, int]
) -> None:
    assert shop.services[service].restart_policy == policy


def test_what_two_containers_cannot_share_is_told(shop: spec.Project) -> None:
    assert {name: service.exclusive for name, service in shop.services.items()} == {
        "db": ("read-write mount /var/lib/postgresql/data",),
        "migrate": (),
        "web": (),
        "front": ("host port 18000",),
    }


def test_networks_volumes_and_secret_files_are_known_by_their_own_names(shop: spec.Project) -> None:
    assert shop.networks["data"]["name"] == "shop_data"
    assert list(shop.volumes) == ["data"]
    assert shop.secret_files == ("/srv/shop/db_password",)


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


def test_what_cannot_be_replaced_safely_is_known() -> None:
    service = samples.service(container_name="web", ipc="service:x", volumes_from=["y"])
    assert service.irreplaceable == ("container_name", "ipc: service:x", "volumes_from")


def test_an_argument_goes_before_x_rollout_and_that_before_update_config() -> None:
    text = core_yaml.dump(
        {
            "name": "shop",
            "services": {
                "web": {
                    "deploy": {"update_config": {"order": "stop-first", "parallelism": 3}},
                    "x-rollout": {"timeout": "10s", "stable": "2s"},
                }
            },
        }
    )
    by_itself = spec.parse(text).services["web"].policy
    overridden = (
        spec.parse(text, Overrides(order="auto", parallelism=0, timeout=99.0, stable=0.0)).services["web"].policy
    )
    assert (by_itself.order, by_itself.parallelism, by_itself.timeout, by_itself.stable) == ("stop_first", 3, 10.0, 2.0)
    assert (overridden.order, overridden.parallelism, overridden.timeout, overridden.stable) == ("auto", 0, 99.0, 0.0)


def test_an_image_that_is_built_has_compose_s_own_name() -> None:
    text = core_yaml.dump({"name": "shop", "services": {"web": {"build": {"context": "/srv"}}}})
    assert spec.parse(text).services["web"].image == "shop-web"


def test_scale_goes_before_replicas() -> None:
    assert samples.service(scale=3, deploy={"replicas": 2}).replicas == 3
    assert samples.service(deploy={"replicas": 0}).replicas == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"deploy": {"mode": "global"}}, "services.web.deploy.mode: 'global' is not supported; allowed: replicated"),
        (
            {"deploy": {"update_config": {"failure_action": "panic"}}},
            "update_config.failure_action: 'panic'; allowed: rollback, pause, continue",
        ),
        ({"deploy": {"update_config": {"max_failure_ratio": 1.5}}}, "max_failure_ratio: 1.5; allowed: 0 to 1"),
        ({"deploy": {"update_config": {"order": "sideways"}}}, "order: 'sideways'; allowed: start-first, stop-first"),
        ({"deploy": {"update_config": {"parallelism": -1}}}, "parallelism: -1; allowed: 0"),
        ({"deploy": {"update_config": {"delay": "soon"}}}, "update_config.delay: 'soon' is no duration"),
        ({"deploy": {"replicas": -1}}, "services.web.deploy.replicas: -1 is no count"),
        (
            {"x-rollout": {"tmeout": "5s"}},
            "services.web.x-rollout.tmeout: unknown, perhaps timeout is meant; allowed: timeout,",
        ),
        ({"x-rollout": {"timeout": "soon"}}, "x-rollout.timeout: 'soon' is no duration"),
        ({"x-rollout": {"no_healthcheck": "hope"}}, "no_healthcheck: 'hope'; allowed: running, fail"),
        ({"x-rollout": {"anonymous_volumes": "keep"}}, "anonymous_volumes: 'keep'; allowed: discard"),
        ({"x-rollout": {"shared": "/data"}}, "x-rollout.shared: must be a list"),
        ({"x-rollout": ["stable"]}, "x-rollout: must be a mapping"),
    ],
)
def test_what_would_not_be_done_as_written_is_refused_by_its_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        samples.service(**config)


def test_a_restart_is_read_where_it_is_asked_for_and_where_compose_implies_it() -> None:
    project = spec.parse(samples.text("implicit.config"))
    assert {name: set(service.restarts_with) for name, service in project.services.items()} == {
        "main": set(),
        "a_sidecar": {"main"},
        "b_reader": set(),
        "c_linked": {"main"},
    }
    assert {name: set(service.bound_to) for name, service in project.services.items() if service.bound_to} == {
        "a_sidecar": {"main"},
        "b_reader": {"main"},
    }


@pytest.mark.parametrize("text", ["", "name: shop", "services: {}", "services: [web]", "- web"])
def test_a_project_without_services_is_none(text: str) -> None:
    with pytest.raises(SpecError, match="no services"):
        spec.parse(text)


def test_text_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(SpecError, match="not valid YAML"):
        spec.parse("a: [")


def test_a_circle_is_refused_and_named() -> None:
    with pytest.raises(SpecError, match="in a circle: a -> b -> a"):
        samples.project(a={"depends_on": {"b": {}}}, b={"depends_on": {"a": {}}}, c={})


def test_a_dependency_that_no_active_profile_holds_is_passed_over() -> None:
    project = samples.project(web={"depends_on": {"debugger": {"condition": "service_started", "required": False}}})
    assert project.dependencies("web") == ()


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20), st.permutations(range(8)))
def test_dependencies_come_before_their_dependants_whatever_the_order_in_the_file(
    pairs: list[tuple[int, int]], order: list[int]
) -> None:
    needs: dict[int, set[int]] = {number: set() for number in order}
    for one, other in pairs:
        if one != other:
            needs[max(one, other)].add(min(one, other))
    project = samples.project(
        **{f"s{order[number]}": {"depends_on": {f"s{order[n]}": {} for n in needs[number]}} for number in order}
    )
    places = list(project.services)
    assert sorted(places) == [f"s{number}" for number in range(8)]
    for service in project.services.values():
        assert all(places.index(needed) < places.index(service.name) for needed in service.depends_on)
        assert set(service.depends_on) <= set(project.dependencies(service.name))


@pytest.mark.parametrize(
    ("config", "policy"),
    [
        ({}, ("no", 0)),
        ({"restart": "on-failure:3"}, ("on-failure", 3)),
        ({"restart": "unless-stopped", "deploy": {"restart_policy": {"condition": "any"}}}, ("always", 0)),
        ({"deploy": {"restart_policy": {"condition": "on-failure", "max_attempts": 2}}}, ("on-failure", 2)),
        ({"restart": "always", "deploy": {"restart_policy": {"condition": "none"}}}, ("no", 0)),
        ({"deploy": {"restart_policy": {"max_attempts": 3}}}, ("no", 3)),
    ],
)
def test_deploy_restart_policy_overrides_restart_as_in_compose(config: dict[str, Any], policy: tuple[str, int]) -> None:
    text = core_yaml.dump({"name": "shop", "services": {"web": {"image": "a:1", **config}}})
    assert spec.parse(text).services["web"].restart_policy == policy
