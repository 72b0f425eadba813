# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fails is put back, and said: container, reason, exit code, last words."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from .debian import IMAGE
from .project import Project, becomes_healthy, first, healthcheck, running_counts, service


def restart_policies(project: Project) -> dict[str, str]:
    return {each.name: each.attrs["HostConfig"]["RestartPolicy"]["Name"] for each in project.containers()}


def assert_put_back(project: Project, result: Any, before: dict[str, Any]) -> None:
    """Exactly what ran before runs, and nothing else is left."""
    assert result.failed
    assert result["outcome"] == "rolled_back", result["problems"]
    assert result["problems"] == []
    assert project.all_ids() == set(before)
    assert set(project.ids()) == set(before)


@pytest.mark.every_compose
@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_a_bad_image_is_rolled_back_to_the_very_same_containers(project: Project, order: str):
    good = project.image("good")
    bad = project.image("bad", 'CMD ["sh", "-c", "echo starting; echo out of cheese; exit 42"]')
    web = {"stop_signal": "SIGKILL", "restart": "unless-stopped", "deploy": {"replicas": 2}}
    project.deploy({"web": {**web, "image": good}})
    before, policies = project.ids(), restart_policies(project)
    project.write({"web": {**web, "image": bad, "restart": "no"}})

    with project.events() as events:
        result = project.roll_out(order=order, stable=1)

    assert_put_back(project, result, before)
    assert restart_policies(project) == policies
    assert set(policies.values()) == {"unless-stopped"}
    failure = result["failure"]
    assert failure["service"] == "web"
    assert failure["container"] == f"{project.name}-web-3"
    assert failure["reason"] == "exited"
    assert failure["exit_code"] == 42
    assert failure["logs"] == ["starting", "out of cheese"]
    for part in (f"{project.name}-web-3", "code 42", "out of cheese", f"{project.name}-web-1"):
        assert part in result["msg"]
    if order == "start_first":
        assert project.ids() == before
        assert not [event for event in events if event.action == "die" and event.container.endswith(("-1", "-2"))]
    else:
        # Never two owners: what took its place was gone before the old one came back.
        new = failure["container"]
        old = next(event.container for event in events if event.action == "die" and event.container != new)
        back = [event.time for event in events if event.action == "start" and event.container == old]
        assert first(events, "die", new) < back[-1]
    assert project.deploy({"web": {**web, "image": good}})["changed"] is False


@pytest.mark.every_compose
def test_a_crash_loop_without_a_healthcheck_fails(project: Project):
    project.deploy({"web": service(restart="always")})
    before = project.ids()
    project.write({"web": service("echo cannot bind; exit 9", restart="always")})

    result = project.roll_out(stable=2)

    assert_put_back(project, result, before)
    assert result["failure"]["reason"] == "restarting"
    assert "exit code 9" in result["failure"]["detail"]
    assert "cannot bind" in result["msg"]


@pytest.mark.parametrize("parallelism", [0, 1])
def test_a_second_replica_that_dies_fails(project: Project, parallelism: int):
    """Two replicas share a folder, and only the first to come may have it."""
    project.write(
        {
            "web": service(
                "mkdir /shared/mine || exit 7; sleep 1000",
                volumes=["shared:/shared"],
                deploy={"replicas": 2},
                **{"x-rollout": {"shared": ["/shared"]}},
            )
        },
        volumes={"shared": {}},
    )

    result = project.roll_out(stable=1, parallelism=parallelism)

    assert result["outcome"] == "rolled_back"
    assert result["failure"]["exit_code"] == 7
    assert result["serving"] == []
    assert project.all_ids() == set()


@pytest.mark.every_compose
def test_unhealthy_until_the_timeout_fails_with_the_last_probe(project: Project):
    project.deploy({"web": becomes_healthy()})
    before = project.ids()
    project.write({"web": service(healthcheck=healthcheck("echo no route; exit 5"))})

    result = project.roll_out(timeout=4)

    assert_put_back(project, result, before)
    assert project.ids() == before
    assert result["failure"]["reason"] == "unhealthy"
    assert result["failure"]["health_log"][-1]["exit_code"] == 5
    assert "exit code 5, no route" in result["msg"]


def test_unhealthy_before_the_timeout_is_no_failure(project: Project):
    with project.events() as events:
        project.deploy({"web": becomes_healthy(1.2)})

    actions = [event.action for event in events]
    assert "health_status: unhealthy" in actions
    assert "health_status: healthy" in actions


def test_a_container_that_exits_while_it_has_to_stay_healthy_fails(project: Project):
    project.deploy({"web": service()})
    before = project.ids()
    project.write(
        {"web": service("touch /tmp/ready; sleep 1; echo lost the database; exit 4", healthcheck=healthcheck())}
    )

    result = project.roll_out(stable=5)

    assert_put_back(project, result, before)
    assert result["failure"]["exit_code"] == 4


def test_a_host_port_that_is_taken_fails_with_the_engine_s_words(project: Project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        project.deploy({"web": service()})
        before = project.ids()
        project.write({"web": service(ports=[f"127.0.0.1:{port}:80"])})

        result = project.roll_out()

    assert_put_back(project, result, before)
    assert result["failure"]["reason"] == "create"
    assert result["failure"]["container"] == f"{project.name}-web-2"
    assert str(port) in result["msg"]


@pytest.mark.every_compose
def test_the_whole_project_goes_back_when_a_later_service_fails(project: Project):
    def services(level: int, web: str) -> dict[str, Any]:
        return {
            "db": service(environment={"LEVEL": str(level)}, volumes=["data:/data"]),
            "api": service(environment={"LEVEL": str(level)}, depends_on=["db"]),
            "web": service(web, depends_on=["api"]),
        }

    project.write(services(1, "sleep 1000"), volumes={"data": {}})
    project.deploy()
    before = project.ids()
    project.write(services(2, "exit 1"), volumes={"data": {}})

    with project.events() as events:
        result = project.roll_out(stable=1)

    assert_put_back(project, result, before)
    assert result["failure"]["service"] == "web"
    assert [each["new"] != [] for each in result["services"]] == [True, True, True]
    assert max(running_counts(events, "db", 1)) == 1
    assert min(running_counts(events, "api", 1)) == 1


def test_a_failed_one_shot_stops_the_rollout_before_its_dependants(project: Project):
    def services(migrate: str, level: int) -> dict[str, Any]:
        return {
            "migrate": service(migrate),
            "web": service(
                environment={"LEVEL": str(level)},
                depends_on={"migrate": {"condition": "service_completed_successfully"}},
            ),
        }

    project.deploy(services("exit 0", 1))
    before, everything = project.ids(), project.all_ids()
    project.write(services("echo column exists already; exit 3", 2))

    with project.events() as events:
        result = project.roll_out()

    assert result["outcome"] == "rolled_back"
    assert result["failure"]["service"] == "migrate"
    assert result["failure"]["exit_code"] == 3
    assert "column exists already" in result["msg"]
    assert not [event for event in events if event.service == "web"]
    assert project.ids() == before
    assert project.all_ids() == everything


def test_a_one_shot_that_does_not_finish_fails_at_its_timeout(project: Project):
    project.write(
        {
            "migrate": service(**{"x-rollout": {"timeout": "1s"}}),
            "web": service(depends_on={"migrate": {"condition": "service_completed_successfully"}}),
        }
    )

    result = project.roll_out()

    assert result["outcome"] == "rolled_back"
    assert result["failure"]["reason"] == "timeout"
    assert project.all_ids() == set()


@pytest.mark.every_compose
def test_a_tag_that_moved_to_a_bad_image_points_back(project: Project):
    reference = project.image("live")
    good = project.engine.images.get(reference).id
    project.deploy({"web": {"image": reference, "stop_signal": "SIGKILL"}})
    before = project.ids()
    project.image("live", 'CMD ["false"]')
    assert project.engine.images.get(reference).id != good

    result = project.roll_out(stable=1)

    assert_put_back(project, result, before)
    assert project.engine.images.get(reference).id == good
    project.compose("up", "--detach")
    assert project.ids() == before


def test_a_first_deployment_that_fails_leaves_no_container(project: Project):
    project.write({"db": service(), "web": service("exit 1", depends_on=["db"])})

    result = project.roll_out(stable=1)

    assert result["outcome"] == "rolled_back"
    assert "none of it serves" in result["msg"]
    assert project.all_ids() == set()


def test_no_healthcheck_may_be_a_failure(project: Project):
    project.write({"web": service(**{"x-rollout": {"no_healthcheck": "fail"}})})

    result = project.roll_out()

    assert result["outcome"] == "rolled_back"
    assert "no healthcheck" in result["msg"]
    assert project.all_ids() == set()


def test_out_of_memory_is_named(project: Project):
    project.write({"web": service("x=x; while :; do x=$x$x; done", mem_limit="16m")})

    result = project.roll_out(stable=10)

    assert result["outcome"] == "rolled_back"
    assert "out of memory" in result["msg"]


def test_an_image_that_is_missing_changes_nothing(project: Project):
    project.deploy({"web": service()})
    before = project.objects()
    missing = f"{project.name}:never-built"
    project.write({"web": {**service(), "image": missing}})

    # Refused by the plan, and given up when the pull failed.
    for policy, said in (("never", "No container was changed"), ("missing", "This run had changed nothing; serving: ")):
        result = project.roll_out(pull=policy)
        assert result.failed
        assert missing in result["msg"]
        assert said in result["msg"]
    assert project.objects() == before
    assert IMAGE in project.engine.images.get(IMAGE).tags
