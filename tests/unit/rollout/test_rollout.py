# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver on a simulated host: single stories, told by what happened in which order."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import outcome
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import EngineError

from .machines import GOOD, Script
from .simulation import Host, Killed, carry_out, identity, plan_for, roll_out

CRASHES = Script(crashes_after=1.0, exit_code=7)
NEVER_HEALTHY = Script(healthy_after=None)
HEALTHCHECK = {"test": ["CMD", "true"]}


def service(version: str = "1", **more: Any) -> dict[str, Any]:
    """A service that may run side by side with itself."""
    return {"image": "shop:1", "environment": {"VERSION": version}, "restart": "always", **more}


def checked(version: str = "1", **more: Any) -> dict[str, Any]:
    return service(version, healthcheck=HEALTHCHECK, **more)


def database(version: str = "1", **more: Any) -> dict[str, Any]:
    """A service whose data can have one owner only."""
    return checked(version, volumes=[{"type": "volume", "source": "data", "target": "/data"}], **more)


def project(**services: dict[str, Any]) -> dict[str, Any]:
    return {"name": "shop", "services": services}


def replicas(count: int, **update: Any) -> dict[str, Any]:
    return {"replicas": count, "update_config": update}


def after(host: Host, definition: dict[str, Any], **scripts: list[Script]) -> outcome.Outcome:
    host.done.clear()
    return roll_out(host, definition, scripts)


@pytest.fixture
def host() -> Host:
    return Host()


def test_what_is_needed_is_proven_before_what_needs_it_is_made(host: Host) -> None:
    web = checked(depends_on={"db": {"condition": "service_healthy"}})
    assert after(host, project(web=web, db=database())).outcome == "deployed"
    assert host.done == ["create shop-db-1", "start shop-db-1", "create shop-web-1", "start shop-web-1"]


def test_nothing_is_done_where_nothing_changed(host: Host) -> None:
    roll_out(host, project(web=checked()))
    outcome = after(host, project(web=checked()))
    assert (outcome.outcome, host.done) == ("unchanged", [])


def test_start_first_stops_the_old_one_when_the_new_one_is_proven_and_removes_it_at_the_end(host: Host) -> None:
    roll_out(host, project(web=checked("1")))
    after(host, project(web=checked("2")))
    assert host.done == ["create shop-web-2", "start shop-web-2", "stop shop-web-1", "remove shop-web-1"]


def test_stop_first_stops_the_old_one_before_the_new_one_starts(host: Host) -> None:
    roll_out(host, project(db=database("1")))
    after(host, project(db=database("2")))
    assert host.done == ["create shop-db-2", "stop shop-db-1", "start shop-db-2", "remove shop-db-1"]


def test_stop_first_goes_batch_by_batch_where_nothing_is_exclusive(host: Host) -> None:
    roll_out(host, project(web=checked("1", deploy=replicas(2))))
    after(host, project(web=checked("2", deploy=replicas(2, order="stop-first"))))
    stops_and_starts = [deed for deed in host.done if deed.startswith(("stop", "start"))]
    assert stops_and_starts == ["stop shop-web-1", "start shop-web-3", "stop shop-web-2", "start shop-web-4"]


def test_fewer_replicas_are_stopped_and_removed(host: Host) -> None:
    roll_out(host, project(web=checked(deploy=replicas(3))))
    outcome = after(host, project(web=checked(deploy=replicas(1))))
    assert outcome.problems == ()
    assert host.done == ["stop shop-web-2", "stop shop-web-3", "remove shop-web-2", "remove shop-web-3"]


def test_the_old_one_that_does_not_serve_goes_first(host: Host) -> None:
    roll_out(host, project(web=checked("1", deploy=replicas(2))))
    host.of("web")[1].healthy = False
    after(host, project(web=checked("2", deploy=replicas(2, parallelism=1))))
    assert host.done.index("stop shop-web-2") < host.done.index("stop shop-web-1")


def test_an_old_one_that_was_stopped_does_not_come_back_with_the_engine(host: Host) -> None:
    roll_out(host, project(db=database("1")))
    with pytest.raises(Killed):
        kill_at(host, "stop shop-db-1", project(db=database("2")))
    assert host.of("db")[0].restart_policy == ("no", 0)


def test_a_signal_that_comes_with_the_proof_leaves_the_old_one_running(host: Host) -> None:
    roll_out(host, project(web=checked("1")))

    def signal_with_the_proof() -> None:
        since = host.of("web")[-1].serving_since
        if "start shop-web-2" in host.done and since is not None and host.time - since >= 5:
            host.signals.pending = True

    host.watchers.append(signal_with_the_proof)
    outcome = after(host, project(web=checked("2")))
    assert outcome.message() == "interrupted by SIGTERM. Rolled back; serving: shop-web-1."
    assert "stop shop-web-1" not in host.done


def test_a_signal_on_the_way_back_does_not_cut_it_short(host: Host) -> None:
    roll_out(host, project(db=database("1")))
    before = host.running()

    def signal_on_the_way_back() -> None:
        if "stop shop-db-2" in host.done:
            host.signals.pending = True

    host.watchers.append(signal_on_the_way_back)
    assert after(host, project(db=database("2")), db=[NEVER_HEALTHY]).outcome == "rolled_back"
    assert host.running() == before


def test_old_containers_of_an_early_service_are_kept_until_the_last_service_is_proven(host: Host) -> None:
    roll_out(host, project(a=checked("1"), b=checked("1")))
    after(host, project(a=checked("2"), b=checked("2")))
    assert host.done.index("remove shop-a-1") > host.done.index("start shop-b-2")


def test_a_replica_at_a_time_where_parallelism_is_one(host: Host) -> None:
    roll_out(host, project(web=checked("1", deploy=replicas(2))))
    after(host, project(web=checked("2", deploy=replicas(2, parallelism=1))))
    assert host.done[:6] == [
        "create shop-web-3",
        "start shop-web-3",
        "stop shop-web-1",
        "create shop-web-4",
        "start shop-web-4",
        "stop shop-web-2",
    ]


def test_all_at_once_where_parallelism_is_zero(host: Host) -> None:
    roll_out(host, project(web=checked("1", deploy=replicas(2))))
    after(host, project(web=checked("2", deploy=replicas(2, parallelism=0))))
    assert host.done[:4] == ["create shop-web-3", "create shop-web-4", "start shop-web-3", "start shop-web-4"]


def test_replicas_that_share_data_are_all_stopped_before_the_first_new_one_whatever_the_parallelism(
    host: Host,
) -> None:
    roll_out(host, project(db=database("1", deploy=replicas(2))))
    after(host, project(db=database("2", deploy=replicas(2, parallelism=1))))
    assert host.done[:4] == ["create shop-db-3", "stop shop-db-1", "stop shop-db-2", "start shop-db-3"]


def test_delay_stands_between_batches_and_monitor_after_each(host: Host) -> None:
    definition = project(web=checked("1", deploy=replicas(2), **{"x-rollout": {"stable": 0}}))
    roll_out(host, definition)
    began = host.time
    changed = project(
        web=checked("2", deploy=replicas(2, parallelism=1, delay="10s", monitor="20s"), **{"x-rollout": {"stable": 0}})
    )
    roll_out(host, changed)
    # Two batches of 1 s to healthy, 0.5 s to stop and 20 s of monitoring, and one delay between them.
    assert host.time - began == pytest.approx(2 * 21.5 + 10)


def test_a_crash_loop_without_healthcheck_fails_and_is_taken_away(host: Host) -> None:
    roll_out(host, project(web=service("1")))
    before = host.running()
    outcome = after(host, project(web=service("2")), web=[CRASHES])
    assert outcome.failure is not None
    assert (outcome.outcome, outcome.failure.reason) == ("rolled_back", "restarting")
    assert host.running() == before
    assert outcome.message() == (
        "web: shop-web-2 keeps restarting, last exit code 7 (last line of its log: cannot go on). "
        "Rolled back; serving: shop-web-1."
    )


def test_a_second_replica_that_dies_fails_though_the_first_one_passed(host: Host) -> None:
    definition = project(web=service(deploy=replicas(2, parallelism=0)))
    outcome = after(host, definition, web=[GOOD, CRASHES])
    assert outcome.failure is not None
    assert outcome.failure.container == "shop-web-2"
    assert not host.machines


def test_one_that_dies_after_its_own_gate_while_others_are_proven_fails_the_run(host: Host) -> None:
    roll_out(host, project(a=checked("1", restart="no"), b=checked("1")))
    before = host.running()
    late = Script(crashes_after=8.0)
    outcome = after(host, project(a=checked("2", restart="no"), b=checked("2")), a=[late])
    assert outcome.failure is not None
    assert (outcome.failure.service, outcome.failure.reason) == ("a", "exited")
    assert host.running() == before


def test_one_that_was_restarted_after_its_own_gate_fails_the_run_though_it_runs_again(host: Host) -> None:
    outcome = after(host, project(a=service(), b=checked()), a=[Script(crashes_after=8.0)])
    assert outcome.failure is not None
    assert (outcome.failure.service, outcome.failure.reason) == ("a", "restarting")


def test_unhealthy_fails_at_the_deadline_not_before(host: Host) -> None:
    definition = project(web=checked(**{"x-rollout": {"timeout": 90}}))
    outcome = after(host, definition, web=[NEVER_HEALTHY])
    assert outcome.failure is not None
    assert (outcome.failure.reason, host.time >= 90) == ("timeout", True)


def test_old_replicas_that_were_stopped_come_back_with_their_restart_policy(host: Host) -> None:
    roll_out(host, project(web=checked("1", deploy=replicas(3))))
    before = host.running()
    assert set(before.values()) == {("always", 0)}
    after(host, project(web=checked("2", deploy=replicas(3, parallelism=1))), web=[GOOD, GOOD, CRASHES])
    assert "stop shop-web-2" in host.done
    assert host.running() == before


def test_stop_first_rolls_back_by_stopping_the_new_one_before_the_old_one_starts(host: Host) -> None:
    roll_out(host, project(db=database("1")))
    after(host, project(db=database("2")), db=[NEVER_HEALTHY])
    assert host.done[-3:] == ["stop shop-db-2", "start shop-db-1", "remove shop-db-2"]


def test_start_first_rolls_back_by_starting_the_old_one_before_the_new_one_stops(host: Host) -> None:
    roll_out(host, project(web=checked("1"), zoo=checked("1")))
    after(host, project(web=checked("2"), zoo=checked("2")), zoo=[NEVER_HEALTHY])
    tail = host.done[host.done.index("start shop-web-1") :]
    assert tail == ["start shop-web-1", "stop shop-web-2", "remove shop-web-2"]


def test_a_timeout_too_short_for_the_old_version_does_not_make_the_rollback_fail(host: Host) -> None:
    roll_out(host, project(db=database("1")), {"db": [Script(healthy_after=20.0)]})
    before = host.running()
    outcome = after(host, project(db=database("2", **{"x-rollout": {"timeout": 5}})), db=[Script(healthy_after=20.0)])
    assert outcome.outcome == "rolled_back"
    assert host.running() == before


def test_an_old_one_that_did_not_serve_is_started_again_but_not_waited_for(host: Host) -> None:
    roll_out(host, project(db=database("1")))
    (old,) = host.machines.values()
    old.script, old.healthy, old.serving_since = NEVER_HEALTHY, False, None
    outcome = after(host, project(db=database("2")), db=[CRASHES])
    assert (outcome.outcome, old.status) == ("rolled_back", "running")


def test_every_old_one_that_can_start_is_started_though_another_one_cannot(host: Host) -> None:
    roll_out(host, project(db=database("1", deploy=replicas(2))))
    first, second = host.machines.values()
    first.script = Script(starts=False)
    outcome = after(host, project(db=database("2", deploy=replicas(2))), db=[CRASHES])
    assert outcome.outcome == "dirty"
    assert "port is already allocated" in outcome.message()
    assert second.status == "running"


def test_a_moved_tag_names_the_old_image_again_after_a_rollback(host: Host) -> None:
    roll_out(host, project(a=checked("1"), b=checked("1", image="other:1")))
    host.tags.update({"shop:1": "sha256:bad", "other:1": "sha256:also-bad"})
    after(host, project(a=checked("1"), b=checked("1", image="other:1")), a=[CRASHES])
    # b was not reached, but a plain `docker compose up` would reach it.
    assert host.tags == {"shop:1": "sha256:shop:1", "other:1": "sha256:other:1"}


def migrated(version: str = "1", **web: Any) -> dict[str, Any]:
    return project(
        migrate={"image": "shop:1", "environment": {"VERSION": version}},
        web=checked(depends_on={"migrate": {"condition": "service_completed_successfully"}}, **web),
    )


def test_a_one_shot_has_finished_before_its_dependant_is_made(host: Host) -> None:
    after(host, migrated())
    assert host.done == ["create shop-migrate-1", "start shop-migrate-1", "create shop-web-1", "start shop-web-1"]
    assert host.machines[identity(1)].status == "exited"


def test_a_one_shot_that_fails_keeps_its_dependant_from_being_made(host: Host) -> None:
    outcome = after(host, migrated(), migrate=[Script(crashes_after=1.0, exit_code=3)])
    assert outcome.failure is not None
    assert (outcome.failure.service, outcome.failure.reason) == ("migrate", "exited")
    assert not host.of("web")


def test_a_one_shot_that_never_finishes_fails_after_its_own_ten_minutes(host: Host) -> None:
    outcome = after(host, migrated(), migrate=[Script(healthy_after=None)])
    assert outcome.failure is not None
    assert (outcome.failure.reason, host.time) == ("timeout", pytest.approx(600.5))


def test_a_one_shot_that_a_killed_run_left_at_work_is_waited_for_not_run_twice(host: Host) -> None:
    with pytest.raises(Killed):
        kill_at(host, "start shop-migrate-1", migrated())
    outcome = after(host, migrated())
    assert outcome.outcome == "deployed"
    assert host.done == ["create shop-web-1", "start shop-web-1"]


def test_a_one_shot_of_another_version_left_at_work_is_stopped_before_the_new_one_starts(host: Host) -> None:
    with pytest.raises(Killed):
        kill_at(host, "start shop-migrate-1", migrated("1"))
    after(host, migrated("2"))
    assert host.done[:3] == ["stop shop-migrate-1", "create shop-migrate-2", "start shop-migrate-2"]


def kill_at(host: Host, deed: str, definition: dict[str, Any]) -> None:
    """Roll out in a run that is killed as soon as it has done this."""

    def kill() -> None:
        if deed in host.done:
            host.watchers.remove(kill)
            raise Killed

    host.watchers.append(kill)
    roll_out(host, definition)


def test_going_back_after_a_killed_run_stops_the_new_owner_before_the_old_one_starts(host: Host) -> None:
    roll_out(host, project(db=database("1")))
    with pytest.raises(Killed):
        kill_at(host, "start shop-db-2", project(db=database("2")))
    outcome = after(host, project(db=database("1")))
    assert outcome.outcome == "deployed"
    assert host.done == ["stop shop-db-2", "start shop-db-1", "remove shop-db-2"]


def test_a_stopped_container_is_started_again_and_has_to_pass(host: Host) -> None:
    roll_out(host, project(web=checked()))
    (machine,) = host.machines.values()
    machine.end(0)
    assert after(host, project(web=checked())).outcome == "deployed"
    assert host.done == ["start shop-web-1"]


def test_a_repair_stays_when_a_later_service_fails_but_a_new_version_would_not(host: Host) -> None:
    roll_out(host, project(a=checked(), b=checked("1")))
    host.of("a")[0].end(0)
    outcome = after(host, project(a=checked(), b=checked("2")), b=[CRASHES])
    assert outcome.outcome == "rolled_back"
    assert host.of("a")[0].status == "running"


def test_a_repair_that_fails_is_undone(host: Host) -> None:
    roll_out(host, project(a=checked()))
    (machine,) = host.machines.values()
    machine.end(0)
    machine.script, machine.restart_policy = CRASHES, ("no", 0)
    outcome = after(host, project(a=checked()))
    assert outcome.outcome == "rolled_back"
    assert (machine.status, machine.restart_policy) == ("exited", ("no", 0))


def test_compose_that_touches_another_service_ends_the_run(host: Host) -> None:
    roll_out(host, project(a=checked(), b=checked("1")))
    create = host.create

    def meddling_create(service: str, counts: dict[str, int]) -> None:
        create(service, counts)
        host.of("a")[0].end(0)

    host.create = meddling_create  # type: ignore[method-assign]
    outcome = after(host, project(a=checked(), b=checked("2")))
    assert outcome.failure is not None
    assert outcome.failure.detail == "Compose was to create 1 of this service alone; it made 1 and touched ['shop-a-1']"


def test_a_service_that_may_not_go_unchecked_fails_without_healthcheck(host: Host) -> None:
    outcome = after(host, project(web=service(**{"x-rollout": {"no_healthcheck": "fail"}})))
    assert outcome.failure is not None
    assert "has no healthcheck" in outcome.failure.detail
    assert not host.machines


def test_an_old_one_that_cannot_be_removed_is_told_and_left_to_the_next_run(host: Host) -> None:
    roll_out(host, project(web=checked("1")))
    made = plan_for(host, project(web=checked("2")), {})
    remove = host.remove

    def refuse(container_id: str) -> None:
        raise EngineError("driver failed to remove root filesystem")

    host.remove = refuse  # type: ignore[method-assign]
    outcome = carry_out(host, made)
    assert outcome.outcome == "deployed"
    assert outcome.problems == (
        "shop-web-1 could not be removed: driver failed to remove root filesystem; the next run tries again",
    )
    host.remove = remove  # type: ignore[method-assign]
    roll_out(host, project(web=checked("2")))
    assert [machine.name for machine in host.machines.values()] == ["shop-web-2"]


def test_a_container_that_the_engine_made_but_never_told_of_is_found_and_removed(host: Host) -> None:
    roll_out(host, project(web=checked("1")))
    create = host.create

    def create_and_fall_silent(service: str, counts: dict[str, int]) -> None:
        create(service, counts)
        host.faults[host.calls + 1] = "refuse"

    host.create = create_and_fall_silent  # type: ignore[method-assign]
    outcome = after(host, project(web=checked("2")))
    assert outcome.outcome == "rolled_back"
    assert [machine.name for machine in host.machines.values()] == ["shop-web-1"]


def test_a_failure_before_anything_was_done_says_so(host: Host) -> None:
    roll_out(host, project(web=checked("1")))
    made = plan_for(host, project(web=checked("2")), {})
    host.faults[host.calls + 2] = "refuse"
    assert carry_out(host, made).message() == "web: list: refused. This run had changed nothing; serving: shop-web-1."


def test_old_ones_are_removed_after_the_commit_and_not_before(host: Host) -> None:
    roll_out(host, project(web=checked()))
    assert after(host, project(web=checked("2"))).outcome == "deployed"
    assert host.done_at_commit == ["create shop-web-2", "start shop-web-2", "stop shop-web-1"]
    assert host.done == [*host.done_at_commit, "remove shop-web-1"]


def test_what_cannot_be_recorded_is_rolled_back(host: Host) -> None:
    roll_out(host, project(db=database(), web=checked()))
    before = host.running()
    host.disk_full = True
    outcome = after(host, project(db=database("2"), web=checked("2")))
    assert outcome.outcome == "rolled_back"
    assert outcome.failure is not None
    assert outcome.failure.reason == "commit"
    assert "No space left on device" in outcome.message()
    assert host.running() == before


def test_the_way_back_waits_for_an_engine_that_restarts(host: Host) -> None:
    roll_out(host, project(db=database()))
    before = host.running()
    host.outage = (host.time + 1.0, host.time + 60.0)
    outcome = after(host, project(db=database("2")), db=[NEVER_HEALTHY])
    assert (outcome.outcome, outcome.problems) == ("rolled_back", ())
    assert host.running() == before


def test_an_engine_that_does_not_come_back_makes_it_dirty_and_is_not_waited_for_for_ever(host: Host) -> None:
    roll_out(host, project(db=database()))
    host.outage = (host.time + 1.0, float("inf"))
    outcome = after(host, project(db=database("2")), db=[NEVER_HEALTHY])
    assert outcome.outcome == "dirty"
    assert "connection refused" in outcome.message()


def test_a_new_one_that_dies_while_it_is_stopped_is_taken_back_all_the_same(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engine 20.10 says "cannot update a stopped container" of one in a crash loop, between two of its lives."""
    roll_out(host, project(web=checked()))
    set_policy, refused = host.set_restart_policy, []

    def refuse_once(container_id: str, policy: tuple[str, int]) -> None:
        if not refused:
            refused.append(container_id)
            raise EngineError("Cannot update container: cannot update a stopped container")
        set_policy(container_id, policy)

    monkeypatch.setattr(host, "set_restart_policy", refuse_once)
    outcome = after(host, project(web=checked("2")), web=[NEVER_HEALTHY])
    assert refused
    assert (outcome.outcome, outcome.problems) == ("rolled_back", ())
