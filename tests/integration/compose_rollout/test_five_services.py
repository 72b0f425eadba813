# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Five services that need each other in every way that a Compose file has a word for.

    db        has a data volume and a healthcheck
    backup    reads the volumes of db (volumes_from)
    api       extends a service of another file, waits for the one-shot, and restarts with db
    sidecar   lives in the network of api (network_mode: service:api)
    web       is linked to api, and on an external network

Beside them: migrate, a one-shot that waits until db is healthy; batch, of which there are to be none; debug, whose
profile is not active.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .project import SERVICE, Event, Project, Result, becomes_healthy, first, healthcheck, running_counts, service

RUNNING = ("api", "backup", "db", "sidecar", "web")
# What is asked of api and of sidecar alike: whether somebody answers at the port, on the address of their own network.
ANSWERS = healthcheck("nc 127.0.0.1 8000 </dev/null", retries=10)


def services(level: dict[str, int], script: dict[str, str], batches: int) -> dict[str, Any]:
    """Give the services; `level` and `script` are what differs from version to version, by name."""

    def version(name: str) -> dict[str, Any]:
        return {"environment": {"LEVEL": str(level.get(name, 1))}}

    def long_running(name: str, **keys: Any) -> dict[str, Any]:
        return service(script.get(name, "sleep 1000"), **version(name), **keys)

    return {
        "db": {
            **becomes_healthy(0.2, **version("db"), volumes=["data:/data"]),
            **({"command": ["sh", "-c", script["db"]]} if "db" in script else {}),
        },
        "backup": long_running("backup", volumes_from=["db:ro"]),
        "migrate": service(
            script.get("migrate", "echo migrated"),
            **version("migrate"),
            depends_on={"db": {"condition": "service_healthy"}},
        ),
        "api": {
            "extends": {"file": "base.yaml", "service": "server"},
            **version("api"),
            **({"command": ["sh", "-c", script["api"]]} if "api" in script else {}),
            "depends_on": {
                "migrate": {"condition": "service_completed_successfully"},
                "db": {"condition": "service_healthy", "restart": True},
            },
        },
        "sidecar": long_running("sidecar", network_mode="service:api", healthcheck=ANSWERS),
        "web": long_running(
            "web", links=["api:backend"], networks=["default", "elsewhere"], depends_on=["api", "backup"]
        ),
        "batch": long_running("batch", deploy={"replicas": batches}),
        "debug": long_running("debug", profiles=["debugging"], depends_on=["web"]),
    }


def write(
    project: Project, level: dict[str, int] | None = None, script: dict[str, str] | None = None, batches: int = 0
) -> None:
    project.write(
        services(level or {}, script or {}, batches),
        volumes={"data": {}},
        networks={"default": {}, "elsewhere": {"external": True, "name": f"{project.name}-elsewhere"}},
    )


@pytest.fixture
def five(project: Project) -> Iterator[Project]:
    base = {"server": service("httpd -f -p 8000", healthcheck=ANSWERS)}
    (project.directory / "base.yaml").write_text(yaml.safe_dump({"services": base}), encoding="utf-8")
    network = project.engine.networks.create(f"{project.name}-elsewhere")
    write(project)
    yield project
    project.remove()
    network.remove()


def network_namespace(project: Project, name: str) -> str:
    (container,) = project.containers(name, running=True)
    return str(Path(f"/proc/{container.attrs['State']['Pid']}/ns/net").readlink())


def assert_whole(project: Project) -> None:
    """All five run, one container each, and those that are bound to another one are bound to the one that runs."""
    assert [each.labels[SERVICE] for each in project.containers(running=True)] == list(RUNNING)
    assert network_namespace(project, "sidecar") == network_namespace(project, "api")
    (db,), (backup,) = project.containers("db", running=True), project.containers("backup", running=True)
    assert [each["Name"] for each in backup.attrs["Mounts"]] == [each["Name"] for each in db.attrs["Mounts"]]
    (sidecar,), (api,) = project.containers("sidecar"), project.containers("api")
    assert sidecar.attrs["HostConfig"]["NetworkMode"] == f"container:{api.id}"
    (web,) = project.containers("web")
    assert set(web.attrs["NetworkSettings"]["Networks"]) == {f"{project.name}_default", f"{project.name}-elsewhere"}
    # The link's alias leads to what serves now.
    assert web.exec_run(["sh", "-c", "nc backend 8000 </dev/null"]).exit_code == 0


def by_service(project: Project) -> dict[str, tuple[str, str]]:
    """Give id and start time of what runs, by service."""
    return {
        each.labels[SERVICE]: (each.id, each.attrs["State"]["StartedAt"]) for each in project.containers(running=True)
    }


def actions(result: Result) -> dict[str, str]:
    return {each["service"]: each["action"] for each in result["services"] if each["action"] != "none"}


def is_a_probe(event: Event) -> bool:
    return event.action.startswith(("exec_", "health_status"))


@pytest.mark.every_compose
def test_the_first_deployment_keeps_to_the_order_and_leaves_nothing_to_do(five: Project):
    with five.events() as events:
        result = five.deploy()

    assert actions(result) == {
        "db": "create", "backup": "create", "migrate": "run", "api": "create", "sidecar": "create", "web": "create",
    }  # fmt: skip
    name = f"{five.name}-{{}}-1".format
    assert first(events, "health_status: healthy", name("db")) < first(events, "start", name("migrate"))
    assert first(events, "die", name("migrate")) < first(events, "start", name("api"))
    assert first(events, "health_status: healthy", name("api")) < first(events, "start", name("sidecar"))
    assert first(events, "start", name("backup")) < first(events, "start", name("web"))
    assert_whole(five)
    assert five.containers("batch") == five.containers("debug") == []

    before = five.objects()
    with five.events() as events:
        again = five.deploy()

    assert again["plan"] == []
    assert again["changed"] is False
    assert five.objects() == before
    assert [event for event in events if not is_a_probe(event)] == []


@pytest.mark.every_compose
def test_compose_up_after_every_service_changed_finds_nothing_to_do(five: Project):
    five.deploy()
    write(five, dict.fromkeys((*RUNNING, "migrate"), 2))
    five.deploy()
    assert_whole(five)
    before = five.ids()

    five.compose("up", "--detach")

    assert five.ids() == before
    assert_whole(five)


# Which service changes -> what happens to each. What is not named stays as it is, to the start time.
CHANGES: dict[str, dict[str, str]] = {
    "db": {"db": "update", "backup": "update", "api": "restart", "sidecar": "restart"},
    "backup": {"backup": "update"},
    "migrate": {"migrate": "run"},
    "api": {"migrate": "run", "api": "update", "sidecar": "update"},
    "sidecar": {"sidecar": "update"},
    "web": {"web": "update"},
    "batch": {},
    "debug": {},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_a_change_of_one_service_reaches_those_that_hang_on_it_and_no_other(five: Project, changed: str):
    five.deploy()
    before = by_service(five)
    write(five, {changed: 2})

    with five.events() as events:
        result = five.deploy()

    assert actions(result) == CHANGES[changed]
    assert result["changed"] is bool(CHANGES[changed])
    after = by_service(five)
    for name in RUNNING:
        action = CHANGES[changed].get(name, "none")
        assert (after[name][0] != before[name][0]) == (action == "update"), name
        assert (after[name][1] != before[name][1]) == (action != "none"), name
        assert max(running_counts(events, name, 1)) <= (2 if name == "web" else 1)
    assert_whole(five)
    assert five.deploy()["changed"] is False


BROKEN = {
    "db": "exit 3",
    "backup": "exit 3",
    "migrate": "exit 3",
    "api": "exit 3",
    "sidecar": "exit 3",
    "web": "exit 3",
}


# Its name is in the link of web, so it gives way before its successor is made; and sidecar holds its id. Where a run
# gets that far, the two are made again as they were.
MADE_AGAIN = ("api", "sidecar")
FAILS_BEFORE_API = ("db", "backup", "migrate")


def versions(project: Project) -> dict[str, list[str]]:
    """Give image, variables and command of what runs, by container name."""
    return {
        each.name: [each.attrs["Image"], *each.attrs["Config"]["Env"], *each.attrs["Config"]["Cmd"]]
        for each in project.containers(running=True)
    }


@pytest.mark.parametrize("broken", BROKEN)
def test_one_that_fails_takes_the_whole_project_back_to_the_containers_of_before(five: Project, broken: str):
    five.deploy()
    before, old = by_service(five), versions(five)
    names = {each.name for each in five.containers() if each.labels[SERVICE] != "migrate"}
    write(five, dict.fromkeys((*RUNNING, "migrate"), 2), {broken: BROKEN[broken]})

    result = five.roll_out(stable=1)

    assert result.failed
    assert result["outcome"] == "rolled_back", result["problems"]
    assert result["problems"] == []
    assert result["failure"]["service"] == broken
    assert result["failure"]["exit_code"] == 3
    assert versions(five) == old
    after = by_service(five)
    for name in RUNNING:
        if name not in MADE_AGAIN or broken in FAILS_BEFORE_API:
            assert after[name][0] == before[name][0], name
    # But for what the one-shot left nothing else is there.
    assert {each.name for each in five.containers() if each.labels[SERVICE] != "migrate"} == names
    assert_whole(five)
    write(five)
    five.deploy()
    assert {name: each[0] for name, each in by_service(five).items()} == {name: each[0] for name, each in after.items()}


def test_what_restarted_with_a_new_container_restarts_with_the_old_one_again(five: Project):
    five.deploy()
    before = by_service(five)
    write(five, {"db": 2, "web": 2}, {"web": "exit 3"})

    with five.events() as events:
        result = five.roll_out(stable=1)

    assert result["outcome"] == "rolled_back", result["problems"]
    after = by_service(five)
    assert {name: each[0] for name, each in after.items()} == {name: each[0] for name, each in before.items()}
    starts = [event.service for event in events if event.action == "start"]
    assert starts.count("api") == starts.count("sidecar") == 2
    # The old db is back before what talks to it is.
    assert len(starts) - 1 - starts[::-1].index("api") > len(starts) - 1 - starts[::-1].index("db")
    assert_whole(five)


def test_a_service_of_an_active_profile_joins_and_one_with_replicas_again_comes(five: Project):
    five.deploy()
    before = five.ids()

    result = five.deploy(profiles=["debugging"])
    assert actions(result) == {"debug": "create"}

    write(five, batches=2)
    assert actions(five.deploy(profiles=["debugging"])) == {"batch": "create"}
    assert len(five.names("batch")) == 2
    assert before.items() <= five.ids().items()

    write(five)
    five.deploy()
    assert five.containers("batch") == []
    assert five.names("debug") == [f"{five.name}-debug-1"]
