# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing what a first deployment left that was interrupted before there was a compose.yaml."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
STATE = Path("/var/lib/compose_rollout")


def docker(*arguments: str, data: bytes | None = None) -> str:
    return subprocess.run(["docker", *arguments], input=data, capture_output=True, check=True).stdout.decode().strip()


class Leftovers:
    """A project as an interrupted rollout leaves it: containers, networks, a volume, and its state."""

    def __init__(self, directory: Path) -> None:
        self.project = f"agentfleet-test-{uuid.uuid4().hex[:8]}"
        self.image = f"{self.project}:1"
        self.directory = directory / "letta"
        self.state = STATE / self.project
        staged = directory / "staged"
        staged.mkdir()
        (self.directory / "secrets").mkdir(parents=True)
        self.state.mkdir(parents=True)
        archive = io.BytesIO()
        tarfile.open(fileobj=archive, mode="w").close()
        docker("import", "-", self.image, data=archive.getvalue())
        service = {"image": self.image, "command": ["none"], "volumes": ["letta_db:/data"], "networks": ["data"]}
        definition = {"services": {"letta_db": service}, "networks": {"data": {}}, "volumes": {"letta_db": {}}}
        (staged / "compose.yaml").write_text(json.dumps(definition), encoding="utf-8")
        docker("compose", "--project-directory", str(staged), "--project-name", self.project, "create")

    def there(self) -> dict[str, bool]:
        label = f"label=com.docker.compose.project={self.project}"
        return {
            "containers": docker("ps", "--all", "--quiet", "--filter", label) != "",
            "networks": docker("network", "ls", "--quiet", "--filter", label) != "",
            "volumes": docker("volume", "ls", "--quiet", "--filter", label) != "",
            "secrets": (self.directory / "secrets").exists(),
            "state": self.state.exists(),
        }

    def remove(self, *arguments: str, **settings: object) -> int:
        """Run the playbook, which has to succeed, and return the number of its changes."""
        settings = {"letta_stack_project": self.project, "letta_stack_directory": str(self.directory), **settings}
        run = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "playbooks/remove.yml",
                "--extra-vars",
                json.dumps(settings),
                *arguments,
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return int(re.findall(r"changed=(\d+)", run.stdout)[-1])


@pytest.fixture
def leftovers(tmp_path: Path) -> Iterator[Leftovers]:
    leftovers = Leftovers(tmp_path)
    try:
        yield leftovers
    finally:
        docker("compose", "--project-name", leftovers.project, "down", "--volumes")
        docker("rmi", leftovers.image)
        if leftovers.state.exists():
            leftovers.state.rmdir()


def test_it_is_found_without_a_compose_file_stopped_with_its_data_kept_and_then_removed_with_them(leftovers):
    everything = dict.fromkeys(leftovers.there(), True)
    assert leftovers.there() == everything
    assert leftovers.remove("--check") == 1
    assert leftovers.there() == everything
    assert leftovers.remove() == 1
    assert leftovers.there() == everything | {"containers": False, "networks": False}
    assert leftovers.remove() == 0
    assert leftovers.remove(letta_stack_remove_data=leftovers.project) == 3
    assert leftovers.there() == dict.fromkeys(everything, False)


def test_it_is_removed_with_its_data_at_once(leftovers):
    leftovers.remove(letta_stack_remove_data=leftovers.project)
    assert leftovers.there() == dict.fromkeys(leftovers.there(), False)
