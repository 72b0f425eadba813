# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of a project is rolled out; what is not in it stays as it is, and can be rolled out later."""

from __future__ import annotations

from typing import Any

import pytest

from .project import Project, service

_STARTED = {"condition": "service_started"}


def shop(level: int) -> dict[str, Any]:
    def of_level(**keys: Any) -> dict[str, Any]:
        return service(environment={"LEVEL": str(level)}, **keys)

    return {
        "db": of_level(),
        "web": of_level(depends_on=["db"]),
        "sidecar": of_level(network_mode="service:web"),
        "report": of_level(depends_on={"db": {**_STARTED, "restart": True}}),
    }


def actions(result: Any) -> dict[str, str]:
    return {service["service"]: service["action"] for service in result["services"]}


@pytest.mark.every_compose
def test_only_what_was_asked_for_and_what_goes_with_it_is_touched(project: Project):
    project.deploy(shop(1))
    report, others = project.ids("report"), {name: project.ids(name) for name in ("db", "web", "sidecar")}
    project.write(shop(2))

    planned = project.roll_out(check=True, services=["web"])
    result = project.deploy(services=["web"])

    assert actions(planned) == actions(result)
    assert actions(result) == {"db": "update", "web": "update", "sidecar": "update", "report": "none"}
    assert project.ids("report") == report
    for name, before in others.items():
        assert not set(project.ids(name)) & set(before)
    assert "report is not among services, so it is not restarted" in result.warnings
    # What was left out is told apart from what was committed.
    later = project.roll_out(check=True)
    assert actions(later) == {"db": "none", "web": "none", "sidecar": "none", "report": "update"}
    assert later.service("report")["reasons"] == ["environment.LEVEL: changed"]
    assert actions(project.deploy()) == actions(later)
    assert project.deploy()["changed"] is False


def test_a_first_deployment_may_be_of_a_part(project: Project):
    project.write(shop(1))

    project.deploy(services=["db"])

    assert [container.labels["com.docker.compose.service"] for container in project.containers()] == ["db"]
    assert actions(project.deploy()) == {"db": "none", "web": "create", "sidecar": "create", "report": "create"}


def test_a_part_that_fails_leaves_the_rest_alone(project: Project):
    project.deploy(shop(1))
    before, report = set(project.ids()), project.ids("report")
    project.write({**shop(2), "web": service("exit 7", depends_on=["db"])})

    result = project.roll_out(services=["web"], stable=1)

    assert result["outcome"] == "rolled_back"
    assert set(project.ids()) == before
    assert project.ids("report") == report


def test_a_service_that_there_is_not(project: Project):
    project.write({**shop(1), "debugger": service(profiles=["debug"])})

    result = project.roll_out(services=["wbe", "debugger"])

    assert "services: the project has no service wbe; allowed: db, report, sidecar, web" in result["msg"]
    assert "services: debugger belongs to no active profile" in result["msg"]
    assert project.all_ids() == set()
