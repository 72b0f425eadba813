# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has no safe way is refused before anything is changed, in words that name the field."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest

from .debian import IMAGE
from .project import Project, service, wait_for


def assert_refused(project: Project, *words: str, **arguments: Any) -> None:
    """The project's files are refused, in check mode too, and nothing changes on the engine."""
    before = project.objects()
    for check in (True, False):
        result = project.roll_out(check=check, **arguments)
        assert result.failed
        assert "No container was changed" in result["msg"]
        for word in words:
            assert word in result["msg"]
    assert project.objects() == before


@pytest.mark.every_compose
def test_a_changed_network(project: Project):
    web = service()
    project.write({"web": web})
    project.deploy()
    project.write({"web": web}, networks={"default": {"internal": True}})

    assert_refused(project, "networks.default", "internal", f"{project.name}_default")


@pytest.mark.every_compose
def test_a_changed_volume(project: Project):
    db = service(volumes=["data:/data"])
    project.write({"db": db}, volumes={"data": {}})
    project.deploy()
    project.write({"db": db}, volumes={"data": {"labels": {"tier": "gold"}}})

    assert_refused(project, "volumes.data", "labels", f"{project.name}_data")


def test_an_external_network_that_does_not_exist(project: Project):
    project.write({"web": service()}, networks={"default": {"external": True, "name": f"{project.name}-elsewhere"}})

    assert_refused(project, "networks.default", f"{project.name}-elsewhere")


def test_data_in_an_anonymous_volume(project: Project):
    project.deploy({"db": service(volumes=["/data"])})
    project.write({"db": service(volumes=["/data"], environment={"LEVEL": "2"})})

    assert_refused(project, "db", "/data", "x-rollout.anonymous_volumes")


def test_data_in_an_anonymous_volume_that_may_go(project: Project):
    db = service(volumes=["/data"], **{"x-rollout": {"anonymous_volumes": "discard"}})
    project.deploy({"db": db})
    (old,) = project.containers("db")
    volume = old.attrs["Mounts"][0]["Name"]
    project.write({"db": {**db, "environment": {"LEVEL": "2"}}})

    assert project.deploy().service("db")["action"] == "update"
    # Discarding means that the new container does not see it, not that it is deleted.
    project.engine.volumes.get(volume).remove()


def test_start_first_where_two_cannot_run_side_by_side(project: Project):
    def web(level: int) -> dict[str, Any]:
        return service(ports=["127.0.0.1:18999:80"], environment={"LEVEL": str(level)})

    project.write({"web": web(1)})
    before = project.roll_out(check=True)
    assert not before.failed
    project.deploy({"web": {**web(1), "ports": ["127.0.0.1::80"]}})
    project.write({"web": web(2)})

    assert_refused(project, "web", "start_first", "host port 18999", order="start_first")


@pytest.mark.every_compose
def test_a_fixed_container_name_that_no_rollout_has_recorded(project: Project):
    name = f"{project.name}-fixed"
    project.write({"web": service(container_name=name)})
    project.compose("up", "--detach")
    project.write({"web": service(container_name=name, environment={"LEVEL": "2"})})

    assert_refused(project, "web", "container_name", "recorded")
    assert project.names() == [name]


def test_an_unknown_key_of_x_rollout(project: Project):
    project.write({"web": service(**{"x-rollout": {"stabel": "5s"}})})

    assert_refused(project, "services.web.x-rollout.stabel", "allowed: timeout")
    assert not project.state.exists()


def test_a_file_that_compose_refuses(project: Project):
    project.write({"web": {"image": IMAGE, "comand": "sleep 1000"}})

    assert_refused(project, "comand")


def test_a_directory_that_is_not_there(project: Project):
    assert_refused(project, "project_src", "/nowhere", project_src="/nowhere")


def test_a_negative_time(project: Project):
    project.write({"web": service()})

    assert_refused(project, "stable", "-1", stable=-1)


def test_everything_that_is_wrong_is_told_at_once(project: Project):
    db = service(volumes=["/data"])
    project.deploy({"db": db})
    project.write(
        {
            "db": {**db, "environment": {"LEVEL": "2"}},
            "web": {**service(secrets=["token"]), "image": f"{project.name}:never-built"},
            "slow": service(healthcheck={"test": ["CMD", "true"], "start_interval": "1s"}),
        },
        networks={"default": {"internal": True}},
        secrets={"token": {"file": "./token"}},
    )

    assert_refused(
        project,
        "canary: -1",
        "final_checks[0].http.url",
        "secrets.token.file: ./token is not on this host",
        "services.slow.healthcheck.start_interval: needs Docker Engine 25",
        "networks.default: internal",
        "x-rollout.anonymous_volumes",
        pull="never",
        canary=-1,
        final_checks=[{"http": {"url": "nowhere"}}],
    )


def test_arguments_and_the_file_are_wrong_together(project: Project):
    project.write({"web": service(**{"x-rollout": {"stabel": "5s"}})})

    assert_refused(project, "x-rollout.stabel", "lock_timeout: -1", lock_timeout=-1)


def test_files_that_are_not_there(project: Project):
    assert_refused(project, "files: ", "a.yaml", "env_files: ", "b.env", files=["a.yaml"], env_files=["b.env"])


@pytest.mark.every_compose
def test_an_engine_that_is_too_old_is_named_before_compose_refuses_it(project: Project):
    api = tuple(int(part) for part in project.engine.version()["ApiVersion"].split("."))
    if api >= (1, 44):
        pytest.skip("this engine is new enough")
    project.write({"web": service(healthcheck={"test": ["CMD", "true"], "start_interval": "1s"})})

    assert_refused(project, "services.web.healthcheck.start_interval: needs Docker Engine 25 or later (API 1.44)")


@pytest.mark.every_compose
def test_a_key_that_is_too_new_for_this_compose_or_misspelt(project: Project):
    project.write({"web": service(startup_hooks=[])})

    assert_refused(
        project, "startup_hooks is misspelt, in the wrong place, or too new for this host's Docker Compose 2."
    )


def test_an_image_that_is_not_there_and_is_not_to_be_pulled(project: Project):
    image = f"{project.name}:never-built"
    project.write({"web": {**service(), "image": image}, "db": {**service(), "image": image}})

    assert_refused(project, f"services.web.image: {image}", f"services.db.image: {image}", pull="never")


def interrupted_compose(project: Project) -> tuple[str, str]:
    """Kill Compose while it recreates the container of web; gives the names of the new and the old one."""
    web = service("trap : TERM; while :; do sleep 1; done", stop_signal="SIGTERM", stop_grace_period="30s")
    project.deploy({"web": web})
    (old,) = project.names()
    project.write({"web": {**web, "environment": {"LEVEL": "2"}}})
    argv = ["docker", "compose", "--project-directory", str(project.directory), "--project-name", project.name]
    process = subprocess.Popen([*argv, "up", "--detach"], env=project.environment, start_new_session=True)
    try:
        wait_for("Compose makes another container", lambda: len(project.all_ids()) == 2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (new,) = {container.name for container in project.containers()} - {old}
    return new, old


@pytest.mark.every_compose
def test_a_container_that_compose_was_making_when_it_was_killed(project: Project):
    new, old = interrupted_compose(project)

    assert_refused(project, f"was to take the place of {old}; mend it with `docker rm --force {new}`")

    project.engine.containers.get(new).remove(force=True)
    assert project.deploy().service("web")["action"] == "update"


@pytest.mark.every_compose
def test_a_container_that_took_another_one_s_place_and_not_its_name(project: Project):
    new, old = interrupted_compose(project)
    project.engine.containers.get(old).remove(force=True)
    project.engine.containers.get(new).start()

    assert_refused(project, f"took the place of {old}; mend it with `docker rename {new} {old}`")

    project.engine.containers.get(new).rename(old)
    assert project.deploy()["changed"] is False
