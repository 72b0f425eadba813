# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example of docs/rollouts.md as a reader runs it: deployed, updated under traffic, and with a bad version."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from .conftest import ROOT
from .debian import IMAGE
from .front import Traffic
from .project import Project

EXAMPLE = ROOT / "docs" / "examples" / "website"
_OUTCOME = re.compile(r'"outcome": "(\w+)"')


@dataclass
class Website:
    """The example on this machine."""

    project: Project
    port: int
    variables: dict[str, Any]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def play(self, *options: str, may_fail: bool = False, **variables: str) -> str:
        """Run the playbook; gives all that it prints."""
        finished = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                str(EXAMPLE / "deploy.yml"),
                *("--extra-vars", json.dumps({**self.variables, **variables})),
                *options,
            ],
            env=self.project.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = finished.stdout + finished.stderr
        assert may_fail or finished.returncode == 0, printed
        return printed

    def status(self) -> dict[str, str]:
        """What the front door answers."""
        with urlopen(f"http://{self.address}/status.json", timeout=10) as answer:
            return dict(json.load(answer))

    def upstream(self) -> list[str]:
        text = (self.project.directory / "upstreams" / "web.conf").read_text(encoding="utf-8")
        return [line for line in text.splitlines() if not line.startswith("#")]

    def servers(self, *numbers: int) -> list[str]:
        """What the guide says stands in the upstream file between two rollouts."""
        named = [f"server {self.project.name}-web-{n}:8000 resolve max_fails=2 fail_timeout=5s;" for n in numbers]
        return [*named, "server web:8000 resolve backup;"]


@pytest.fixture
def website(project: Project, nginx: str, free_port: int) -> Website:
    # nginx's user reads what is mounted from here.
    for folder in (project.directory, *project.directory.parents[:3]):
        folder.chmod(0o755)
    variables = {
        "ansible_python_interpreter": sys.executable,
        "website_project": project.name,
        "website_directory": str(project.directory),
        "website_state_dir": str(project.state),
        "website_port": free_port,
        "website_image": IMAGE,
        "website_nginx_image": nginx,
    }
    return Website(project, free_port, variables)


@pytest.fixture
def first(website: Website) -> Website:
    """The example's first version, deployed."""
    website.play(website_version="1")
    return website


def test_the_example_is_deployed_and_a_second_run_changes_nothing(first: Website):
    assert first.status() == {"version": "1", "status": "ok"}
    assert first.upstream() == first.servers(1, 2)
    before = first.project.objects()

    assert "changed=0" in first.play(website_version="1")

    assert first.project.objects() == before


def test_the_example_is_planned_and_updated_without_a_lost_request(first: Website):
    before = first.project.objects()
    plan = f"web: 2 new, start_first, in place of {first.project.name}-web-1, {first.project.name}-web-2; stays up"
    assert plan in first.play("--check", "--diff", website_version="2")
    assert first.project.objects() == before

    # The application answers GET alone, and a POST with 501.
    traffic = Traffic()
    with traffic.to(first.address, path="/status.json", methods=("GET",)):
        first.play(website_version="2")

    assert traffic.lost == []
    assert traffic.answered
    assert first.status() == {"version": "2", "status": "ok"}
    assert first.upstream() == first.servers(3, 4)
    before = first.project.ids()
    first.project.compose("up", "--detach")
    assert first.project.ids() == before


def test_a_bad_version_of_the_example_fails_and_the_one_before_goes_on_serving(first: Website):
    before, files = first.project.ids(), first.upstream()
    compose_file = (first.project.directory / "compose.yaml").read_text(encoding="utf-8")

    printed = first.play("-v", may_fail=True, website_version="2", website_status="broken")

    assert _OUTCOME.findall(printed) == ["rolled_back"]
    assert "still fails the check GET http://" in printed
    assert first.project.ids() == before
    assert first.upstream() == files
    assert first.status() == {"version": "1", "status": "ok"}
    assert (first.project.directory / "compose.yaml").read_text(encoding="utf-8") == compose_file
