# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""First deployments, runs with nothing to do, check mode, and the ways to hand a project over."""

from __future__ import annotations

import pytest
import yaml

from .debian import IMAGE
from .project import Event, Project, becomes_healthy, first, service

COMMENTED = f"""\
# The shop. Ask before you change the port.
services:
  web:
    image: {IMAGE}  # busybox
    command: [sleep, "1000"]
    stop_signal: SIGKILL
"""


def shop() -> dict[str, dict]:
    return {
        "web": service(depends_on={"migrate": {"condition": "service_completed_successfully"}}),
        "migrate": service("echo migrated", depends_on={"db": {"condition": "service_healthy"}}),
        "db": becomes_healthy(0.3),
    }


@pytest.mark.every_compose
def test_a_first_deployment_goes_in_dependency_order_through_its_one_shot(project: Project):
    with project.events() as events:
        result = project.deploy(shop())

    assert result["changed"] is True
    assert result["outcome"] == "deployed"
    assert [each["service"] for each in result["services"]] == ["db", "migrate", "web"]
    assert [each["action"] for each in result["services"]] == ["create", "run", "create"]
    db, migrate, web = (f"{project.name}-{name}-1" for name in ("db", "migrate", "web"))
    assert project.names() == [db, web]
    assert first(events, "health_status: healthy", db) < first(events, "create", migrate)
    assert first(events, "die", migrate) < first(events, "create", web)


@pytest.mark.every_compose
def test_a_second_run_changes_and_touches_nothing(project: Project):
    project.deploy(shop())
    before = project.objects()

    with project.events() as events:
        result = project.deploy()

    assert result["changed"] is False
    assert result["outcome"] == "unchanged"
    assert result["plan"] == []
    assert project.objects() == before
    assert [event for event in events if not event.action.startswith("exec_")] == []


@pytest.mark.every_compose
def test_compose_up_after_a_rollout_recreates_nothing(project: Project):
    services = {
        "db": becomes_healthy(environment={"LEVEL": "1"}),
        "web": service(depends_on=["db"], env_file="web.env", deploy={"replicas": 2}),
    }
    (project.directory / "web.env").write_text("COLOUR=green\n", encoding="utf-8")
    project.deploy(services)
    services["db"]["environment"]["LEVEL"] = "2"
    services["web"]["environment"] = {"SHAPE": "round"}
    project.deploy(services)
    before = project.ids()

    project.compose("up", "--detach")

    assert project.ids() == before
    assert len(before) == 3


@pytest.mark.every_compose
def test_check_mode_plans_with_reasons_and_touches_nothing(project: Project):
    services = shop()
    project.write(services)
    planned = project.roll_out(check=True)
    assert planned["changed"] is True
    assert [each["action"] for each in planned["services"]] == ["create", "run", "create"]
    assert project.objects() == {"containers": {}, "networks": set(), "volumes": set()}
    assert not project.state.exists()

    project.deploy()
    before, state = project.objects(), project.state_files
    services["db"]["environment"] = {"LEVEL": "debug"}
    project.write(services)
    planned = project.roll_out(check=True)

    assert planned["changed"] is True
    assert planned.service("db")["action"] == "update"
    assert any(reason.startswith("environment") for reason in planned.service("db")["reasons"])
    assert any(project.name + "-db-1" in line for line in planned["plan"])
    assert planned.get("outcome") is None
    assert project.objects() == before
    assert project.state_files == state
    assert project.deploy()["plan"] == planned["plan"]


def test_check_mode_says_when_there_is_nothing_to_do(project: Project):
    project.deploy(shop())

    planned = project.roll_out(check=True)

    assert planned["changed"] is False
    assert planned["plan"] == []


def test_a_definition_is_installed_with_its_comments_once_it_runs(project: Project):
    installed = project.directory / "compose.yaml"

    planned = project.roll_out(check=True, definition=COMMENTED)
    assert planned["changed"] is True
    assert not installed.exists()
    project.deploy(definition=COMMENTED)
    assert installed.read_text(encoding="utf-8") == COMMENTED
    assert project.deploy(definition=COMMENTED)["changed"] is False
    before = project.ids()
    project.compose("up", "--detach")
    assert project.ids() == before


def test_a_changed_comment_in_a_definition_is_a_change_of_the_file_alone(project: Project):
    project.deploy(definition=COMMENTED)
    before, commented = project.ids(), COMMENTED.replace("Ask", "Think")

    result = project.deploy(definition=commented)

    assert result["changed"] is True
    assert project.ids() == before
    assert (project.directory / "compose.yaml").read_text(encoding="utf-8") == commented


def test_a_definition_that_fails_is_not_installed(project: Project):
    project.deploy(definition=COMMENTED)

    result = project.roll_out(definition=COMMENTED.replace('sleep, "1000"', '"false"'), stable=1)

    assert result["outcome"] == "rolled_back"
    assert (project.directory / "compose.yaml").read_text(encoding="utf-8") == COMMENTED


def test_a_definition_may_be_a_dictionary(project: Project):
    definition = {"services": {"web": {"image": IMAGE, "command": ["sleep", "1000"], "stop_signal": "SIGKILL"}}}

    assert project.deploy(definition=definition)["changed"] is True
    assert project.deploy(definition=definition)["changed"] is False
    assert yaml.safe_load((project.directory / "compose.yaml").read_text(encoding="utf-8")) == definition


def test_a_service_outside_the_active_profiles_is_left_alone(project: Project):
    services = {"web": service(), "debug": service(profiles=["debugging"])}

    project.deploy(services)
    assert project.names() == [f"{project.name}-web-1"]
    result = project.deploy(profiles=["debugging"])

    assert result.service("debug")["action"] == "create"
    assert result.service("web")["action"] == "none"
    assert len(project.names()) == 2


def test_later_files_override_earlier_ones(project: Project):
    project.write({"web": service(environment={"COLOUR": "green"})}, "base.yaml")
    project.write({"web": {"environment": {"COLOUR": "blue"}}}, "override.yaml")

    project.deploy(files=["base.yaml", "override.yaml"])

    (web,) = project.containers("web")
    assert "COLOUR=blue" in web.attrs["Config"]["Env"]
    assert project.deploy(files=["base.yaml", "override.yaml"])["changed"] is False


def test_interpolation_reads_the_env_files_given(project: Project):
    project.write({"web": service(environment={"COLOUR": "${COLOUR}"})})
    (project.directory / "colours.env").write_text("COLOUR=red\n", encoding="utf-8")

    project.deploy(env_files=["colours.env"])

    (web,) = project.containers("web")
    assert "COLOUR=red" in web.attrs["Config"]["Env"]


def test_orphans_stay_with_a_warning_and_go_when_asked(project: Project):
    project.deploy({"web": service(), "old": service()})
    project.write({"web": service()})

    stays = project.roll_out()
    assert stays["changed"] is False
    assert f"{project.name}-old-1" in stays.warnings
    goes = project.roll_out(remove_orphans=True)

    assert goes["changed"] is True
    assert project.names() == [f"{project.name}-web-1"]


def test_an_orphan_makes_way_for_the_service_that_takes_over_its_port_its_data_and_its_name(
    project: Project, free_port: int
):
    def write(name: str, script: str) -> None:
        owner = service(script, container_name=named, ports=[f"127.0.0.1:{free_port}:80"], volumes=["data:/data"])
        project.write({name: owner}, volumes={"data": {}})

    def lives(events: list[Event]) -> list[tuple[str, str]]:
        return [(e.action, e.service) for e in events if e.action in ("create", "die", "start", "destroy")]

    named = f"{project.name}-store"
    write("db", "echo precious > /data/file; sleep 1000")
    project.deploy()
    (db,) = project.containers("db")

    write("postgres", "cat /data/file; exit 7")
    with project.events() as events:
        failed = project.roll_out(remove_orphans=True, stable=1)
    assert failed["outcome"] == "rolled_back"
    assert failed["failure"]["logs"] == ["precious"]
    assert (list(project.ids()), project.names()) == ([db.id], [named])
    assert project.all_ids() == {db.id}
    way, back = [("die", "db"), ("start", "postgres")], [("die", "postgres"), ("destroy", "postgres"), ("start", "db")]
    assert lives(events) == [("create", "postgres"), *way, *back]

    write("postgres", "grep precious /data/file && sleep 1000")
    with project.events() as events:
        deployed = project.deploy(remove_orphans=True, stable=1)
    shared = f"fixed name {named}; host port {free_port}; read-write mount /data"
    assert f"stops before postgres starts: the two cannot share {shared}" in deployed["plan"][-1]
    assert lives(events) == [("create", "postgres"), *way, ("destroy", "db")]
    assert [(each.name, each.status) for each in project.containers()] == [(named, "running")]
    assert project.roll_out(remove_orphans=True)["changed"] is False


def test_a_container_somebody_stopped_is_started_again(project: Project):
    project.deploy({"web": service()})
    (web,) = project.containers("web")
    web.kill()

    result = project.deploy()

    assert result["changed"] is True
    assert result.service("web")["action"] == "repair"
    assert set(project.ids()) == {web.id}
