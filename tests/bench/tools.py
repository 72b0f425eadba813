# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three tools that bring a Compose project to what its file says, each as it runs on the host itself.

The two modules run as Ansible runs them there: by Python, with their arguments on standard input. What Ansible takes to
get there is the same for both, and is measured on its own (nothing_to_do).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .project import Project

_ROLLOUT = "ansible_collections.agentfleet.letta.plugins.modules.compose_rollout"
_COMPOSE_V2 = "ansible_collections.community.docker.plugins.modules.docker_compose_v2"


@dataclass(frozen=True)
class Finished:
    """A command that has ended; times in seconds since 1970."""

    began: float
    ended: float
    ok: bool
    output: str

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True)
class Tool:
    """A way to bring a project to what its file says."""

    name: str
    # Arguments of the command line, and what is written to its standard input.
    call: Callable[[Project], tuple[list[str], str]]

    def run(self, project: Project) -> Finished:
        """Run it on a project, to its end."""
        argv, given = self.call(project)
        began = time.time()
        done = subprocess.run(
            argv, input=given, env=project.environment, capture_output=True, text=True, check=False, timeout=300
        )
        return Finished(began, time.time(), done.returncode == 0, done.stdout + done.stderr)

    def deploy(self, project: Project) -> Finished:
        """Run it where it has to work."""
        finished = self.run(project)
        if not finished.ok:
            raise SystemExit(f"{self.name} failed where it had to work:\n{finished.output[-4000:]}")
        return finished


def _module(name: str, arguments: dict[str, Any]) -> tuple[list[str], str]:
    return [sys.executable, "-m", name], json.dumps({"ANSIBLE_MODULE_ARGS": arguments})


def _of(project: Project) -> dict[str, Any]:
    return {"project_src": str(project.directory), "project_name": project.name}


ROLLOUT = Tool(
    "compose_rollout",
    lambda project: _module(_ROLLOUT, {**_of(project), "state_dir": str(project.state), "stable": 0}),
)
UP = Tool(
    "docker compose up -d --wait",
    lambda project: ([*project.compose_command, "up", "--detach", "--wait"], ""),
)
COMPOSE_V2 = Tool(
    "docker_compose_v2",
    lambda project: _module(_COMPOSE_V2, {**_of(project), "wait": True}),
)
TOOLS = (ROLLOUT, UP, COMPOSE_V2)
