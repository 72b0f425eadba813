# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine restarts while a rollout is at work, or after one was killed: finding 5 of the table in test_trials."""

from __future__ import annotations

import dataclasses
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from . import debian
from .own_engine import OwnEngine
from .project import Project, service, wait_for


@pytest.fixture
def own_engine() -> Iterator[OwnEngine]:
    if os.geteuid():
        pytest.skip("an engine of its own takes root")
    # The path of a socket may have 107 characters; pytest's folders use them up.
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        engine = OwnEngine(Path(folder))
        try:
            engine.start()
            yield engine
        finally:
            engine.end(signal.SIGTERM)


@pytest.fixture
def apart(project: Project, own_engine: OwnEngine, cache: Path) -> Iterator[Project]:
    """A project on an engine that may be killed."""
    client = docker.DockerClient(base_url=own_engine.address)
    debian.ensure_image(client, cache)
    made = dataclasses.replace(
        project, engine=client, environment={**project.environment, "DOCKER_HOST": own_engine.address}
    )
    yield made
    # What it has goes with it.
    client.close()


def write_exclusive(project: Project, number: int) -> None:
    project.write(
        {"web": service(environment={"LEVEL": str(number)}, restart="always", volumes=["data:/data"])},
        volumes={"data": {}},
    )


def running(project: Project) -> list[str]:
    return project.names("web")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_old_container_stays_down_when_the_engine_restarts_after_a_killed_run(
    apart: Project, own_engine: OwnEngine, number: signal.Signals
):
    write_exclusive(apart, 1)
    apart.deploy()
    write_exclusive(apart, 2)
    run = apart.start(stable=60)
    wait_for("the new one runs", lambda: running(apart) == [f"{apart.name}-web-2"])
    run.kill()

    own_engine.end(number)
    own_engine.start()

    wait_for("the new one is back", lambda: running(apart) == [f"{apart.name}-web-2"])
    # It has `always`; the old one would have been started with it.
    assert len(apart.all_ids()) == 2
    apart.deploy()
    assert running(apart) == [f"{apart.name}-web-2"]
    assert len(apart.all_ids()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_whose_engine_restarts_goes_back_to_the_old_container(
    apart: Project, own_engine: OwnEngine, number: signal.Signals
):
    write_exclusive(apart, 1)
    apart.deploy()
    (old,) = apart.ids()
    write_exclusive(apart, 2)
    run = apart.start(stable=60)
    wait_for("the new one runs", lambda: running(apart) == [f"{apart.name}-web-2"])

    own_engine.end(number)
    own_engine.start()
    result = run.finish()

    assert result.failed
    assert result["outcome"] == "rolled_back", result["problems"]
    assert apart.ids().keys() == {old} == apart.all_ids()
    (web,) = apart.containers("web")
    assert web.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
