# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs at once, signals and kills in the middle of a rollout."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from .project import PATIENCE, Project, docker_that, healthcheck, service, wait_for


def with_level(level: int, **keys: Any) -> dict[str, Any]:
    return {"web": service(environment={"LEVEL": str(level)}, restart="always", **keys)}


@pytest.fixture
def slow_create(tmp_path: Path) -> dict[str, Any]:
    """Module arguments with which Compose, asked to create, says that it began and waits for the file create.go."""
    marks = tmp_path / "create"
    docker = docker_that(
        tmp_path / "docker",
        before_create=f"touch {marks}.began; while ! test -e {marks}.go; do sleep 0.1; done",
        after_create=f"touch {marks}.ended",
    )
    return {"docker_cli": str(docker)}


def started(project: Project, number: int) -> Any:
    return wait_for(f"container {number} runs", lambda: f"{project.name}-web-{number}" in project.names())


def test_a_second_run_waits_for_the_first_or_says_who_is_at_work(project: Project):
    project.write(with_level(1, healthcheck=healthcheck()))
    run = project.start(timeout=PATIENCE)
    started(project, 1)

    refused = project.roll_out(lock_timeout=0.1)
    assert refused.failed
    assert f"another rollout of this project is at work (process {run.process.pid})" in refused["msg"]
    waiting = project.start(lock_timeout=PATIENCE)
    (web,) = project.containers("web")
    web.exec_run(["touch", "/tmp/ready"])

    assert run.finish()["outcome"] == "deployed"
    assert waiting.finish()["changed"] is False


@pytest.mark.parametrize(
    ("number", "order"),
    [
        (signal.SIGTERM, "start_first"),
        (signal.SIGTERM, "stop_first"),
        (signal.SIGINT, "start_first"),
        (signal.SIGHUP, "start_first"),
    ],
)
def test_a_signal_rolls_back(project: Project, number: signal.Signals, order: str):
    project.deploy(with_level(1))
    before = project.ids()
    project.write(with_level(2))
    run = project.start(order=order, stable=60)
    started(project, 2)

    run.process.send_signal(number)
    result = run.finish()

    assert result.failed
    assert result["outcome"] == "rolled_back"
    assert result["failure"]["reason"] == "interrupted"
    assert number.name in result["msg"]
    assert project.all_ids() == set(before)
    (web,) = project.containers("web", running=True)
    assert web.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"


def test_a_signal_while_compose_creates_leaves_no_container_behind(project: Project, tmp_path: Path, slow_create: dict):
    project.deploy(with_level(1))
    before = project.ids()
    project.write(with_level(2))
    run = project.start(**slow_create)
    wait_for("Compose is at work", (tmp_path / "create.began").exists)

    run.process.send_signal(signal.SIGTERM)
    (tmp_path / "create.go").touch()
    result = run.finish()

    assert result.failed
    assert result.get("outcome") == "rolled_back"
    assert (tmp_path / "create.ended").exists()
    assert project.ids() == before
    assert project.all_ids() == set(before)


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_a_killed_run_is_finished_by_the_next(project: Project, order: str):
    project.deploy(with_level(1))
    project.write(with_level(2))
    run = project.start(order=order, stable=60)
    started(project, 2)

    run.kill()
    (new,) = project.containers("web")[1:]
    result = project.deploy(order=order)

    assert result["changed"] is True
    assert project.all_ids() == {new.id}
    assert new.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert project.deploy(order=order)["changed"] is False


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_a_killed_run_is_taken_back_by_the_files_of_before(project: Project, order: str, free_port: int):
    ports = {"ports": [f"127.0.0.1:{free_port}:80"]} if order == "stop_first" else {}
    project.deploy(with_level(1, **ports))
    (old,) = project.ids()
    project.write(with_level(2, **ports))
    run = project.start(stable=60)
    started(project, 2)

    run.kill()
    project.write(with_level(1, **ports))
    project.deploy()

    assert project.all_ids() == set(project.ids()) == {old}
    (web,) = project.containers("web")
    assert web.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert project.deploy()["changed"] is False


def test_a_killed_run_keeps_others_out_until_its_compose_is_done(project: Project, tmp_path: Path, slow_create: dict):
    project.write(with_level(1))
    run = project.start(**slow_create)
    wait_for("Compose is at work", (tmp_path / "create.began").exists)

    run.process.kill()
    early = project.roll_out(lock_timeout=0)
    assert early.failed
    assert "another rollout of this project is at work" in early["msg"]
    (tmp_path / "create.go").touch()
    project.deploy()

    # Nobody reads what that Compose prints any more; whether it got so far as to create does not matter.
    assert (tmp_path / "create.ended").exists()
    assert project.names() == [f"{project.name}-web-1"]
    assert len(project.all_ids()) == 1
    run.process.communicate()
