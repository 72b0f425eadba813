# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure leaves: of runs that go on or stand still after one, and on the way back from a late one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import rollout
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import HttpCheck
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import EngineError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Route

from .machines import GOOD, GOOD_ONE_SHOT, Script
from .simulation import Host, carry_out, plan_for, roll_out

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


@pytest.mark.parametrize("action", ["continue", "pause"])
def test_a_recreated_container_whose_new_one_failed_is_back_and_the_run_goes_on(host: Host, action: str) -> None:
    def definition(version: str) -> dict[str, Any]:
        return project(web=service(version, container_name="web", deploy=reacts(action)))

    roll_out(host, definition("1"))
    ended = roll_out(host, definition("2"), {"web": [NEVER_HEALTHY, GOOD]})
    assert ended.outcome == ("partial" if action == "continue" else "paused"), ended.message()
    assert names(host, "web") == [("web", "running")]
    assert roll_out(host, definition("2")).outcome == "deployed"


def test_an_old_version_that_does_not_come_up_again_is_told_where_the_run_was_to_go_on(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        return project(web=service(version, container_name="web", deploy=reacts("continue")))

    roll_out(host, definition("1"))
    host.scripts_again = {"web": [NEVER_HEALTHY]}
    assert roll_out(host, definition("2"), {"web": [NEVER_HEALTHY]}).outcome == "dirty"


def test_what_was_made_again_is_not_taken_for_a_new_one_when_the_run_fails_later(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        return project(web=service(version, container_name="web", deploy=reacts("continue")))

    roll_out(host, definition("1"))
    host.front_door_opens = 1e9
    ended = roll_out(host, definition("2"), {"web": [NEVER_HEALTHY, GOOD]}, FRONT_DOOR)
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


def test_traffic_goes_to_the_old_container_where_the_run_goes_on_without_the_new_one(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        rollout = {**PROXY, "shared": []}
        web = service(version, volumes=DATA, deploy=reacts("continue", monitor="4s"), **{"x-rollout": rollout})
        return project(edge=EDGE, web=web)

    roll_out(host, definition("1"))
    # It passes its gate, gets traffic, and dies under the monitor.
    ended = roll_out(host, definition("2"), {"web": [Script(crashes_after=8.0)]})
    assert ended.outcome == "partial", ended.message()
    assert host.named(ROUTE) == ["shop-web-1", "web"]


def test_a_tag_still_names_the_new_image_for_the_services_after_the_one_that_failed(host: Host) -> None:
    def definition() -> dict[str, Any]:
        return project(
            a=service(volumes=DATA, deploy=reacts("continue")),
            b=service(),
            c=service(container_name="c", deploy=reacts("continue")),
            d=service(),
        )

    roll_out(host, definition())
    host.tags["shop:1"] = "sha256:new"
    ended = roll_out(host, definition(), {"a": [NEVER_HEALTHY], "c": [NEVER_HEALTHY, GOOD]})
    assert ended.outcome == "partial", ended.message()
    images = {name: host.of(name)[0].image_id for name in "abcd"}
    old = "sha256:shop:1"
    assert images == {"a": old, "b": "sha256:new", "c": old, "d": "sha256:new"}
    assert roll_out(host, definition()).outcome == "deployed"


@pytest.mark.parametrize("action", ["continue", "pause"])
def test_an_engine_that_says_nothing_at_the_end_does_not_hide_how_the_run_ended(host: Host, action: str) -> None:
    roll_out(host, project(web=service("1", deploy=reacts(action))))
    first = host.committed
    made = plan_for(host, project(web=service("2", deploy=reacts(action))), {"web": [NEVER_HEALTHY]})

    def goes_when_the_failed_one_is_removed() -> None:
        if "remove shop-web-2" in host.done and (action == "pause" or host.committed != first):
            host.outage = (host.time, 1e9)

    host.watchers.append(goes_when_the_failed_one_is_removed)
    assert carry_out(host, made).outcome == ("partial" if action == "continue" else "paused")


@pytest.mark.parametrize("action", ["continue", "pause"])
@pytest.mark.parametrize("volumes", [[], DATA])
def test_a_failed_container_whose_farewell_fails_too_is_stopped_all_the_same(
    host: Host, action: str, volumes: list[Any]
) -> None:
    def definition(version: str) -> dict[str, Any]:
        hook = [{"command": ["farewell"]}]
        return project(web=service(version, volumes=volumes, pre_stop=hook, deploy=reacts(action)))

    roll_out(host, definition("1"))
    ended = roll_out(host, definition("2"), {"web": [Script(healthy_after=None, fails_hook="farewell")]})
    assert ended.outcome == ("partial" if action == "continue" else "paused"), ended.message()
    assert names(host, "web") == [("shop-web-1", "running")]


def bound(version: str, action: str, count: int) -> dict[str, Any]:
    joined = {"owner": {"condition": "service_started", "restart": True}}
    return project(
        owner=service(version, deploy=reacts(action, count)),
        side={**service(version), "network_mode": "service:owner", "depends_on": joined},
    )


@pytest.mark.parametrize("action", ["continue", "pause"])
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_bound_to_a_container_that_keeps_its_place_serves_too(host: Host, action: str, count: int) -> None:
    roll_out(host, bound("1", action, count))
    ended = roll_out(host, bound("2", action, count), {"owner": [*[GOOD] * (count - 1), NEVER_HEALTHY]})
    assert ended.outcome == ("partial" if action == "continue" else "paused"), ended.message()
    assert names(host, "owner") == [(f"shop-owner-{number + 1}", "running") for number in range(count)]
    assert [machine.status for machine in host.of("side")] == ["running"]
    assert roll_out(host, bound("2", action, count)).outcome == "deployed"


def test_what_never_served_is_not_recorded_when_it_is_undone_with_what_it_is_bound_to(host: Host) -> None:
    data = [{"type": "volume", "source": "data", "target": "/data"}]

    def definition(version: str, bound_to_it: str) -> dict[str, Any]:
        made = bound(version, "continue", 1)
        made["services"]["owner"]["volumes"] = data
        return {**made, "services": {"owner": made["services"]["owner"], bound_to_it: made["services"]["side"]}}

    roll_out(host, definition("1", "side"))
    ended = roll_out(host, definition("2", "helper"), {"owner": [NEVER_HEALTHY]})
    assert ended.outcome == "partial", ended.message()
    assert host.before is not None
    assert set(host.before.project.services) == {"owner"}
    assert [machine.status for machine in host.of("side")] == ["running"]
    assert roll_out(host, definition("2", "helper")).outcome == "deployed"
    assert (names(host, "side"), len(host.of("helper"))) == ([], 1)


def test_a_one_shot_with_a_fixed_name_runs_again(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        needs = {"init": {"condition": "service_completed_successfully"}}
        init = {"image": "shop:1", "container_name": "init", "environment": {"VERSION": version}}
        return project(init=init, web=service(version, depends_on=needs))

    roll_out(host, definition("1"))
    assert roll_out(host, definition("2")).outcome == "deployed"
    ended = roll_out(host, definition("3"), {"init": [GOOD_ONE_SHOT], "web": [NEVER_HEALTHY]})
    assert ended.outcome == "rolled_back", ended.message()
    assert roll_out(host, definition("2")).failure is None


def test_a_container_that_was_not_put_aside_after_all_is_not_named_back(host: Host) -> None:
    roll_out(host, bound("1", "rollback", 1))
    made = plan_for(host, bound("2", "rollback", 1), {})
    host.refuses_names = True
    ended = carry_out(host, made)
    assert ended.outcome == "rolled_back", ended.message()
    assert [machine.status for machine in host.machines.values()] == ["running", "running"]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_unproven_gets_traffic_by_the_service_s_name_where_nothing_served(host: Host, count: int) -> None:
    def definition(version: str, replicas: int) -> dict[str, Any]:
        return project(edge=EDGE, web=service(version, deploy={"replicas": replicas}, **{"x-rollout": PROXY}))

    roll_out(host, definition("1", count))
    for machine in host.of("web"):
        host.stop(machine.id, 10)
    made = plan_for(host, definition("2", 1), {})

    def watch() -> None:
        unproven = any(m.status == "running" and m.serving_since is None for m in host.of("web"))
        assert not (unproven and "web" in host.named(ROUTE))

    host.watchers.append(watch)
    assert carry_out(host, made).outcome == "deployed"


def test_a_bad_one_gets_no_traffic_by_the_service_s_name_on_the_way_back(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        return project(edge=EDGE, web=service(version, **{"x-rollout": PROXY}))

    roll_out(host, definition("1"))
    host.upstreams[ROUTE] = by_name = "server web:80 resolve;\n"
    made = plan_for(host, definition("2"), {"web": [Script(healthy_after=None, stops_within=9.0)]})

    def watch() -> None:
        bad = any(m.status == "running" and m.serving_since is None for m in host.of("web"))
        assert not (bad and host.named(ROUTE) == ["web"] and host.signals.ignored)

    host.watchers.append(watch)
    assert carry_out(host, made).outcome == "rolled_back"
    assert host.upstreams[ROUTE] == by_name


def test_the_way_back_keeps_the_order_that_rollback_config_asks_for(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        deploy = {"update_config": {"order": "stop-first"}, "rollback_config": {"order": "start-first"}}
        return project(a=service(version, deploy=deploy), b=service(version))

    roll_out(host, definition("1"))
    host.done.clear()
    roll_out(host, definition("2"), {"b": [NEVER_HEALTHY]})
    assert host.done.index("start shop-a-1") < host.done.index("stop shop-a-2")


def test_a_pause_leaves_the_services_before_it_with_whole_upstream_files(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        last = service(version, deploy=reacts("pause"), depends_on={"web": {"condition": "service_started"}})
        return project(edge=EDGE, web=service(version, **{"x-rollout": PROXY}), z=last)

    roll_out(host, definition("1"))
    assert roll_out(host, definition("2"), {"z": [NEVER_HEALTHY]}).outcome == "paused"
    assert host.named(ROUTE) == ["shop-web-2", "web"]


def test_a_signal_is_heard_between_two_batches(host: Host) -> None:
    roll_out(host, project(web=service("1", deploy=reacts("rollback", 2, delay="1h"))))
    made = plan_for(host, project(web=service("2", deploy=reacts("rollback", 2, delay="1h"))), {})
    begun = host.time

    def signal_in_the_delay() -> None:
        host.signals.pending = host.signals.pending or host.time > begun + 60

    host.watchers.append(signal_in_the_delay)
    ended = carry_out(host, made)
    assert ended.outcome == "rolled_back"
    assert ended.seconds < 600


def test_what_is_bound_to_a_surplus_container_is_bound_to_another_one(host: Host) -> None:
    roll_out(host, bound("1", "rollback", 2))
    first = next(machine for machine in host.of("owner") if machine.number == 1)
    host.stop(first.id, 10)
    ended = roll_out(host, bound("1", "rollback", 1))
    assert ended.failure is None, ended.message()
    (owner,), (side,) = host.of("owner"), host.of("side")
    assert side.bound_to == {owner.id}


def test_the_way_back_goes_batch_by_batch_as_rollback_config_says(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        deploy = {"replicas": 3, "rollback_config": {"parallelism": 1}}
        return project(a=service(version, deploy=deploy), b=service(version))

    roll_out(host, definition("1"))
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, sum(machine.status == "running" for machine in host.of("a")))

    made = plan_for(host, definition("2"), {"b": [NEVER_HEALTHY]})
    host.watchers.append(count)
    assert carry_out(host, made).outcome == "rolled_back"
    assert most == 4
    assert names(host, "a") == [(f"shop-a-{number}", "running") for number in (1, 2, 3)]


def group(version: str, sides: int, **owner: Any) -> dict[str, Any]:
    """Two services bound to a third; the second one's count is `sides`."""
    joined = {"owner": {"condition": "service_started", "restart": True}}
    bound_to = {"network_mode": "service:owner", "depends_on": joined}
    return project(
        owner=service(version, volumes=DATA, **owner),
        first=service(version, **bound_to, deploy=reacts("continue")),
        second=service("1", **bound_to, deploy={"replicas": sides}),
    )


def test_what_is_undone_together_stays_old_as_a_whole_where_the_run_goes_on(host: Host) -> None:
    roll_out(host, group("1", sides=0))
    ended = roll_out(host, group("2", sides=1), {"first": [Script(crashes_after=0.3)]})
    assert ended.outcome == "partial", ended.message()
    assert versions(host, "owner") == versions(host, "first") == [("old", "running")]
    assert names(host, "owner") == [("shop-owner-1", "running")]
    assert host.of("second") == []
    assert roll_out(host, group("2", sides=1)).outcome == "deployed"
    assert [machine.status for machine in host.of("second")] == ["running"]


def test_what_was_to_go_is_bound_to_the_one_that_was_made_again(host: Host) -> None:
    roll_out(host, group("1", sides=1, container_name="owner"))
    ended = roll_out(host, group("2", sides=0, container_name="owner"), {"owner": [NEVER_HEALTHY, GOOD]})
    assert ended.outcome == "rolled_back", ended.message()
    (owner,) = host.of("owner")
    assert [(machine.bound_to, machine.status) for machine in host.of("second")] == [({owner.id}, "running")]


def three(version: str, **a: Any) -> dict[str, Any]:
    """Three containers that go back one at a time when the service after theirs fails."""
    deploy = {"replicas": 3, "rollback_config": {"parallelism": 1}, **a.pop("deploy", {})}
    last = service(version, depends_on={"a": {"condition": "service_started"}})
    return project(edge=EDGE, a=service(version, deploy=deploy, **a), b=last)


@pytest.mark.parametrize("when", ["start shop-a-1", "stop shop-a-4", "start shop-a-2"])
def test_an_engine_that_goes_between_two_batches_of_the_way_back_costs_none_that_serves(host: Host, when: str) -> None:
    roll_out(host, three("1"))
    made = plan_for(host, three("2"), {"b": [NEVER_HEALTHY]})
    host.done.clear()
    least = 3

    def watch() -> None:
        nonlocal least
        if host.outage is None and host.signals.ignored and when in host.done:
            host.outage = (host.time + 0.01, host.time + 5)
        least = min(least, sum(m.serving_since is not None and m.status == "running" for m in host.of("a")))

    host.watchers.append(watch)
    assert carry_out(host, made).outcome == "rolled_back"
    assert host.outage is not None
    assert least == 3


def test_a_new_one_that_does_not_stop_keeps_no_old_one_from_coming_back(host: Host) -> None:
    roll_out(host, three("1"))
    made = plan_for(host, three("2"), {"b": [NEVER_HEALTHY]})
    stop = host.stop

    def refuse(container_id: str, grace: int) -> None:
        if host.signals.ignored and host.machines[container_id].name == "shop-a-4":
            raise EngineError("stop a container: it did not exit")
        stop(container_id, grace)

    host.stop = refuse
    assert carry_out(host, made).outcome == "dirty"
    old = [status for name, status in names(host, "a") if name in ("shop-a-1", "shop-a-2", "shop-a-3")]
    assert old == ["running"] * 3


A_ROUTE = Route("edge", "a", 80)
A_PROXY = {"proxy": {"service": "edge", "upstream": "a", "port": 80}}


@pytest.mark.parametrize("order", ["start-first", "stop-first"])
def test_between_two_batches_of_the_way_back_the_proxy_names_what_runs(host: Host, order: str) -> None:
    def definition(version: str) -> dict[str, Any]:
        return three(version, deploy={"update_config": {"order": order}}, **{"x-rollout": A_PROXY})

    roll_out(host, definition("1"))
    made = plan_for(host, definition("2"), {"b": [NEVER_HEALTHY]})
    named: list[list[str]] = []
    stopped: set[str] = set()

    def watch() -> None:
        route = next((deed for deed in reversed(host.done) if deed.startswith("route a ")), "")
        if host.signals.ignored and host.done[-1] == route:
            named.append(host.named(A_ROUTE))
            stopped.update(m.name for m in host.of("a") if m.status != "running" and m.name in host.named(A_ROUTE))

    host.watchers.append(watch)
    assert carry_out(host, made).outcome == "rolled_back"
    assert len(named) > 1
    assert stopped == set()


def test_the_whole_way_back_of_a_service_drains_for_its_time_once(host: Host) -> None:
    def definition(version: str) -> dict[str, Any]:
        return three(version, **{"x-rollout": {**A_PROXY, "drain_timeout": "100s"}})

    roll_out(host, definition("1"))
    made = plan_for(host, definition("2"), {"b": [NEVER_HEALTHY]})
    began: list[float] = []

    def connections_that_stay() -> None:
        if host.signals.ignored and not began:
            began.append(host.time)
            host.connections_last = 1e6

    host.watchers.append(connections_that_stay)
    ended = carry_out(host, made)
    assert ended.outcome == "rolled_back"
    assert host.time - began[0] < 150
    assert sum("still served old connections" in note for note in ended.notes) == 1


def restarting(version: str, action: str) -> dict[str, Any]:
    """A service that restarts with the database, and one in its namespace."""
    with_it = {"condition": "service_started", "restart": True}
    return project(
        db=service(version, volumes=DATA),
        owner=service("1", depends_on={"db": with_it}, deploy=reacts(action), **{"x-rollout": {"timeout": 20}}),
        side={**service("1"), "network_mode": "service:owner", "depends_on": {"owner": with_it}},
    )


@pytest.mark.parametrize("action", ["rollback", "continue"])
def test_what_lives_in_the_namespace_of_one_that_restarted_in_vain_restarts_after_it(host: Host, action: str) -> None:
    roll_out(host, restarting("1", action))
    made = plan_for(host, restarting("2", action), {})
    host.of("owner")[0].script = Script(healthy_after=40.0)
    host.done.clear()
    ended = carry_out(host, made)
    assert ended.outcome == ("rolled_back" if action == "rollback" else "partial"), ended.message()
    last = {name: len(host.done) - host.done[::-1].index(f"start shop-{name}-1") for name in ("owner", "side")}
    assert last["owner"] < last["side"]


def test_what_stays_old_with_another_service_is_told_and_keeps_its_timing(host: Host) -> None:
    roll_out(host, group("1", sides=0))
    ended = roll_out(host, group("2", sides=0), {"first": [Script(crashes_after=0.3)]})
    assert ended.notes == ("owner stays as it was: it is undone together with first, which failed",)
    assert [step["new"] for step in ended.services if step["service"] in ("owner", "first")] == [[], []]
