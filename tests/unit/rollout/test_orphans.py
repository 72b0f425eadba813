# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stories of orphans on a simulated host: which make way, when, and that they serve again."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import EngineError

from .machines import Script
from .simulation import Host, Killed, carry_out, plan_for, roll_out
from .test_rollout import CRASHES, after, checked, database, project

DATA = [{"type": "volume", "source": "data", "target": "/data"}]


@pytest.fixture
def host() -> Host:
    return Host()


def test_an_orphan_goes_at_the_end(host: Host) -> None:
    roll_out(host, project(a=checked(), b=checked()))
    after(host, project(a=checked("2")))
    assert host.done[-3:] == ["stop shop-b-1", "remove shop-b-1", "remove shop-a-1"]


def test_an_orphan_stays_when_the_run_fails(host: Host) -> None:
    roll_out(host, project(a=checked(), b=checked()))
    after(host, project(a=checked("2")), a=[CRASHES])
    assert host.of("b")[0].status == "running"


def front(host_ip: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    return checked(ports=[{"target": 80, "published": "8283", "host_ip": host_ip, "protocol": "tcp"}], **more)


def test_an_orphan_with_the_port_of_a_new_service_makes_way_when_that_is_about_to_start(host: Host) -> None:
    roll_out(host, project(a=checked(), nginx=front()))
    assert after(host, project(a=checked("2"), web=front())).outcome == "deployed"
    assert host.done[:2] == ["create shop-a-2", "start shop-a-2"]
    assert host.done[3:] == [
        *("create shop-web-1", "stop shop-nginx-1", "start shop-web-1", "remove shop-nginx-1", "remove shop-a-1"),
    ]


def test_an_orphan_that_made_way_serves_again_when_the_run_fails(host: Host) -> None:
    roll_out(host, project(nginx=front(restart="unless-stopped")))
    outcome = after(host, project(web=front("0.0.0.0")), web=[CRASHES])
    assert (outcome.outcome, outcome.serving) == ("rolled_back", ("shop-nginx-1",))
    assert host.done[-3:] == ["stop shop-web-1", "remove shop-web-1", "start shop-nginx-1"]
    assert host.of("nginx")[0].restart_policy == ("unless-stopped", 0)


def test_an_orphan_that_made_way_and_does_not_come_back_is_told(host: Host) -> None:
    roll_out(host, project(nginx=front()))
    host.of("nginx")[0].script = Script(starts=False)
    outcome = after(host, project(web=front()), web=[CRASHES])
    assert outcome.outcome == "dirty"
    assert "shop-nginx-1" in outcome.problems[0]


REACTIONS = pytest.mark.parametrize(("action", "outcome"), [("pause", "paused"), ("continue", "partial")])


def reacts(action: str, **more: Any) -> dict[str, Any]:
    return {"update_config": {"failure_action": action, **more}}


@REACTIONS
@pytest.mark.parametrize("name", [{}, {"container_name": "web"}])
def test_an_orphan_serves_again_where_the_run_does_not_go_back(
    host: Host, action: str, outcome: str, name: dict[str, str]
) -> None:
    roll_out(host, project(nginx=front(restart="unless-stopped"), worker=checked()))
    new = project(web=front(deploy=reacts(action), **name))
    ended = after(host, new, web=[CRASHES])
    assert (ended.outcome, ended.serving) == (outcome, ("shop-nginx-1", "shop-worker-1")), ended.message()
    assert host.of("nginx")[0].restart_policy == ("unless-stopped", 0)
    assert "shop-nginx-1, an orphan, serves again: what it made way for failed" in ended.notes
    assert after(host, new).outcome == "deployed"
    assert [machine.service for machine in host.machines.values()] == ["web"]


@REACTIONS
def test_an_orphan_serves_again_when_what_is_undone_with_the_failed_service_has_its_port(
    host: Host, action: str, outcome: str
) -> None:
    roll_out(host, project(nginx=front()))
    bound = {"network_mode": "service:web", "depends_on": {"web": {"condition": "service_started", "restart": True}}}
    new = project(web=front(), side=checked(deploy=reacts(action), **bound))
    roll_out(host, project(web=checked(), side=checked(**bound), nginx=front()))
    ended = after(host, new, side=[CRASHES])
    assert ended.outcome == outcome, ended.message()
    assert host.of("nginx")[0].status == "running"


def test_an_orphan_serves_again_where_the_failure_of_the_new_one_is_tolerated(host: Host) -> None:
    roll_out(host, project(nginx=front()))
    ended = after(host, project(web=front(deploy=reacts("rollback", max_failure_ratio=1.0))), web=[CRASHES])
    assert (ended.outcome, host.of("nginx")[0].status) == ("deployed", "running")


def test_an_orphan_stays_away_when_another_new_one_has_a_port_of_it(host: Host) -> None:
    other = {"target": 443, "published": "8443", "host_ip": "127.0.0.1", "protocol": "tcp"}
    both = front()
    both["ports"].append(other)
    roll_out(host, project(nginx=both))
    new = project(a=front(), web=checked(ports=[other], deploy=reacts("continue")))
    ended = after(host, new, web=[CRASHES])
    assert (ended.outcome, ended.serving) == ("partial", ("shop-a-1",)), ended.message()
    assert host.of("nginx")[0].status == "exited"


def test_an_orphan_that_came_back_makes_way_again_for_the_next_service(host: Host) -> None:
    roll_out(host, project(nginx=front("0.0.0.0")))
    new = project(a=front("127.0.0.1", deploy=reacts("continue")), web=front("127.0.0.2"))
    assert after(host, new, a=[CRASHES]).outcome == "partial"
    assert [(m.service, m.status) for m in host.machines.values()] == [("nginx", "exited"), ("web", "running")]


@REACTIONS
def test_an_orphan_that_does_not_come_back_takes_everything_back(host: Host, action: str, outcome: str) -> None:
    roll_out(host, project(a=checked(), nginx=front()))
    host.of("nginx")[0].script = Script(starts=False)
    ended = after(host, project(a=checked("2"), web=front(deploy=reacts(action))), web=[CRASHES])
    assert ended.outcome == "dirty"
    assert ended.failure is not None
    assert (ended.failure.service, ended.problems[0][:12]) == ("web", "shop-nginx-1")
    assert [(machine.name, machine.status) for machine in host.of("a")] == [("shop-a-1", "running")]


def test_an_orphan_stays_where_a_service_is_missing(host: Host) -> None:
    roll_out(host, project(a=checked(), b=checked()))
    assert after(host, project(a=checked("2", deploy=reacts("continue"))), a=[CRASHES]).outcome == "partial"
    assert host.of("b")[0].status == "running"


def test_an_orphan_on_another_port_stays_until_the_end(host: Host) -> None:
    roll_out(host, project(nginx=front("127.0.0.2")))
    after(host, project(web=front("127.0.0.1")))
    assert host.done == ["create shop-web-1", "start shop-web-1", "stop shop-nginx-1", "remove shop-nginx-1"]


def test_a_service_s_own_old_one_and_an_orphan_stop_when_the_new_one_is_made(host: Host) -> None:
    roll_out(host, project(web=database(), nginx=front()))
    after(host, project(web={**front(), **database("2")}))
    assert host.done[:4] == ["create shop-web-2", "stop shop-web-1", "stop shop-nginx-1", "start shop-web-2"]


def test_an_orphan_that_came_back_twice_serves(host: Host) -> None:
    roll_out(host, project(nginx=front("0.0.0.0")))
    new = project(a=front("127.0.0.1", deploy=reacts("continue")), web=front("127.0.0.2", deploy=reacts("continue")))
    ended = after(host, new, a=[CRASHES], web=[CRASHES])
    assert (ended.outcome, ended.serving) == ("partial", ("shop-nginx-1",)), ended.message()


NAMED = {"container_name": "the-db"}
HOST = {"network_mode": "host"}
FRONT = {"networks": {"front": {"ipv4_address": "172.20.0.9"}}}
DEVICE = {"devices": [{"source": "/dev/kvm", "target": "/dev/kvm"}]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"volumes": DATA}, {"volumes": [{**DATA[0], "target": "/elsewhere"}]}),
        (HOST, HOST),
        (HOST, {"ports": [{"target": 80, "published": "80"}]}),
        ({"ports": [{"target": 80, "published": "80"}]}, HOST),
        (FRONT, FRONT),
        (DEVICE, DEVICE),
        (NAMED, NAMED),
        ({**NAMED, "volumes": DATA}, {**NAMED, "volumes": DATA}),
    ],
)
def test_an_orphan_makes_way_for_what_has_to_have_alone_what_it_has(
    host: Host, old: dict[str, Any], new: dict[str, Any]
) -> None:
    roll_out(host, project(db=checked(restart="unless-stopped", **old)))
    wanted = project(postgres=checked(**new))
    was = host.of("db")[0]
    at, to = was.name, new.get("container_name", "shop-postgres-1")

    ended = after(host, wanted, postgres=[CRASHES])

    assert (ended.outcome, ended.serving) == ("rolled_back", (at,)), ended.message()
    assert host.of("db") == [was]
    assert (was.name, was.status, was.restart_policy) == (at, "running", ("unless-stopped", 0))
    assert [did.split()[0] for did in host.done] == ["create", "stop", "start", "stop", "remove", "start"]

    assert after(host, wanted).outcome == "deployed"
    assert [(machine.name, machine.status) for machine in host.machines.values()] == [(to, "running")]
    assert [did.split()[0] for did in host.done] == ["create", "stop", "start", "remove"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"read_only": True}, {"read_only": True}),
        ({"read_only": True}, {}),
        ({}, {"read_only": True}),
        ({}, {"source": "other"}),
    ],
)
def test_an_orphan_stays_until_the_end_beside_what_does_not_write_where_it_writes(
    host: Host, old: dict[str, Any], new: dict[str, Any]
) -> None:
    roll_out(host, project(db=checked(volumes=[{**DATA[0], **old}])))
    after(host, project(postgres=checked(volumes=[{**DATA[0], **new}])))
    assert [did.split()[0] for did in host.done] == ["create", "start", "stop", "remove"]


def test_an_orphan_stays_until_the_end_beside_what_may_write_where_it_writes(host: Host) -> None:
    roll_out(host, project(worker=database()))
    after(host, project(jobs=database(**{"x-rollout": {"shared": ["/data"]}})))
    assert [did.split()[0] for did in host.done] == ["create", "start", "stop", "remove"]


def test_a_stopped_orphan_gives_its_name_away_and_gets_it_back(host: Host) -> None:
    roll_out(host, project(db=checked(**NAMED)))
    host.of("db")[0].end(0)
    ended = after(host, project(postgres=checked(**NAMED)), postgres=[CRASHES])
    assert ended.outcome == "rolled_back", ended.message()
    assert [(machine.name, machine.status) for machine in host.machines.values()] == [("the-db", "exited")]


@REACTIONS
def test_a_stopped_orphan_gets_its_name_back_where_the_run_does_not_go_back(
    host: Host, action: str, outcome: str
) -> None:
    roll_out(host, project(db=checked(**NAMED), web=checked()))
    host.of("db")[0].end(0)
    new = project(postgres=checked(**NAMED, deploy=reacts(action)), web=checked())
    ended = after(host, new, postgres=[CRASHES])
    assert ended.outcome == outcome, ended.message()
    assert "the-db, an orphan, has its name again: what it made way for failed" in ended.notes
    assert host.of("db")[0].name == "the-db"


def test_an_orphan_that_is_bound_to_one_that_makes_way_goes_and_comes_with_it(host: Host) -> None:
    needs = {"depends_on": {"vpn": {"condition": "service_started", "restart": True}}}
    roll_out(host, project(vpn=front(), client=checked(network_mode="service:vpn", **needs)))
    ended = after(host, project(gluetun=front()), gluetun=[CRASHES])
    assert ended.outcome == "rolled_back", ended.message()
    assert host.done == [
        *("create shop-gluetun-1", "stop shop-client-1", "stop shop-vpn-1", "start shop-gluetun-1"),
        *("stop shop-gluetun-1", "remove shop-gluetun-1", "start shop-vpn-1", "start shop-client-1"),
    ]


def test_two_never_write_to_one_directory_even_when_the_new_one_cannot_be_stopped(host: Host) -> None:
    roll_out(host, project(db=database()))
    made = plan_for(host, project(postgres=database()), {"postgres": [Script(healthy_after=None)]})
    stop = host.stop

    def refuse(container_id: str, grace: int) -> None:
        if host.machines[container_id].service == "postgres":
            raise EngineError("stop a container: tried to kill container, but did not receive an exit event")
        stop(container_id, grace)

    host.stop = refuse  # type: ignore[method-assign]
    ended = carry_out(host, made)
    assert ended.outcome == "dirty"
    assert "shop-db-1: it stays stopped, because shop-postgres-1 still runs" in ended.problems
    assert [(m.service, m.status) for m in host.machines.values()] == [("db", "exited"), ("postgres", "running")]


SLOW = Script(healthy_after=40.0)


@pytest.mark.parametrize(
    ("old", "slow"),
    [({}, SLOW), ({"x-rollout": {"timeout": 300}}, Script(healthy_after=200.0))],
)
def test_an_orphan_has_its_own_time_to_come_back(host: Host, old: dict[str, Any], slow: Script) -> None:
    roll_out(host, project(nginx=front(**old)))
    host.of("nginx")[0].script = slow
    ended = after(host, project(web=front(**{"x-rollout": {"timeout": 5}})), web=[CRASHES])
    assert (ended.outcome, ended.serving) == ("rolled_back", ("shop-nginx-1",)), ended.message()


def test_an_orphan_that_makes_way_for_a_one_shot_is_none(host: Host) -> None:
    roll_out(host, project(db=database()))
    migrate = {"image": "shop:1", "volumes": DATA}
    web = checked(depends_on={"migrate": {"condition": "service_completed_successfully"}})
    ended = after(host, project(migrate=migrate, web=web), migrate=[Script(starts=False)])
    assert (ended.outcome, ended.serving) == ("rolled_back", ("shop-db-1",)), ended.message()
    assert host.done == ["create shop-migrate-1", "stop shop-db-1", "remove shop-migrate-1", "start shop-db-1"]


@pytest.mark.parametrize("forwards", [True, False])
def test_after_a_killed_run_each_has_its_name(host: Host, forwards: bool) -> None:
    old, new = project(db=database(**NAMED)), project(postgres=database(**NAMED))
    for call in range(2, 40):
        fresh = Host()
        roll_out(fresh, old)
        made = plan_for(fresh, new, {})
        fresh.calls, fresh.faults = 0, {call: "kill"}
        with suppress(Killed):
            carry_out(fresh, made)
        fresh.faults = {}
        ended = roll_out(fresh, new if forwards else old)
        assert ended.failure is None, (call, ended.message())
        service = "postgres" if forwards else "db"
        assert [(m.name, m.service, m.status) for m in fresh.machines.values()] == [("the-db", service, "running")]


def test_a_container_that_was_given_its_name_loses_it_again_when_a_later_service_fails(host: Host) -> None:
    roll_out(host, project(db=database(**NAMED)))
    host.of("db")[0].name = "zz-the-db"
    ended = after(host, project(db=database(**NAMED), web=checked()), web=[CRASHES])
    assert ended.outcome == "rolled_back", ended.message()
    assert host.of("db")[0].name == "zz-the-db"
    ended = after(host, project(db=database(**NAMED), web=checked()))
    assert (ended.outcome, host.of("db")[0].name) == ("deployed", "the-db"), ended.message()
    assert ended.services[0]["reasons"] == ["zz-the-db is not called the-db"]
