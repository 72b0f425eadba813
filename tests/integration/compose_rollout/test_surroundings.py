# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes around a rollout: files, one-shots' data, a person, Compose itself, events; and what others may read.

Findings 10 to 21 of the table in test_trials.
"""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path
from typing import Any

import pytest

from . import debian
from .lossy_socket import LossySocket
from .project import (
    PATIENCE,
    Project,
    becomes_healthy,
    healthcheck,
    read_in,
    running_counts,
    service,
    wait_for,
)


def level(number: int, **keys: Any) -> dict[str, Any]:
    return service(environment={"LEVEL": str(number)}, **keys)


def levels(project: Project, name: str = "web") -> list[str]:
    """Give the versions that run, sorted."""
    return project.variables(name, "LEVEL")


# 10


@pytest.mark.every_compose
def test_a_mounted_file_that_is_bad_is_read_by_the_new_container_only(project: Project):
    script = "grep -q good /app.conf || exit 6; sleep 1000"
    settings = project.directory / "app.conf"

    def replace_by(text: str) -> None:
        (project.directory / "app.conf.new").write_text(text, encoding="utf-8")
        (project.directory / "app.conf.new").rename(settings)

    replace_by("good 1\n")
    project.deploy({"web": service(script, volumes=["./app.conf:/app.conf:ro"])})
    before = project.ids()
    replace_by("bad\n")

    result = project.roll_out(stable=1)

    assert result["outcome"] == "rolled_back"
    assert result["failure"]["exit_code"] == 6
    assert result.service("web")["reasons"] == ["file ./app.conf (mounted at /app.conf): content changed"]
    assert project.ids() == before
    assert read_in(project.containers("web")[0], "/app.conf") == "good 1\n"

    replace_by("good 2\n")
    project.deploy()
    assert read_in(project.containers("web")[0], "/app.conf") == "good 2\n"
    assert project.deploy()["changed"] is False


# 12


@pytest.mark.every_compose
def test_a_one_shot_runs_when_it_has_work_and_only_then(project: Project):
    def write(migrate: int = 1, web: int = 1, script: str = "exit 0") -> None:
        project.write(
            {
                "db": level(1),
                "migrate": service(script, environment={"LEVEL": str(migrate)}, depends_on=["db"]),
                "web": level(web, depends_on={"migrate": {"condition": "service_completed_successfully"}}),
            }
        )

    def runs(**arguments: Any) -> int:
        with project.events() as events:
            project.roll_out(**arguments)
        return sum(event.service == "migrate" and event.action == "start" for event in events)

    write()
    assert runs() == 1
    assert runs() == 0
    # The database is another one, and what was done to the one before is not in it.
    project.containers("db")[0].remove(force=True)
    assert runs() == 1
    write(web=2)
    assert runs() == 1
    write(web=2, migrate=2)
    assert runs() == 1
    write(web=2, migrate=3, script="exit 3")
    assert runs() == 1
    assert runs() == 1
    # Back to what it was: that version has run before, but something else may have run since.
    write(web=2, migrate=2)
    runs()
    assert runs() == 0


# 14


def test_strict_dns_stops_the_old_one_first_where_another_service_would_meet_the_new_one_untried(project: Project):
    def services(number: int) -> dict[str, Any]:
        return {
            "api": level(number, **{"x-rollout": {"dns": "strict"}}),
            "alone": level(number, **{"x-rollout": {"dns": "strict"}}),
            "web": service(depends_on=["api"]),
        }

    project.deploy(services(1))
    project.write(services(2))

    with project.events() as events:
        result = project.deploy()

    assert result.service("api")["order"] == "stop_first"
    assert max(running_counts(events, "api", 1)) == 1
    assert result.service("alone")["order"] == "start_first"
    assert "Docker's DNS" not in result.warnings


# 16


@pytest.mark.every_compose
@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_a_person_s_compose_up_in_the_middle_ends_in_a_state_that_the_next_run_mends(project: Project, order: str):
    """Compose 2.26 removes the new container, 2.40 the old one."""
    folder = project.directory / "gate"
    folder.mkdir()

    def web(number: int) -> dict[str, Any]:
        script = (
            "sleep 1000"
            if number == 1
            else "until test -e /gate/open; do sleep 0.1; done; touch /tmp/ready; sleep 1000"
        )
        check = healthcheck("true" if number == 1 else "test -e /tmp/ready")
        return service(
            script, environment={"LEVEL": str(number)}, healthcheck=check, restart="always", volumes=["./gate:/gate:ro"]
        )

    project.deploy({"web": web(1)})
    project.write({"web": web(2)})
    run = project.start(order=order, timeout=PATIENCE)
    wait_for("the new one runs", lambda: f"{project.name}-web-2" in project.names())

    # It may meet what the rollout does at that moment, and then fails.
    project.compose("up", "--detach", may_fail=True)
    (folder / "open").touch()
    result = run.finish()

    if result["outcome"] == "deployed":
        assert levels(project) == ["2"]
    else:
        assert result.failed
        assert result["outcome"] in ("rolled_back", "dirty")
    project.deploy(order=order)
    assert levels(project) == ["2"]
    assert len(project.all_ids()) == 1
    assert project.deploy()["changed"] is False


# 17


@pytest.mark.every_compose
def test_what_compose_prints_and_yaml_1_1_reads_otherwise_is_read_as_it_was_meant(project: Project):
    (project.directory / "compose.yaml").write_text(
        f"""\
x-released: 2026-02-30
services:
  web:
    image: {debian.IMAGE}
    command: [sleep, "1000"]
    stop_signal: SIGKILL
    environment:
      EQUALS: "="
      MERGE: "<<"
      ANSWER: "no"
      OCTAL: "0123"
      DAY: "2026-02-30"
      SEXAGESIMAL: "12:34:56"
    configs:
      - source: app
        target: /app.conf
        mode: 0440
configs:
  app:
    file: ./app.conf
""",
        encoding="utf-8",
    )
    (project.directory / "app.conf").write_text("x\n", encoding="utf-8")

    project.deploy()

    (web,) = project.containers("web")
    wanted = {"EQUALS==", "MERGE=<<", "ANSWER=no", "OCTAL=0123", "DAY=2026-02-30", "SEXAGESIMAL=12:34:56"}
    assert wanted <= set(web.attrs["Config"]["Env"])
    assert project.deploy()["changed"] is False


# 18


def test_a_new_compose_that_computes_other_hashes_is_a_reason_of_its_own(
    project: Project, old_compose_environment: dict[str, str]
):
    old = dataclasses.replace(project, environment=old_compose_environment)
    (project.directory / "app.conf").write_text("x\n", encoding="utf-8")
    # The older one counts dependencies in, and prints a mode as another kind of value.
    services = {
        "db": service(),
        "app": service(configs=[{"source": "app", "target": "/app.conf", "mode": 0o440}]),
        "web": service(depends_on=["db"]),
    }
    project.write(services, configs={"app": {"file": "./app.conf"}})
    old.deploy()
    before = project.ids()

    with project.events() as events:
        result = project.deploy()

    assert result.service("db")["action"] == "none"
    for name in ("app", "web"):
        assert result.service(name)["reasons"] == ["Compose computes another hash for the same configuration"]
        assert min(running_counts(events, name, 1)) == 1
    assert len(project.ids().keys() & before.keys()) == 1
    assert project.deploy()["changed"] is False


# 19


@pytest.mark.parametrize("manner", ["deaf", "cut"])
def test_events_that_do_not_come_are_no_reason_to_miss_anything(project: Project, tmp_path: Path, manner: str):
    with LossySocket(tmp_path / "lossy", manner) as way:
        lossy = dataclasses.replace(project, environment={**project.environment, "DOCKER_HOST": way.address})
        lossy.deploy({"web": becomes_healthy(1, environment={"LEVEL": "1"})})
        before = project.ids()
        lossy.write({"web": service("sleep 1; echo out of cheese; exit 3", environment={"LEVEL": "2"})})
        result = lossy.roll_out(stable=PATIENCE)
        # Both runs did ask for events.
        assert way.streams >= 2

    assert result["outcome"] == "rolled_back"
    assert result["failure"]["reason"] == "exited"
    assert "out of cheese" in result["msg"]
    assert project.ids() == before


# 21


def test_no_secret_is_left_where_others_can_read_it(project: Project):
    secret = "correct-horse-battery"
    keys = {"API_KEY": secret, "DATABASE": f"postgres://letta:{secret}-2@db/letta"}
    project.deploy({"web": service(environment=keys)})
    project.write({"web": service("env; exit 3", environment={**keys, "API_KEY": f"{secret}-3"})})

    result = project.roll_out(stable=1, check=False, diff=True)

    assert result["outcome"] == "rolled_back"
    assert "API_KEY=[redacted]" in result["failure"]["logs"]
    assert secret not in result.output
    for path in project.state.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
