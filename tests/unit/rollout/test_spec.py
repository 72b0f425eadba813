# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What should run, read from what Compose really printed and from small variations of it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import ExecCheck, HttpCheck, TcpCheck
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Hook, Policy, Route, WayBack

from . import samples


@pytest.fixture(scope="module")
def shop() -> spec.Project:
    return spec.parse(samples.text("shop.config"))


@pytest.fixture(scope="module", params=["2.26.1", "2.40.3"])
def front(request: pytest.FixtureRequest) -> spec.Project:
    """Each feature that says how a service is replaced, as each version of Compose printed it (recorded/front)."""
    return spec.parse(samples.text(f"front/{request.param}.config"))


def test_both_versions_of_compose_say_the_same_project() -> None:
    old, new = (spec.parse(samples.text(f"front/{version}.config")) for version in ("2.26.1", "2.40.3"))
    assert old == new
    assert list(old.services) == list(new.services)


def test_the_whole_policy_is_read_from_what_compose_prints(front: spec.Project) -> None:
    assert front.services["web"].policy == Policy(
        order="start_first",
        parallelism=2,
        delay=1.5,
        monitor=90.0,
        failure_action="pause",
        max_failure_ratio=0.34,
        timeout=300.0,
        stable=1.5,
        no_healthcheck="fail",
        discard_anonymous_volumes=True,
        shared=frozenset({"/srv/uploads"}),
        strict_dns=True,
        checks=(
            HttpCheck(
                port=8000,
                path="/health",
                status=(200, 204),
                json={"status": "ok", "n": [1, 2.5, None, "yes"]},
                headers={"X-Check": "$1"},
                timeout=2.0,
            ),
            TcpCheck(8000),
            ExecCheck(("test", "-e", "/tmp/a b"), timeout=3.0),
            ExecCheck(("pg_isready", "-q")),
        ),
        routes=(Route("proxy", "web", 8000),),
        drain_timeout=30.0,
        back=WayBack(parallelism=0, delay=2.0, monitor=5.0, failure_action="continue", order="stop_first"),
    )


def test_hooks_are_read_from_what_compose_prints(front: spec.Project) -> None:
    assert front.services["web"].post_start == (
        Hook(
            command=("echo", "hello ${WHO}", "twice"),
            user="root",
            privileged=True,
            working_dir="/srv",
            environment=("EMPTY=", "N=1", "UNSET", "WHO=you"),
        ),
        Hook(command=("sh", "-c", "true"), environment=("A=1", "FROM_HOST")),
    )
    assert front.services["web"].pre_stop == (Hook(command=("sleep", "1")),)
    # From the service that it extends.
    assert front.services["db"].post_start == (Hook(command=("sh", "-c", "echo up")),)


def test_services_of_every_kind_stand_in_order(front: spec.Project) -> None:
    assert list(front.services) == ["api", "cache", "db", "reader", "job", "dependant", "web", "proxy", "sidecar"]
    assert front.services["dependant"].replicas == 0
    assert front.services["db"].container_name == "front-database"
    assert [service.name for service in front.services.values() if service.one_shot] == ["job"]


def test_who_is_restarted_with_whom_and_bound_to_whom_is_read(front: spec.Project) -> None:
    assert {name: set(each.restarts_with) for name, each in front.services.items() if each.restarts_with} == {
        "web": {"cache", "db"},
        "dependant": {"job"},
        "sidecar": {"proxy"},
    }
    assert {name: set(each.bound_to) for name, each in front.services.items() if each.bound_to} == {
        "reader": {"cache", "db"},
        "sidecar": {"proxy"},
    }


def test_inline_files_stay_where_compose_put_them(front: spec.Project) -> None:
    assert front.config["configs"]["settings"]["content"] == "level $${X} 1\n"
    assert front.config["secrets"]["token"]["environment"] == "TOKEN"
    assert front.secret_files == ("/srv/front/files/k$y",)


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


def test_an_image_that_is_built_has_compose_s_own_name() -> None:
    text = core_yaml.dump({"name": "shop", "services": {"web": {"build": {"context": "/srv"}}}})
    assert spec.parse(text).services["web"].image == "shop-web"


def test_scale_goes_before_replicas() -> None:
    assert samples.service(scale=3, deploy={"replicas": 2}).replicas == 3
    assert samples.service(deploy={"replicas": 0}).replicas == 0


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


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            {"deploy": {"mode": "global"}},
            "services.web.deploy.mode: 'global' is not supported; allowed: replicated",
        ),
        ({"deploy": {"replicas": -1}}, "services.web.deploy.replicas: -1 is no count; allowed: 0 or more"),
        ({"scale": -1}, "services.web.scale: -1 is no count; allowed: 0 or more"),
        (
            {"container_name": "web", "deploy": {"replicas": 2}},
            "services.web.container_name: 2 containers cannot have one name; allowed: one replica, or no",
        ),
        (
            {"depends_on": {"web2": {"condition": "service_ready"}}},
            "services.web.depends_on.web2.condition: 'service_ready'; allowed: service_started, service_healthy, ",
        ),
    ],
)
def test_what_would_not_be_done_as_written_is_refused_by_its_name(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        samples.service(**config)
    assert str(refused.value).startswith(problem)


def test_a_fixed_name_is_right_for_one_container_or_none() -> None:
    assert samples.service(container_name="web").container_name == "web"
    assert samples.service(container_name="web", scale=0).container_name == "web"


@pytest.mark.parametrize(
    ("section", "key"), [("configs", "content"), ("configs", "environment"), ("secrets", "environment")]
)
def test_an_inline_file_needs_a_container_that_can_be_written_to(section: str, key: str) -> None:
    def parsed(**config: Any) -> spec.Project:
        service = {"image": "shop:1", section: [{"source": "it"}, {"source": "file"}], **config}
        sources = {"it": {key: "X"}, "file": {"file": "/srv/x"}, "unused": {key: "X"}}
        return spec.parse(core_yaml.dump({"name": "shop", "services": {"web": service}, section: sources}))

    assert parsed(read_only=False).services
    assert parsed(read_only=True, **{section: [{"source": "file"}]}).services
    with pytest.raises(SpecError) as refused:
        parsed(read_only=True)
    assert str(refused.value) == (
        f"services.web.{section}: it is written by {section}.it.{key} into a container that is read_only; "
        "allowed: file, or read_only: false"
    )


def test_everything_that_is_wrong_with_a_project_is_told_at_once() -> None:
    with pytest.raises(SpecError) as refused:
        samples.project(
            web={
                "deploy": {"mode": "global", "update_config": {"order": "sideways"}},
                "post_start": [{"command": []}],
                "x-rollout": {"stabel": "5s", "proxy": {"service": "gone", "upstream": "web", "port": 1}},
            },
            a={"depends_on": {"b": {}}},
            b={"depends_on": {"a": {}}, "restart": "sometimes"},
        )
    problems = str(refused.value).split("; services.")
    for field in ("deploy.mode", "update_config.order", "post_start[0].command", "stabel", "proxy.service"):
        assert field in str(refused.value)
    assert "services.b.restart: 'sometimes'; allowed: no, always, unless-stopped, on-failure" in str(refused.value)
    assert "a -> b -> a" in str(refused.value)
    assert len(problems) == 6


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"restart": "on-failure:x"}, "restart: 'on-failure:x'"),
        ({"restart": "sometimes"}, "restart: 'sometimes'"),
        ({"deploy": {"restart_policy": {"condition": "now"}}}, "deploy.restart_policy: {'condition': 'now'}"),
        ({"deploy": {"restart_policy": {"max_attempts": -1}}}, "deploy.restart_policy: {'max_attempts': -1}"),
    ],
)
def test_a_restart_policy_that_no_engine_has_is_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as refused:
        samples.service(**config)
    assert f"services.web.{field}; allowed: no, always, unless-stopped, on-failure" in str(refused.value)


def test_a_dependency_that_no_active_profile_holds_is_passed_over() -> None:
    project = samples.project(web={"depends_on": {"debugger": {"condition": "service_started", "required": False}}})
    assert project.dependencies("web") == ()


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
