# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How running containers are replaced by new ones."""

from __future__ import annotations

from typing import Any

import pytest

from .project import Project, becomes_healthy, first, running_counts, service


def with_level(level: int, definition: dict[str, Any]) -> dict[str, Any]:
    return {**definition, "environment": {"LEVEL": str(level)}}


@pytest.mark.every_compose
def test_start_first_keeps_the_old_container_until_the_new_one_is_healthy(project: Project):
    web = becomes_healthy(0.5)
    project.deploy({"web": with_level(1, web)})
    project.write({"web": with_level(2, web)})
    old, new = f"{project.name}-web-1", f"{project.name}-web-2"

    with project.events() as events:
        result = project.deploy()

    assert result.service("web")["order"] == "start_first"
    assert result.service("web")["interrupts"] is False
    assert result.service("web")["old"] == [old]
    assert result.service("web")["new"] == [new]
    assert first(events, "health_status: healthy", new) < first(events, "die", old) < first(events, "destroy", old)
    assert project.names() == [new]
    assert len(project.all_ids()) == 1


@pytest.mark.every_compose
def test_stop_first_frees_the_host_port_before_the_new_container_starts(project: Project, free_port: int):
    web = service("httpd -f -p 8000", ports=[f"127.0.0.1:{free_port}:8000"])
    project.deploy({"web": with_level(1, web)})
    project.write({"web": with_level(2, web)})
    old, new = f"{project.name}-web-1", f"{project.name}-web-2"

    with project.events() as events:
        result = project.deploy()

    assert result.service("web")["order"] == "stop_first"
    assert result.service("web")["interrupts"] is True
    assert first(events, "die", old) < first(events, "start", new) < first(events, "destroy", old)
    assert project.names() == [new]


def test_two_containers_never_have_one_data_volume(project: Project):
    def db(level: int) -> dict[str, Any]:
        return with_level(level, service("touch /data/$LEVEL; sleep 1000", volumes=["data:/data"]))

    project.write({"db": db(1)}, volumes={"data": {}})
    project.deploy()
    project.write({"db": db(2)}, volumes={"data": {}})

    with project.events() as events:
        result = project.deploy()

    assert result.service("db")["order"] == "stop_first"
    assert max(running_counts(events, "db", 1)) == 1
    (container,) = project.containers("db")
    assert container.exec_run(["ls", "/data"]).output.split() == [b"1", b"2"]


# What a service may have, and the order in which a container of it is replaced.
ORDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("start_first", {}),
    "tmpfs": ("start_first", {"tmpfs": ["/data"]}),
    "read-only-volume": ("start_first", {"volumes": ["data:/data:ro"]}),
    "shared-volume": ("start_first", {"volumes": ["data:/data"], "x-rollout": {"shared": ["/data"]}}),
    "any-port": ("start_first", {"ports": ["8000"]}),
    "volume": ("stop_first", {"volumes": ["data:/data"]}),
    "bind-mount": ("stop_first", {"volumes": ["./data:/data"]}),
    "host-namespace": ("stop_first", {"pid": "host"}),
    "device": ("stop_first", {"devices": ["/dev/null:/dev/null2"]}),
    "asked-for": ("stop_first", {"deploy": {"update_config": {"order": "stop-first"}}}),
}


def test_order_auto_takes_start_first_where_nothing_is_exclusive(project: Project):
    for level in (1, 2):
        services = {name: with_level(level, service(**keys)) for name, (_order, keys) in ORDERS.items()}
        project.write(services, volumes={"data": {}})
        if level == 1:
            project.compose("up", "--detach")

    planned = project.roll_out(check=True)

    assert {each["service"]: each["order"] for each in planned["services"]} == {
        name: order for name, (order, _keys) in ORDERS.items()
    }
    assert all(each["action"] == "update" for each in planned["services"])


@pytest.mark.parametrize(("parallelism", "most"), [(2, 5), (0, 6)])
def test_start_first_never_has_fewer_than_wanted_nor_more_than_a_batch_on_top(
    project: Project, parallelism: int, most: int
):
    web = service(deploy={"replicas": 3, "update_config": {"parallelism": parallelism}})
    project.deploy({"web": with_level(1, web)})
    project.write({"web": with_level(2, web)})

    with project.events() as events:
        project.deploy()

    counts = running_counts(events, "web", 3)
    assert min(counts) == 3
    assert max(counts) == most
    assert len(project.names("web")) == 3


def test_stop_first_takes_down_one_batch_at_a_time(project: Project):
    web = service(deploy={"replicas": 3})
    project.deploy({"web": with_level(1, web)})
    project.write({"web": with_level(2, web)})

    with project.events() as events:
        project.deploy(order="stop_first", parallelism=1)

    counts = running_counts(events, "web", 3)
    assert min(counts) == 2
    assert max(counts) == 3


@pytest.mark.every_compose
def test_scaling_leaves_the_containers_that_stay_alone(project: Project):
    project.deploy({"web": service(deploy={"replicas": 1})})
    one = project.ids()

    up = project.deploy({"web": service(deploy={"replicas": 3})})
    three = project.ids()
    down = project.deploy({"web": service(deploy={"replicas": 1})})

    assert up.service("web")["action"] == down.service("web")["action"] == "scale"
    assert one.items() < three.items()
    assert len(three) == 3
    assert project.ids() == one
    assert project.all_ids() == set(one)


@pytest.mark.every_compose
def test_a_changed_env_file_is_seen_and_an_unchanged_one_is_not(project: Project):
    variables = project.directory / "web.env"
    variables.write_text("COLOUR=green\n", encoding="utf-8")
    project.deploy({"web": service(env_file="web.env")})
    before = project.ids()
    assert project.deploy()["changed"] is False
    assert project.ids() == before

    variables.write_text("COLOUR=blue\n", encoding="utf-8")
    result = project.deploy()

    assert result["changed"] is True
    assert result.service("web")["reasons"] == ["environment.COLOUR: changed"]
    (web,) = project.containers("web")
    assert "COLOUR=blue" in web.attrs["Config"]["Env"]


def test_a_tag_that_names_another_image_is_an_update(project: Project):
    reference = project.image("live", "ENV RELEASE=1")
    project.deploy({"web": {**service(), "image": reference}})
    project.image("live", "ENV RELEASE=2")

    result = project.deploy()

    assert result.service("web")["action"] == "update"
    assert any(reason.startswith(f"image {reference}: ") for reason in result.service("web")["reasons"])
    (web,) = project.containers("web")
    assert "RELEASE=2" in web.attrs["Config"]["Env"]


def test_a_policy_alone_changes_no_container(project: Project):
    project.deploy({"web": service()})
    before = project.ids()

    result = project.deploy({"web": service(**{"x-rollout": {"stable": "2s"}})})

    assert result["changed"] is False
    assert project.ids() == before


def test_a_person_s_compose_run_container_is_left_alone(project: Project):
    project.deploy({"web": with_level(1, service())})
    person = project.compose("run", "--detach", "web", "sleep", "1000").strip()
    project.write({"web": with_level(2, service())})

    project.deploy()

    container = project.engine.containers.get(person)
    assert container.status == "running"
    assert project.deploy()["changed"] is False


def test_a_service_updated_by_start_first_behind_docker_s_dns_is_warned_of(project: Project):
    services = {"api": service(), "web": service(depends_on=["api"])}
    project.deploy(services)
    services["api"] = with_level(2, services["api"])

    result = project.deploy(services)

    assert "web reaches api by Docker's DNS" in result.warnings


def test_several_services_are_updated_dependencies_first(project: Project):
    services = {"web": service(depends_on=["api"]), "api": service(depends_on=["db"]), "db": service()}
    project.deploy(services)
    project.write({name: with_level(2, definition) for name, definition in services.items()})

    with project.events() as events:
        project.deploy()

    started = [event.service for event in events if event.action == "start"]
    assert started == ["db", "api", "web"]
    assert len(project.all_ids()) == 3
