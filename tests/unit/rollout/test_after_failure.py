# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure leaves: of runs that go on or stand still after one, and on the way back from a late one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import rollout
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import HttpCheck
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Route

from .simulation import GOOD, Host, Script, carry_out, plan_for, roll_out

NEVER_HEALTHY = Script(healthy_after=None)
DATA = [{"type": "volume", "source": "data", "target": "/data"}]
EDGE = {
    "image": "shop:1",
    "volumes": [{"type": "bind", "source": "/upstreams", "target": "/etc/nginx/upstreams", "read_only": True}],
}
ROUTE = Route("edge", "web", 80)
PROXY = {"proxy": {"service": "edge", "upstream": "web", "port": 80}}


def service(version: str = "1", **more: Any) -> dict[str, Any]:
    return {
        "image": "shop:1",
        "environment": {"VERSION": version},
        "restart": "always",
        "healthcheck": {"test": ["CMD", "true"]},
        **more,
    }


def reacts(action: str, count: int = 1, **update: Any) -> dict[str, Any]:
    return {"replicas": count, "update_config": {"failure_action": action, **update}}


def project(**services: dict[str, Any]) -> dict[str, Any]:
    return {"name": "shop", "services": services}


def names(host: Host, service: str) -> list[tuple[str, str]]:
    return [(machine.name, machine.status) for machine in host.of(service)]


def versions(host: Host, name: str) -> list[tuple[str, str]]:
    """Which hash stands for which version depends on the rest; so tell whether it is the committed one."""
    assert host.before is not None
    return [("old" if m.config_hash == host.before.hashes[name] else "new", m.status) for m in host.of(name)]


@pytest.fixture
def host() -> Host:
    return Host()


FRONT_DOOR = rollout.Extras(final_checks=(HttpCheck(url="http://127.0.0.1/"),))


def test_what_was_made_again_is_not_taken_for_a_new_one_when_the_run_fails_later(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        return project(web=service(version, container_name="web", deploy=reacts("continue")))

    roll_out(host, definition("1"))
    host.front_door_opens = 1e9
    ended = roll_out(host, definition("2"), {"web": [NEVER_HEALTHY]}, FRONT_DOOR)
    assert ended.outcome == "rolled_back", ended.message()
    assert names(host, "web") == [("web", "running")]


def test_a_proxy_that_was_made_again_stays_when_another_service_goes_back_after_it(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        edge = {**EDGE, "container_name": "edge", "environment": {"VERSION": version}}
        return project(edge=edge, web=service(version, **{"x-rollout": PROXY}))

    roll_out(host, definition("1"))
    made = plan_for(host, definition("2"), {})
    host.refuses_routes = "backup"
    ended = carry_out(host, made)
    assert ended.failure is not None
    assert ended.failure.reason == "proxy"
    assert names(host, "edge") == [("edge", "running")]


def test_an_engine_that_goes_while_something_is_made_again_costs_nothing(host: Host) -> None:
    web = {**service("1", container_name="web"), "x-rollout": {"timeout": 20}}
    roll_out(host, project(web=web))
    made = plan_for(host, project(web={**web, "environment": {"VERSION": "2"}}), {"web": [NEVER_HEALTHY, GOOD, GOOD]})

    def goes_when_made_again() -> None:
        if host.outage is None and host.born == 3 and host.of("web")[0].status == "running":
            host.outage = (host.time, host.time + 5)

    host.watchers.append(goes_when_made_again)
    ended = carry_out(host, made)
    assert ended.outcome == "rolled_back", ended.message()
    assert versions(host, "web") == [("old", "running")]


def test_a_container_that_could_not_be_removed_to_be_made_anew_is_started_again(host: Host) -> None:
    roll_out(host, project(web=service("1", container_name="web")))
    made = plan_for(host, project(web=service("2", container_name="web")), {})
    kept = set(host.machines)
    host.refuses_removal = True
    ended = carry_out(host, made)
    assert ended.outcome == "rolled_back", ended.message()
    assert set(host.machines) == kept
    assert versions(host, "web") == [("old", "running")]


def test_what_is_made_again_counts_what_it_depended_on_when_it_was_made(host: Host) -> None:
    def definition(version: str, **more: Any) -> dict[str, Any]:
        return project(db=service(version), web=service(version, container_name="web", **more))

    roll_out(host, definition("1", depends_on={"db": {"condition": "service_started"}}))
    ended = roll_out(host, definition("2"), {"web": [NEVER_HEALTHY, GOOD]})
    assert ended.outcome == "rolled_back", ended.message()
    assert versions(host, "web") == [("old", "running")]


def bound(version: str, action: str, count: int) -> dict[str, Any]:
    joined = {"owner": {"condition": "service_started", "restart": True}}
    return project(
        owner=service(version, deploy=reacts(action, count)),
        side={**service(version), "network_mode": "service:owner", "depends_on": joined},
    )


def test_a_container_that_was_not_put_aside_after_all_is_not_named_back(host: Host) -> None:
    roll_out(host, bound("1", "rollback", 1))
    made = plan_for(host, bound("2", "rollback", 1), {})
    host.refuses_names = True
    ended = carry_out(host, made)
    assert ended.outcome == "rolled_back", ended.message()
    assert [machine.status for machine in host.machines.values()] == ["running", "running"]
