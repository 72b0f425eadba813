# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who routes to a service, and which routes do not fit together."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import route_spec, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Route

from . import samples

MOUNTED = {"volumes": [{"type": "bind", "source": "/srv/up$$", "target": "/etc/nginx/upstreams/"}]}


def routed(proxy: Any, **config: Any) -> dict[str, Any]:
    return {"x-rollout": {"proxy": proxy}, **config}


def refused(**services: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as error:
        samples.project(**services)
    return str(error.value)


@pytest.mark.parametrize(
    ("proxy", "routes"),
    [
        ({"service": "nginx", "upstream": "web", "port": 80}, (Route("nginx", "web", 80),)),
        (
            {"service": "nginx", "upstream": "a.b_c-1", "port": 80, "directory": "/etc/nginx/conf.d/"},
            (Route("nginx", "a.b_c-1", 80, "/etc/nginx/conf.d"),),
        ),
        (
            [{"service": "nginx", "upstream": "a", "port": 1}, {"service": "edge", "upstream": "a", "port": 1}],
            (Route("nginx", "a", 1), Route("edge", "a", 1)),
        ),
        ([], ()),
        (None, ()),
    ],
)
def test_a_service_may_have_several_routes(proxy: Any, routes: tuple[Route, ...]) -> None:
    project = samples.project(web=routed(proxy), nginx={}, edge={})
    assert project.services["web"].policy.routes == routes


@pytest.mark.parametrize(
    ("offers", "port"),
    [
        ({"expose": ["8000"]}, 8000),
        ({"expose": ["8000/tcp", "8000", "53/udp"]}, 8000),
        ({"expose": ["8000-8000"]}, 8000),
        ({"ports": [{"target": 80, "published": "8080", "protocol": "tcp"}]}, 80),
        ({"ports": [{"target": 80}, {"target": 53, "protocol": "udp"}], "expose": ["80"]}, 80),
    ],
)
def test_the_one_port_of_a_service_needs_no_word(offers: dict[str, Any], port: int) -> None:
    project = samples.project(web=routed({"service": "nginx", "upstream": "web"}, **offers), nginx={})
    assert project.services["web"].policy.routes == (Route("nginx", "web", port),)


@pytest.mark.parametrize(
    ("offers", "why"),
    [
        ({}, "the service exposes none"),
        ({"expose": ["53/udp"]}, "the service exposes none"),
        ({"expose": ["80", "443"]}, "the service offers 80, 443"),
        ({"expose": ["8000-8003"]}, "the service offers 8000, 8003"),
        ({"ports": [{"target": 80}], "expose": ["81"]}, "the service offers 80, 81"),
    ],
)
def test_a_port_that_is_not_plain_has_to_be_named(offers: dict[str, Any], why: str) -> None:
    problem = refused(web=routed({"service": "nginx", "upstream": "web"}, **offers), nginx={})
    assert problem == (
        f"services.web.x-rollout.proxy.port: missing, and {why}; name the one that the proxy sends traffic to"
    )


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("nginx", ".proxy: must be a mapping with the keys service, upstream, port, directory"),
        ([None], ".proxy[0].service: missing"),
        ([{"service": "nginx", "port": 1}], ".proxy[0].upstream: missing"),
        ({"upstream": "web", "port": 1}, ".proxy.service: missing"),
        ({"service": "nginx", "upstream": "../web", "port": 1}, ".proxy.upstream: '../web'; allowed: letters, digits,"),
        ({"service": "nginx", "upstream": ".web", "port": 1}, ".proxy.upstream: '.web'; allowed: letters, digits,"),
        ({"service": "nginx", "upstream": "web", "port": 0}, ".proxy.port: 0; allowed: 1 to 65535"),
        ({"service": "nginx", "upstream": "web", "port": 1, "directory": "up"}, ".proxy.directory: 'up'; allowed: an"),
        ({"service": "nginx", "upsteam": "web", "port": 1}, ".proxy.upsteam: unknown, perhaps upstream is meant;"),
    ],
)
def test_a_wrong_route_is_refused_by_its_field(proxy: Any, problem: str) -> None:
    assert f"services.web.x-rollout{problem}" in refused(web=routed(proxy), nginx={})


def test_a_proxy_has_to_be_a_service_of_the_project() -> None:
    assert refused(web=routed({"service": "ngnix", "upstream": "web", "port": 1}), nginx={}, db={}) == (
        "services.web.x-rollout.proxy.service: 'ngnix' is no service of the project, or not of its active profiles; "
        "allowed: nginx, db"
    )


def test_a_service_is_not_its_own_proxy() -> None:
    assert refused(web=routed({"service": "web", "upstream": "web", "port": 1})) == (
        "services.web.x-rollout.proxy.service: web cannot route to itself; allowed: another service"
    )


@pytest.mark.parametrize(
    ("nginx", "edge", "of_web", "of_api"),
    [
        # The same file in the same proxy.
        ({}, {}, {"service": "nginx"}, {"service": "nginx"}),
        ({}, {}, {"service": "nginx"}, {"service": "nginx", "directory": "/etc/nginx/./upstreams"}),
        # One directory of the host, mounted by two proxies.
        (MOUNTED, MOUNTED, {"service": "nginx"}, {"service": "edge"}),
    ],
)
def test_an_upstream_file_has_one_service(
    nginx: dict[str, Any], edge: dict[str, Any], of_web: dict[str, Any], of_api: dict[str, Any]
) -> None:
    same = {"upstream": "app", "port": 80}
    problem = refused(nginx=nginx, edge=edge, api=routed({**of_api, **same}), web=routed({**of_web, **same}))
    assert problem == (
        f"services.web.x-rollout.proxy.upstream: /etc/nginx/upstreams/app.conf of {of_web['service']} is already that "
        "of services.api; give each its own upstream"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"service": "nginx", "port": 80}, {"service": "nginx", "port": 80}),
        ({"service": "nginx", "port": 80}, {"service": "edge", "port": 81}),
    ],
)
def test_an_upstream_file_has_one_route_of_a_service(first: dict[str, Any], second: dict[str, Any]) -> None:
    proxy = [{"upstream": "app", **first}, {"upstream": "app", **second}]
    assert "give each its own upstream" in refused(web=routed(proxy), nginx=MOUNTED, edge=MOUNTED)


def test_two_proxies_may_read_one_upstream_file_of_one_service() -> None:
    proxy = [{"service": name, "upstream": "app", "port": 80} for name in ("nginx", "edge")]
    assert len(samples.project(web=routed(proxy), nginx=MOUNTED, edge=MOUNTED).services["web"].policy.routes) == 2


def test_equal_upstreams_in_different_proxies_are_different_files() -> None:
    def route(proxy: str) -> dict[str, Any]:
        return routed({"service": proxy, "upstream": "app", "port": 80})

    assert samples.project(web=route("nginx"), api=route("edge"), nginx={}, edge={})


def test_a_proxy_and_its_service_need_a_network_in_common() -> None:
    web = routed({"service": "nginx", "upstream": "web", "port": 1}, networks={"back": None, "data": None})
    assert samples.project(web=web, nginx={"networks": {"data": None, "front": None}})
    assert refused(web=web, nginx={"networks": {"front": None}}) == (
        "services.web.x-rollout.proxy: web and nginx have no network in common; put one of back, data to both"
    )


def test_a_service_without_a_name_in_docker_s_dns_cannot_be_routed_to() -> None:
    web = routed({"service": "nginx", "upstream": "web", "port": 1}, network_mode="host")
    assert "with network_mode host; allowed: networks" in refused(web=web, nginx={})


def test_a_one_shot_is_neither_routed_to_nor_asked() -> None:
    job = {"x-rollout": {"proxy": {"service": "web", "upstream": "a", "port": 1}, "checks": [{"tcp": {"port": 1}}]}}
    web = {"depends_on": {"job": {"condition": "service_completed_successfully"}}}
    problem = refused(job=job, web=web, other={})
    assert "services.job.x-rollout.proxy: not for a service that runs to its end" in problem
    assert "services.job.x-rollout.checks: not for a service that runs to its end" in problem


def test_a_proxied_service_is_rolled_out_before_its_proxy_which_depends_on_nothing() -> None:
    project = samples.project(web=routed({"service": "a_proxy", "upstream": "web", "port": 1}), a_proxy={})
    assert list(project.services) == ["web", "a_proxy"]
    assert project.dependencies("a_proxy") == ()


def test_a_service_that_depends_on_its_proxy_goes_in_a_circle() -> None:
    web = routed({"service": "nginx", "upstream": "web", "port": 1}, depends_on={"auth": {}})
    assert refused(web=web, auth={"depends_on": {"nginx": {}}}, nginx={}) == (
        "depends_on and x-rollout.proxy go in a circle: auth -> nginx -> web -> auth "
        "(nginx is rolled out after web, which it routes to)"
    )


def test_the_host_s_directory_of_upstream_files_is_known() -> None:
    def found(proxy: dict[str, Any]) -> str | None:
        return route_spec.host_directory(proxy, "/etc/nginx/upstreams")

    assert found(MOUNTED) == "/srv/up$"
    assert found({}) is None
    assert found({"volumes": [{"type": "volume", "source": "v", "target": "/etc/nginx/upstreams"}]}) is None


def test_the_ports_of_a_service_are_read_as_compose_writes_them() -> None:
    project = spec.parse(samples.text("front/2.40.3.config"))
    assert project.services["web"].policy.routes == (Route("proxy", "web", 8000),)
    assert project.services["api"].policy.routes == (Route("proxy", "api", 8283), Route("proxy", "api_admin", 9000))
