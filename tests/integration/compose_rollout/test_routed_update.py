# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole rollouts of a service behind nginx, and what its clients see of them: nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Route
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.proxy import render, servers

from .front import PORT, Site, Traffic, application, front
from .project import Project

WEB = Route("nginx", "web", PORT)
ROLLOUT = {
    "proxy": {"service": "nginx", "upstream": "web", "port": PORT},
    "checks": [{"http": {"port": PORT, "path": "/"}}],
    "drain_timeout": "30s",
}


@pytest.fixture
def services(nginx: str) -> Callable[..., dict[str, Any]]:
    """Give the project's services in some version; `keys` are more of the service behind nginx."""

    def of_version(version: str, **keys: Any) -> dict[str, Any]:
        web = application(nginx, environment={"VERSION": version}, **{"x-rollout": ROLLOUT, **keys})
        return {"web": web, "nginx": front(nginx, depends_on=["web"])}

    return of_version


def serving(site: Site) -> set[str]:
    (address,) = site.addresses()
    return {site.ask(address) for _try in range(20)}


def ids(project: Project) -> set[str]:
    return {container.id[:12] for container in project.containers("web", running=True)}


def test_the_first_deploy_routes_and_an_update_loses_nothing(
    project: Project, services: Callable[..., dict[str, Any]]
) -> None:
    site = Site(project)
    site.write(services("1", deploy={"replicas": 2}))
    project.deploy()
    assert site.read() == render(WEB, "web", project.names("web"), settled=True)
    old = ids(project)
    site.write(services("2", deploy={"replicas": 2}))
    with Traffic().to(site.addresses()[0]) as traffic:
        result = project.deploy()
    assert traffic.lost == []
    assert traffic.answered > 1000
    assert result["outcome"] == "deployed"
    assert site.read() == render(WEB, "web", project.names("web"), settled=True)
    assert not ids(project) & old
    assert serving(site) == ids(project)


def test_a_second_run_leaves_the_proxy_alone(project: Project, services: Callable[..., dict[str, Any]]) -> None:
    site = Site(project)
    site.write(services("1"))
    project.deploy()
    before = site.container("nginx-1").top()["Processes"]
    assert project.deploy()["outcome"] == "unchanged"
    assert [row[1] for row in site.container("nginx-1").top()["Processes"]] == [row[1] for row in before]


def test_a_version_that_fails_its_check_never_serves_and_loses_nothing(
    project: Project, services: Callable[..., dict[str, Any]]
) -> None:
    site = Site(project)
    site.write(services("1"))
    project.deploy()
    old, before = ids(project), site.read()
    bad = {**ROLLOUT, "timeout": "3s", "checks": [{"http": {"port": PORT, "path": "/", "status": 418}}]}
    site.write(services("2", **{"x-rollout": bad}))
    with Traffic().to(site.addresses()[0]) as traffic:
        result = project.roll_out()
    assert traffic.lost == []
    assert result["outcome"] == "rolled_back"
    assert result["failure"]["reason"] == "check"
    assert site.read() == before
    assert serving(site) == ids(project) == old


def test_a_host_of_the_version_before_goes_over_without_a_loss(
    project: Project, services: Callable[..., dict[str, Any]]
) -> None:
    site = Site(project)
    before = {key: value for key, value in ROLLOUT.items() if key == "checks"}
    site.write(services("1", **{"x-rollout": before}))
    site.put(f"# Made once by a role.\nserver web:{PORT} resolve max_fails=2 fail_timeout=5s;\n")
    project.deploy()
    site.write(services("2"))
    proxy = site.container("nginx-1").id
    with Traffic().to(site.addresses()[0]) as traffic:
        project.deploy()
    assert traffic.lost == []
    assert site.read() == render(WEB, "web", [site.name("web-2")], settled=True)
    assert site.container("nginx-1").id == proxy
    assert serving(site) == ids(project)


def test_a_service_that_only_gets_a_proxy_is_not_replaced(
    project: Project, services: Callable[..., dict[str, Any]]
) -> None:
    site = Site(project)
    site.write(services("1", **{"x-rollout": {"stable": "0s"}}))
    site.put(f"server web:{PORT} resolve;\n")
    project.deploy()
    before = project.ids()
    site.write(services("1"))
    assert project.deploy().service("web")["action"] == "route"
    assert project.ids() == before
    assert servers(site.read()) == (site.name("web-1"),)


def test_scaling_both_ways_loses_nothing(project: Project, services: Callable[..., dict[str, Any]]) -> None:
    site = Site(project)
    site.write(services("1"))
    project.deploy()
    with Traffic().to(site.addresses()[0]) as traffic:
        for replicas in (3, 1):
            site.write(services("1", deploy={"replicas": replicas}))
            project.deploy()
            assert len(project.names("web")) == replicas
            assert site.read() == render(WEB, "web", project.names("web"), settled=True)
    assert traffic.lost == []


def test_a_proxy_that_refuses_ends_the_rollout_with_its_own_words(
    project: Project, services: Callable[..., dict[str, Any]]
) -> None:
    site = Site(project)
    site.write(services("1"))
    project.deploy()
    old, before = ids(project), site.read()
    # It can be tested, but not told: its process number is lost.
    site.container("nginx-1").exec_run(["rm", "/tmp/nginx.pid"])
    site.write(services("2"))
    result = project.roll_out()
    assert result["failure"]["reason"] == "proxy"
    assert "nginx-1 could not be reloaded" in result["msg"]
    assert ids(project) == old
    assert site.read() == before


def test_a_route_that_cannot_work_is_refused_before_anything_changes(
    project: Project, services: Callable[..., dict[str, Any]]
) -> None:
    site = Site(project)
    site.write(services("1"))
    project.deploy()
    before = project.objects()
    elsewhere = {**ROLLOUT, "proxy": {**ROLLOUT["proxy"], "upstream": "api"}}
    site.put("", "api")
    site.write(services("2", **{"x-rollout": elsewhere}))
    result = project.roll_out()
    assert "does not read /etc/nginx/upstreams/api.conf" in result["msg"]
    unmounted = {**ROLLOUT, "proxy": {**ROLLOUT["proxy"], "directory": "/srv"}}
    site.write(services("2", **{"x-rollout": unmounted}))
    assert "no directory of this host is mounted at /srv" in project.roll_out()["msg"]
    assert project.objects() == before
