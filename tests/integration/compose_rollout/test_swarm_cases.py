# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Swarm's own tests of its updater ask, asked of compose_rollout.

docs/swarm.md has the table: scenario, what Swarm does, what compose_rollout does, why where it differs, and the test.
"""

from __future__ import annotations

from typing import Any

import pytest

from .project import Event, Project, Result, first, running_counts, service

# Several containers share a folder; the first to come takes place 1, the next one place 2, and so on.
TAKE_A_PLACE = "n=1; until mkdir /shared/$n 2>/dev/null; do n=$((n+1)); done"


def web(level: int, script: str = "sleep 1000", **update_config: Any) -> dict[str, Any]:
    """Give a service of three containers; `update_config` in Python's names."""
    config = {key: value.replace("_", "-") if key == "order" else value for key, value in update_config.items()}
    return service(
        script,
        environment={"LEVEL": str(level)},
        deploy={"replicas": 3, "update_config": config},
        volumes=["shared:/shared"],
        **{"x-rollout": {"shared": ["/shared"]}},
    )


def failing(*places: int) -> str:
    """Give a script that exits with 7 where its container is the n-th of the new ones, for each of `places`."""
    return f"{TAKE_A_PLACE}; case $n in {'|'.join(map(str, places))}) exit 7;; esac; sleep 1000"


def write(project: Project, **services: Any) -> None:
    project.write(services, volumes={"shared": {}})


def deploy(project: Project, **services: Any) -> Result:
    write(project, **services)
    return project.deploy()


def levels(project: Project, name: str = "web") -> list[str]:
    """Give the versions that run, sorted."""
    return project.variables(name, "LEVEL")


def starts(events: list[Event], name: str = "web") -> list[Event]:
    return [event for event in events if event.action == "start" and event.service == name]


def pauses(events: list[Event], seconds: float) -> list[bool]:
    """Say for each two that follow each other whether so much time lay between them."""
    return [later.time - earlier.time >= seconds * 1e9 for earlier, later in zip(events, events[1:], strict=False)]


# TestUpdater


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
@pytest.mark.parametrize(("parallelism", "together"), [(0, 3), (1, 1), (2, 2)])
def test_every_replica_is_updated_so_many_at_a_time(project: Project, order: str, parallelism: int, together: int):
    deploy(project, web=web(1))
    write(project, web=web(2, parallelism=parallelism, order=order))

    with project.events() as events:
        project.deploy()

    counts = running_counts(events, "web", 3)
    assert levels(project) == ["2", "2", "2"]
    if order == "start_first":
        assert (min(counts), max(counts)) == (3, 3 + together)
    else:
        assert (min(counts), max(counts)) == (3 - together, 3)


def test_without_a_word_on_it_one_is_updated_at_a_time(project: Project):
    deploy(project, web=web(1))
    write(project, web=web(2))

    with project.events() as events:
        project.deploy()

    assert max(running_counts(events, "web", 3)) == 4


def test_delay_passes_between_two_batches(project: Project):
    deploy(project, web=web(1))
    write(project, web=web(2, delay="1s"))

    with project.events() as events:
        project.deploy()

    assert pauses(starts(events), 1) == [True, True]


def test_what_is_no_configuration_of_a_container_replaces_none(project: Project):
    deploy(project, web=web(1))
    before = project.ids()
    policy = {"shared": ["/shared"], "stable": "1s"}

    result = deploy(project, web={**web(1), "pull_policy": "never", "x-rollout": policy})

    assert result["changed"] is False
    assert project.ids() == before


def test_another_update_policy_is_an_update_because_compose_would_make_it_one(project: Project):
    deploy(project, web=web(1))
    before = set(project.ids())

    result = deploy(project, web=web(1, parallelism=0, monitor="1s"))

    assert result.service("web")["action"] == "update"
    after = project.ids()
    assert not before & set(after)
    project.compose("up", "--detach")
    assert project.ids() == after


def test_containers_that_were_down_start_again_when_only_how_to_pull_changed(project: Project):
    deploy(project, web=web(1))
    ids = project.all_ids()
    for container in project.containers():
        container.kill()

    result = deploy(project, web={**web(1), "pull_policy": "never"})

    assert result.service("web")["action"] == "repair"
    assert set(project.ids()) == ids


def test_another_log_driver_is_an_update(project: Project):
    deploy(project, web=web(1))

    deploy(project, web={**web(1), "logging": {"driver": "none"}})

    assert [each.attrs["HostConfig"]["LogConfig"]["Type"] for each in project.containers()] == ["none"] * 3
    assert len(project.names("web")) == 3


# TestUpdaterPlacement


def test_another_placement_is_an_update_because_compose_would_make_it_one(project: Project):
    definition = web(1)
    deploy(project, web=definition)
    before = set(project.ids())
    definition["deploy"]["placement"] = {"constraints": ["node.role == manager"]}

    result = deploy(project, web=definition)

    assert result.service("web")["action"] == "update"
    after = project.ids()
    assert not before & set(after)
    project.compose("up", "--detach")
    assert project.ids() == after


# TestUpdaterFailureAction


def test_pause_keeps_what_is_proven_and_the_next_run_goes_on(project: Project):
    deploy(project, web=web(1), later=web(1))
    before = project.ids()
    later = {**web(2), "depends_on": ["web"]}
    write(project, web=web(2, failing(2), failure_action="pause"), later=later)

    with project.events() as events:
        result = project.roll_out(stable=1)

    assert result.failed
    assert result["outcome"] == "paused"
    assert result["failure"]["reason"] == "exited"
    assert result["failure"]["exit_code"] == 7
    assert levels(project) == ["1", "1", "2"]
    assert levels(project, "later") == ["1", "1", "1"]
    assert len(set(project.ids()) & set(before)) == 5
    # What the proven one replaced is stopped, and kept: nothing is committed yet.
    assert set(before) < project.all_ids()
    assert len(project.all_ids()) == 7
    assert min(running_counts(events, "web", 3)) == 3
    # Nothing after it was tried.
    assert len(starts(events)) == 2

    # Swarm waits for a person's word; here that word is the next run.
    again = project.roll_out(stable=1)

    assert not again.failed
    assert again["outcome"] == "deployed"
    assert levels(project) == levels(project, "later") == ["2", "2", "2"]
    assert len(project.all_ids()) == 6


def test_continue_goes_on_past_the_slots_that_failed_and_still_ends_failed(project: Project):
    deploy(project, web=web(1), later=web(1))
    before = project.ids()
    later = {**web(2), "depends_on": ["web"]}
    write(project, web=web(2, failing(1, 3), failure_action="continue"), later=later)

    with project.events() as events:
        result = project.roll_out(stable=1)

    assert result.failed
    assert result["outcome"] == "partial"
    assert result["failure"]["exit_code"] == 7
    assert levels(project) == ["1", "1", "2"]
    assert levels(project, "later") == ["2", "2", "2"]
    assert len(set(project.ids()) & set(before)) == 2
    assert len(project.all_ids()) == 6
    assert min(running_counts(events, "web", 3)) == 3

    again = project.roll_out(stable=1)

    assert not again.failed
    assert levels(project) == ["2", "2", "2"]


def test_rollback_is_what_is_done_without_a_word_on_it(project: Project):
    deploy(project, web=web(1))
    before = project.ids()
    write(project, web=web(2, failing(3), order="start_first"))

    result = project.roll_out(stable=1)

    assert result.failed
    assert result["outcome"] == "rolled_back"
    assert project.ids().keys() == before.keys() == project.all_ids()


# TestUpdaterTaskTimeout


def test_an_old_container_that_does_not_stop_is_killed_after_its_grace_period(project: Project):
    deaf = {**web(1, "trap '' TERM; while :; do sleep 1; done"), "stop_signal": "SIGTERM", "stop_grace_period": "1s"}
    deploy(project, web=deaf)
    old = {each.name for each in project.containers()}
    write(project, web=web(2, parallelism=0, order="stop_first"))

    with project.events() as events:
        project.deploy()

    assert levels(project) == ["2", "2", "2"]
    for name in old:
        assert first(events, "die", name) - first(events, "kill", name) >= 1e9
        assert [event.action for event in events if event.container == name].count("kill") == 2


# TestUpdaterOrder


def test_under_start_first_an_old_one_that_stops_slowly_holds_up_the_next_batch(project: Project):
    slow = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"
    deploy(project, web={**web(1, slow), "stop_signal": "SIGTERM", "stop_grace_period": "60s"})
    write(project, web=web(2, parallelism=1, order="start_first"))

    with project.events() as events:
        project.deploy()

    counts = running_counts(events, "web", 3)
    assert (min(counts), max(counts)) == (3, 4)
    order = [event.action for event in events if event.action in ("start", "die") and event.service == "web"]
    assert order == ["start", "die"] * 3


# TestUpdaterUseExistingTask


def test_of_two_right_containers_for_one_place_the_older_one_stays(project: Project):
    write(project, web=service())
    project.compose("up", "--detach", "--scale", "web=2")

    result = project.deploy()

    assert result.service("web")["action"] == "scale"
    assert project.names("web") == [f"{project.name}-web-1"]
    assert len(project.all_ids()) == 1


def test_a_right_container_that_was_only_created_takes_the_place_of_the_old_one(project: Project):
    deploy(project, web=service(environment={"LEVEL": "1"}))
    write(project, web=service(environment={"LEVEL": "2"}))
    project.compose("create", "--no-recreate", "--scale", "web=2", "web")
    (made,) = (each for each in project.containers("web") if each.status == "created")

    with project.events() as events:
        project.deploy()

    assert set(project.ids()) == project.all_ids() == {made.id}
    assert [event for event in events if event.action == "create"] == []
    assert min(running_counts(events, "web", 1)) == 1


# TestUpdaterRollback


def four(level: int, script: str = "sleep 1000", **update_config: Any) -> dict[str, Any]:
    definition = web(level, script, failure_action="rollback", parallelism=1, max_failure_ratio=0.4, **update_config)
    definition["deploy"]["replicas"] = 4
    return definition


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_rollback_begins_with_the_failure_that_exceeds_the_ratio(project: Project, order: str):
    deploy(project, web=four(1))
    before = project.ids()
    write(project, web=four(2, failing(1, 3), order=order))

    with project.events() as events:
        result = project.roll_out(stable=1)

    assert result.failed
    assert result["outcome"] == "rolled_back", result["problems"]
    assert set(project.ids()) == project.all_ids() == set(before)
    # One of four is tolerated, two are not; the fourth was never tried. No container but the old ones came back.
    assert [event.action for event in events if event.service == "web"].count("create") == 3
    if order == "start_first":
        assert min(running_counts(events, "web", 4)) == 4


def test_a_failure_within_the_ratio_ends_well_with_a_warning_and_is_tried_again(project: Project):
    deploy(project, web=four(1))
    before = project.ids()
    write(project, web=four(2, failing(1)))

    result = project.roll_out(stable=1)

    assert not result.failed
    assert result["outcome"] == "deployed"
    assert "max_failure_ratio" in result.warnings
    assert levels(project) == ["1", "2", "2", "2"]
    assert len(set(project.ids()) & set(before)) == 1
    project.deploy()
    assert levels(project) == ["2", "2", "2", "2"]


def test_a_ratio_that_is_just_reached_is_not_exceeded(project: Project):
    definition = four(1)
    deploy(project, web=definition)
    definition = four(2, failing(1, 2))
    definition["deploy"]["update_config"]["max_failure_ratio"] = 0.5
    write(project, web=definition)

    result = project.roll_out(stable=1)

    assert not result.failed
    assert levels(project) == ["1", "1", "2", "2"]


def test_one_that_dies_within_monitor_counts_and_one_that_dies_after_it_does_not(project: Project):
    def dying(after: int, monitor: str) -> dict[str, Any]:
        definition = web(2, f"sleep {after}; exit 7", monitor=monitor, parallelism=0)
        return {**definition, "restart": "no"}

    deploy(project, web=web(1))
    before = project.ids()
    write(project, web=dying(3, "30s"))
    with project.events() as events:
        within = project.roll_out()
    assert within["outcome"] == "rolled_back"
    assert within["failure"]["exit_code"] == 7
    assert set(project.ids()) == project.all_ids() == set(before)
    # It had passed its gate: the old ones were stopped already, and came back.
    assert {event.container for event in events if event.action == "start"} > {f"{project.name}-web-1"}

    write(project, web=dying(30, "1s"))
    assert project.roll_out()["outcome"] == "deployed"


# What has to come back is told apart by the folder that its successor leaves: with it, an old container exits.
GIVES_WAY = "test -e /shared/spoilt && exit 8; sleep 1000"
SPOILS = "touch /shared/spoilt; sleep 1000"


def chain(level: int, on_failure: str) -> dict[str, Any]:
    """Give three services that follow each other; the second, once updated, cannot come back, and the third fails."""

    # One that comes back has to stay for a moment: a start alone proves nothing of what exits at once.
    back = {"failure_action": on_failure, "monitor": "1s"}

    def link(script: str, **keys: Any) -> dict[str, Any]:
        return service(
            script,
            environment={"LEVEL": str(level)},
            volumes=["shared:/shared"],
            deploy={"update_config": {"order": "stop-first"}, "rollback_config": back},
            **keys,
        )

    return {
        "first": link("sleep 1000"),
        "second": link(GIVES_WAY if level == 1 else SPOILS, depends_on=["first"]),
        "third": link("sleep 1000" if level == 1 else "exit 9", depends_on=["second"]),
    }


@pytest.mark.parametrize(("on_failure", "first_level"), [("pause", "2"), ("continue", "1")])
def test_a_way_back_that_fails_pauses_or_goes_on_as_rollback_config_says(
    project: Project, on_failure: str, first_level: str
):
    deploy(project, **chain(1, on_failure))
    write(project, **chain(2, on_failure))

    result = project.roll_out(stable=1)

    assert result.failed
    assert result["outcome"] == "dirty"
    assert result["failure"]["service"] == "third"
    assert any(problem.startswith("second: ") for problem in result["problems"])
    assert any(problem.startswith("first: ") for problem in result["problems"]) == (on_failure == "pause")
    assert levels(project, "third") == ["1"]
    assert levels(project, "first") == [first_level]
    assert "The rollback failed too" in result["msg"]

    # A person mends it; then the files of before are in force again.
    project.compose("run", "--rm", "--no-deps", "third", "rm", "/shared/spoilt")
    write(project, **chain(1, on_failure))
    project.deploy()
    assert [levels(project, name) for name in ("first", "second", "third")] == [["1"], ["1"], ["1"]]
    assert len(project.all_ids()) == 3


@pytest.mark.parametrize(("parallelism", "delay"), [(1, "1s"), (0, "300s")])
def test_the_way_back_has_a_parallelism_and_a_delay_of_its_own(project: Project, parallelism: int, delay: str):
    def definition(level: int, script: str) -> dict[str, Any]:
        made = web(level, script, order="stop_first", parallelism=0)
        made["deploy"]["rollback_config"] = {"parallelism": parallelism, "delay": delay}
        return made

    deploy(project, web=definition(1, "sleep 1000"))
    before = project.ids()
    write(project, web=definition(2, "exit 7"))

    with project.events() as events:
        result = project.roll_out(stable=1)

    assert result["outcome"] == "rolled_back", result["problems"]
    assert set(project.ids()) == project.all_ids() == set(before)
    # All at once leaves no place for a delay; with one, this would not have come to its end.
    if parallelism:
        back = [event for event in starts(events) if event.container in project.names()]
        assert pauses(back, 1) == [True, True]


# Of Swarm's that has no place here


def test_a_global_service_is_refused_with_the_words_that_are_allowed(project: Project):
    write(project, web=service(deploy={"mode": "global"}))

    result = project.roll_out()

    assert result.failed
    assert "services.web.deploy.mode" in result["msg"]
    assert "replicated" in result["msg"]
    assert project.all_ids() == set()
