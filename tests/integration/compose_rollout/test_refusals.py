# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has no safe way is refused before anything is changed, in words that name the field."""

from __future__ import annotations

from typing import Any

import pytest

from .debian import IMAGE
from .project import Project, service


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
