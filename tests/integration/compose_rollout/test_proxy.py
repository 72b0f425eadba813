# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real nginx is switched between containers, and its clients do not notice."""

from __future__ import annotations

import http.client

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import ProxyError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Route
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.proxy import render

from .front import LONG, PORT, Site, Traffic, application, front
from .project import Project, wait_for

WEB = Route("nginx", "web", PORT)
API = Route("nginx", "api", PORT)
# As the role agentfleet.letta.nginx made it before rollouts switched it.
FIRST = f"# Made once.\nserver web:{PORT} resolve max_fails=2 fail_timeout=5s;\n"


@pytest.fixture
def site(project: Project, nginx: str) -> Site:
    """Three containers of `web`, the first of which serves."""
    made = Site(project)
    made.write({"web": application(nginx, scale=3), "nginx": front(nginx)})
    made.put(render(WEB, "web", [made.name("web-1")], settled=False))
    made.up()
    return made


def workers(site: Site, container: str = "nginx-1") -> set[str]:
    rows = site.container(container).top(ps_args="-eo pid,args")["Processes"]
    return {row[0] for row in rows if "worker process" in row[1]}


def test_switches_under_traffic_lose_nothing_and_the_drained_may_die(site: Site) -> None:
    (address,) = site.addresses()
    with Traffic().to(address) as traffic:
        for number in (2, 3, 1, 3):
            before = site.ask(address)
            site.switch(WEB, render(WEB, "web", [site.name(f"web-{number}")], settled=False))
            assert site.ask(address) == site.container(f"web-{number}").id[:12]
            old = site.project.engine.containers.get(before)
            # It is killed, with whatever it serves.
            old.stop()
            old.start()
    assert traffic.lost == []
    assert traffic.answered > 1000


def test_the_service_itself_comes_back_behind_its_containers_and_nothing_is_lost(site: Site) -> None:
    (address,) = site.addresses()
    names = [site.name(f"web-{number}") for number in (1, 2, 3)]
    with Traffic().to(address) as traffic:
        site.switch(WEB, render(WEB, "web", names, settled=True))
        site.switch(WEB, render(WEB, "web", names[:1], settled=False))
    assert traffic.lost == []
    assert site.read() == render(WEB, "web", names[:1], settled=False)


def test_a_host_whose_file_names_the_service_goes_over_without_a_loss(project: Project, nginx: str) -> None:
    site = Site(project)
    site.write({"web": application(nginx), "nginx": front(nginx)})
    site.put(FIRST)
    site.up()
    (address,) = site.addresses()
    with Traffic().to(address) as traffic:
        site.switch(WEB, render(WEB, "web", [site.name("web-1")], settled=False))
        # Unproven: Docker's DNS knows it at once under the service's name.
        site.project.compose("up", "--detach", "--scale", "web=2", "--no-recreate")
        second = site.container("web-2")
        seen = {site.ask(address) for _try in range(50)}
        assert second.id[:12] not in seen
        site.switch(WEB, render(WEB, "web", [site.name("web-2")], settled=False))
        site.container("web-1").stop()
        site.switch(WEB, render(WEB, "web", [site.name("web-2")], settled=True))
    assert traffic.lost == []


def test_a_file_that_nginx_refuses_changes_nothing(site: Site) -> None:
    before, served = site.read(), workers(site)
    with pytest.raises(
        ProxyError, match=r'nginx-1 refuses its configuration: unknown directive "serveur" in .*web\.conf'
    ):
        site.router.switch(WEB, "serveur web-2;\n")
    assert site.read() == before
    assert workers(site) == served
    assert list((site.project.directory / "upstreams").iterdir()) == [site.project.directory / "upstreams/web.conf"]


def test_a_file_that_nginx_does_not_read_is_no_switch(site: Site) -> None:
    with pytest.raises(ProxyError, match=r"nginx-1 does not read /etc/nginx/upstreams/api\.conf"):
        site.router.switch(API, render(API, "web", [site.name("web-2")], settled=False))
    assert not (site.project.directory / "upstreams" / "api.conf").exists()


def test_a_long_answer_ends_where_it_began(site: Site) -> None:
    connection = http.client.HTTPConnection(site.addresses()[0], timeout=30)
    connection.request("GET", "/long", headers={"Connection": "close"})
    answer = connection.getresponse()
    first = answer.read(100)
    switched = site.router.switch(WEB, render(WEB, "web", [site.name("web-2")], settled=False))
    wait_for("one worker is left to serve", lambda: site.router.drained(switched) == 1)
    assert len(first + answer.read()) == LONG
    wait_for("it ends with its answer", lambda: site.router.drained(switched) == 0)


def test_what_a_proxy_served_ends_with_it(site: Site) -> None:
    connection = http.client.HTTPConnection(site.addresses()[0], timeout=30)
    connection.request("GET", "/long")
    connection.getresponse().read(100)
    switched = site.router.switch(WEB, render(WEB, "web", [site.name("web-2")], settled=False))
    assert site.router.drained(switched) > 0
    site.container("nginx-1").stop()
    assert site.router.drained(switched) == 0


def test_each_upstream_of_a_proxy_is_switched_by_itself(project: Project, nginx: str) -> None:
    site = Site(project, upstreams=("web", "api"))
    site.write({"web": application(nginx, scale=2), "api": application(nginx), "nginx": front(nginx)})
    site.put(render(WEB, "web", [site.name("web-1")], settled=True))
    site.put(render(API, "api", [site.name("api-1")], settled=True), "api")
    site.up()
    other = site.read("api")
    with Traffic().to(site.addresses("api")[0]) as traffic:
        site.switch(WEB, render(WEB, "web", [site.name("web-2")], settled=True))
    assert traffic.lost == []
    assert site.ask(site.addresses("web")[0]) == site.container("web-2").id[:12]
    assert site.ask(site.addresses("api")[0]) == site.container("api-1").id[:12]
    assert site.read("api") == other


def test_all_containers_of_a_proxy_are_switched(project: Project, nginx: str) -> None:
    site = Site(project)
    # Under an init process nginx is not the first one.
    site.write({"web": application(nginx, scale=2), "nginx": front(nginx, scale=2, init=True)})
    site.put(render(WEB, "web", [site.name("web-1")], settled=True))
    site.up()
    first, second = site.addresses()
    with Traffic().to(first) as one, Traffic().to(second) as two:
        site.switch(WEB, render(WEB, "web", [site.name("web-2")], settled=True))
        assert {site.ask(address) for address in (first, second)} == {site.container("web-2").id[:12]}
    assert one.lost + two.lost == []


def test_one_proxy_that_refuses_keeps_all_where_they_are(project: Project, nginx: str) -> None:
    site = Site(project)
    site.write({"web": application(nginx, scale=2), "nginx": front(nginx, scale=2)})
    site.put(render(WEB, "web", [site.name("web-1")], settled=True))
    site.up()
    # One that can be tested, but not told: its process number is lost.
    site.container("nginx-2").exec_run(["rm", "/tmp/nginx.pid"])
    before = site.read()
    with pytest.raises(ProxyError, match=r"nginx-2 could not be reloaded: .*nginx\.pid"):
        site.router.switch(WEB, render(WEB, "web", [site.name("web-2")], settled=True))
    assert site.read() == before
    for address in site.addresses():
        wait_for(
            "the first one serves again", lambda address=address: site.ask(address) == site.container("web-1").id[:12]
        )


def test_after_others_made_the_containers_anew_the_site_answers_by_the_services_name(
    project: Project, nginx: str
) -> None:
    site = Site(project)
    site.write({"web": application(nginx), "nginx": front(nginx)})
    site.put(render(WEB, "web", [site.name("web-1")], settled=True))
    site.up()
    site.project.compose("down")
    # Compose begins to count at 1 again; a rollout had counted on.
    site.put(render(WEB, "web", [site.name("web-7"), site.name("web-8")], settled=True))
    site.up()
    (address,) = site.addresses()
    assert site.ask(address) == site.container("web-1").id[:12]
    with Traffic().to(address) as traffic:
        site.switch(WEB, render(WEB, "web", [site.name("web-1")], settled=False))
    assert traffic.lost == []


def test_without_a_proxy_that_runs_there_is_only_the_file(project: Project, nginx: str) -> None:
    site = Site(project)
    site.write({"web": application(nginx), "nginx": front(nginx)})
    (project.directory / "upstreams").rmdir()
    assert site.router.current(WEB) is None
    switched = site.router.switch(WEB, render(WEB, "web", [], settled=True))
    assert site.router.drained(switched) == 0
    assert site.router.current(WEB) == site.read() == render(WEB, "web", [], settled=True)
    assert (project.directory / "upstreams/web.conf").stat().st_mode & 0o777 == 0o644


def test_a_proxy_that_can_be_switched_is_found_fine(site: Site) -> None:
    web = site.spec.services["web"]
    found = site.router.examine(web, WEB)
    assert found.problems == ()
    # 60 s of the configuration beside the default of drain_timeout.
    (warning,) = found.warnings
    assert "worker_shutdown_timeout" in warning


def test_what_keeps_a_route_from_working_is_found_before_anything_changes(site: Site) -> None:
    web = site.spec.services["web"]
    (unmounted,) = site.router.examine(web, Route("nginx", "web", PORT, "/srv/upstreams")).problems
    assert unmounted.startswith("services.nginx.volumes: no directory of this host is mounted at /srv/upstreams")
    site.put("", "api")
    (unread,) = site.router.examine(web, API).problems
    assert "does not read /etc/nginx/upstreams/api.conf" in unread
    site.put("serveur;")
    (refused,) = site.router.examine(web, WEB).problems
    assert 'refuses its configuration: unknown directive "serveur"' in refused
