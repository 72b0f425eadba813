# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What trials of the design found on Compose 2.26.1 and 2.40.3: how naive rollouts lose data or traffic.

Each finding, and where it is tested on the real engine:

1   creating one service touches its dependencies       here
2   a changed network stops what runs                   test_refusals: a_changed_network; a new name: here
3   a changed volume is not seen, or loses data         test_refusals: a_changed_volume
4   two owners of a port or a data folder on a way back here; test_rollback: a_bad_image
5   stopped old containers come back with the engine    test_engine_restart
6   container_name                                      here; test_matrix: recreate
7   what is bound to a container by id                  here; test_five_services
8   what two containers cannot share                    here; test_update: order_auto
9   anonymous volumes                                   test_refusals: data_in_an_anonymous_volume
10  files and tags that changed meanwhile               test_surroundings; test_rollback: a_tag_that_moved
12  one-shots                                           test_surroundings; test_rollback: a_failed_one_shot
13  names in an upstream file                           test_proxy
14  traffic by Docker's DNS                             test_surroundings; test_update: behind_docker_s_dns
15  the lock of a killed run                            test_interruption: keeps_others_out
16  a person's `docker compose up` meanwhile            test_surroundings
17  what Compose prints as YAML                         test_surroundings
18  another Compose, another hash                       test_surroundings
19  events that do not come                             test_surroundings
20  precedence, and the failure actions                 test_swarm_cases; test_five_services
21  secrets                                             test_surroundings; test_task: diff; test_files: inline ones

Findings 11 and 22 are about pruning and live progress, not about updates.
"""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Any

import pytest

from .project import PATIENCE, Project, becomes_healthy, docker_that, first, running_counts, service


def level(number: int, **keys: Any) -> dict[str, Any]:
    return service(environment={"LEVEL": str(number)}, **keys)


def levels(project: Project, name: str = "web") -> list[str]:
    """Give the versions that run, sorted."""
    return project.variables(name, "LEVEL")


# 1


@pytest.mark.every_compose
def test_creating_a_dependant_leaves_the_new_dependency_and_the_stopped_old_one_alone(project: Project):
    def services(number: int) -> dict[str, Any]:
        return {
            "db": level(number, volumes=["data:/data"]),
            "web": level(number, depends_on=["db"], deploy={"replicas": 2}),
        }

    project.write(services(1), volumes={"data": {}})
    project.deploy()
    project.write(services(2), volumes={"data": {}})

    with project.events() as events:
        project.deploy()

    old, new = f"{project.name}-db-1", f"{project.name}-db-2"
    assert project.names("db") == [new]
    assert [event.container for event in events if event.service == "db" and event.action == "die"] == [old]
    last = max(event.time for event in events if event.service == "web" and event.action == "start")
    assert first(events, "destroy", old) > last
    assert min(running_counts(events, "web", 2)) == 2
    before = project.ids()
    project.compose("up", "--detach")
    assert project.ids() == before


def test_a_compose_that_touches_another_service_ends_the_rollout(project: Project, tmp_path: Path):
    def services(number: int) -> dict[str, Any]:
        return {"db": level(1), "web": level(number, depends_on=["db"])}

    project.deploy(services(1))
    (old,) = project.containers("web")
    project.write(services(2))
    meddling = docker_that(tmp_path / "docker", after_create=f"docker rm --force {project.name}-db-1 >&2")

    result = project.roll_out(docker_cli=str(meddling))

    assert result.failed
    assert result["failure"]["reason"] == "create"
    assert f"{project.name}-db-1" in result["msg"]
    assert project.ids("web").keys() == {old.id} == {each.id for each in project.containers("web")}


# 2


@pytest.mark.every_compose
@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_a_network_under_a_new_name_is_rolled_out_without_an_interruption(project: Project, good: bool):
    def write(number: int, script: str, **network: Any) -> None:
        web = service(script, environment={"LEVEL": str(number)})
        project.write({"web": web}, networks={"default": {"name": f"{project.name}-{number}", **network}})

    write(1, "sleep 1000")
    project.deploy()
    before = project.ids()
    write(2, "sleep 1000" if good else "exit 3", internal=True)

    with project.events() as events:
        result = project.roll_out(stable=1)

    assert min(running_counts(events, "web", 1)) == 1
    networks = {network.name for network in project.engine.networks.list(names=[project.name])}
    (web,) = project.containers("web")
    if good:
        assert not result.failed, result["msg"]
        assert list(web.attrs["NetworkSettings"]["Networks"]) == [f"{project.name}-2"]
        after = project.ids()
        project.compose("up", "--detach")
        assert project.ids() == after
    else:
        assert result["outcome"] == "rolled_back"
        assert project.ids() == before
        # What this run brought along leaves with it.
        assert networks == {f"{project.name}-1"}


# 4


def test_on_the_way_back_a_port_and_a_folder_have_one_owner_at_a_time(project: Project, free_port: int):
    def write(number: int, script: str) -> None:
        web = service(
            script,
            environment={"LEVEL": str(number)},
            ports=[f"127.0.0.1:{free_port}:8000"],
            volumes=["data:/data"],
        )
        project.write({"web": web}, volumes={"data": {}})

    write(1, "httpd -f -p 8000")
    project.deploy()
    before = project.ids()
    write(2, "sleep 1; exit 3")

    with project.events() as events:
        result = project.roll_out(stable=3)

    assert result["outcome"] == "rolled_back", result["problems"]
    assert result["problems"] == []
    assert project.ids().keys() == before.keys() == project.all_ids()
    assert max(running_counts(events, "web", 1)) == 1
    with socket.create_connection(("127.0.0.1", free_port), timeout=PATIENCE):
        pass


@pytest.mark.every_compose
def test_on_the_way_back_one_that_may_share_is_back_before_the_new_one_leaves(project: Project):
    def services(number: int, last: str) -> dict[str, Any]:
        return {
            "api": becomes_healthy(0.3, environment={"LEVEL": str(number)}),
            "web": service(last, depends_on=["api"]),
        }

    project.deploy(services(1, "sleep 1000"))
    (old,) = project.ids("api")
    project.write(services(2, "exit 3"))

    with project.events() as events:
        result = project.roll_out(stable=1)

    assert result["outcome"] == "rolled_back", result["problems"]
    assert set(project.ids("api")) == {old}
    assert min(running_counts(events, "api", 1)) == 1
    happened = [
        (event.action, event.container[-1])
        for event in events
        if event.service == "api" and event.action in ("start", "die", "health_status: healthy")
    ]
    assert happened == [
        ("start", "2"), ("health_status: healthy", "2"), ("die", "1"),
        ("start", "1"), ("health_status: healthy", "1"), ("die", "2"),
    ]  # fmt: skip


# 6


@pytest.mark.every_compose
def test_a_fixed_name_is_recreated_and_on_failure_made_again_as_it_was(project: Project):
    name, reference = f"{project.name}-fixed", project.image("live")

    def web(number: int) -> dict[str, Any]:
        return {**level(number, container_name=name, restart="always"), "image": reference, "command": None}

    good = project.engine.images.get(reference).id
    project.deploy({"web": web(1)})
    planned = project.roll_out(check=True)
    assert planned["changed"] is False
    project.write({"web": web(2)})
    assert project.roll_out(check=True).service("web")["order"] == "recreate"
    project.deploy()
    assert levels(project) == ["2"]
    before = project.ids()
    project.compose("up", "--detach")
    assert project.ids() == before

    # Both move: the configuration, and what the tag names.
    project.image("live", 'CMD ["sh", "-c", "exit 3"]')
    project.write({"web": web(3)})
    result = project.roll_out(stable=1)

    assert result["outcome"] == "rolled_back", result["problems"]
    assert result["problems"] == []
    (container,) = project.containers()
    assert (container.name, container.status, container.attrs["Image"]) == (name, "running", good)
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert levels(project) == ["2"]
    project.write({"web": web(2)})
    before = project.ids()
    assert project.deploy()["changed"] is False
    project.compose("up", "--detach")
    assert project.ids() == before


def test_a_fixed_name_that_nobody_could_make_again_is_refused_with_what_to_do(project: Project):
    name = f"{project.name}-fixed"
    project.write({"web": level(1, container_name=name)})
    project.compose("up", "--detach")
    before = project.objects()
    project.write({"web": level(2, container_name=name)})

    for check in (True, False):
        result = project.roll_out(check=check)
        assert result.failed
        assert "web: " in result["msg"]
        assert "container_name" in result["msg"]
        assert "No container was changed" in result["msg"]
    assert project.objects() == before

    # What runs is committed once it is rolled out as it is.
    project.write({"web": level(1, container_name=name)})
    project.deploy()
    project.write({"web": level(2, container_name=name)})
    project.deploy()
    assert levels(project) == ["2"]


# 7


@pytest.mark.every_compose
def test_a_sidecar_is_bound_to_the_new_container_also_where_its_name_sorts_before_the_old_one(project: Project):
    def write(number: int) -> None:
        project.write(
            {
                "app": level(number),
                "sidecar": service(network_mode="service:app"),
                "reader": service(volumes_from=["app"]),
                "watcher": service(pid="service:app"),
            }
        )

    write(1)
    project.compose("up", "--detach", "--scale", "app=9", "app")
    for number in range(1, 9):
        project.engine.containers.get(f"{project.name}-app-{number}").remove(force=True)
    project.deploy()
    (old,) = project.ids("app")
    assert project.names("app") == [f"{project.name}-app-9"]
    write(2)

    project.deploy()

    (new,) = project.containers("app")
    assert new.name == f"{project.name}-app-10"
    for name, key in (("sidecar", "NetworkMode"), ("watcher", "PidMode")):
        (follower,) = project.containers(name)
        assert follower.attrs["HostConfig"][key] == f"container:{new.id}"
    (reader,) = project.containers("reader")
    assert reader.attrs["HostConfig"]["VolumesFrom"] == [new.id]
    before = project.ids()
    assert len(before) == 4
    assert old not in before
    project.compose("up", "--detach")
    assert project.deploy()["changed"] is False
    assert project.ids() == before


# 8


@pytest.mark.every_compose
def test_a_fixed_address_passes_from_the_old_container_to_the_new_one(project: Project):
    prefix = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"

    def write(number: int) -> None:
        project.write(
            {"web": level(number, networks={"default": {"ipv4_address": f"{prefix}.10"}})},
            networks={"default": {"ipam": {"config": [{"subnet": f"{prefix}.0/24"}]}}},
        )

    write(1)
    project.deploy()
    write(2)

    with project.events() as events:
        result = project.deploy()

    assert result.service("web")["order"] == "stop_first"
    assert max(running_counts(events, "web", 1)) == 1
    (web,) = project.containers("web")
    assert web.attrs["NetworkSettings"]["Networks"][f"{project.name}_default"]["IPAddress"] == f"{prefix}.10"


def test_several_containers_on_one_volume_all_stop_before_the_first_new_one_starts(project: Project):
    def write(number: int) -> None:
        project.write({"web": level(number, volumes=["data:/data"], deploy={"replicas": 2})}, volumes={"data": {}})

    write(1)
    project.deploy()
    write(2)

    with project.events() as events:
        project.deploy(parallelism=1)

    happened = [event.action for event in events if event.service == "web" and event.action in ("start", "die")]
    assert happened == ["die", "die", "start", "start"]
