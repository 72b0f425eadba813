# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row `nothing_to_do`: how long a task takes that has nothing to do, beside docker_compose_v2's and ping's.

All run as tasks of one play on one host over a local connection, in turns, on the same deployed project, so that
whatever else the machine does hits them alike. Python keeps its bytecode, as it does on a host: libraries that are
compiled in every task would be what is measured. A task's time is Ansible's own, from its start to its end, fork,
transfer and result included.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.integration.compose_rollout import debian

from .project import Project

if TYPE_CHECKING:
    from .bench import Bench

TITLE = "Nothing to do"
BASE = "docker_compose_v2"
TASKS = ("compose_rollout", BASE, f"{BASE}, wait", "ping")
TARGET = 0.9
SERVICES = 5


def measure(bench: Bench, runs: int) -> dict[str, Any]:
    """Run each task `runs` times on a project of `SERVICES` services."""
    with ExitStack() as leaving:
        project = bench.project()
        leaving.callback(project.remove)
        project.write(services())
        play = bench.scratch / "nothing_to_do.yml"
        play.write_text(yaml.safe_dump(play_of(project, runs), sort_keys=False), encoding="utf-8")
        bench.say(f"nothing_to_do, {runs} runs of {len(TASKS)} tasks")
        environment = {
            **project.environment,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        }
        times = _times(play, environment)
    return {"runs": times, "summary": {task: summary(values) for task, values in times.items()}}


def services() -> dict[str, Any]:
    """Give services that depend on each other, like a real project's."""
    return {
        f"s{number}": {
            "image": debian.IMAGE,
            "command": ["sleep", "100000"],
            "stop_signal": "SIGKILL",
            "environment": {"LEVEL": "info"},
            **({"depends_on": [f"s{number - 1}"]} if number else {}),
        }
        for number in range(SERVICES)
    }


def play_of(project: Project, runs: int) -> list[dict[str, Any]]:
    """Give a play that does each task once to warm up, and then all of them in turns."""
    compose = {"project_src": str(project.directory), "project_name": project.name}
    rollout = {**compose, "state_dir": str(project.state), "stable": 0}
    tasks: dict[str, dict[str, Any]] = {
        "compose_rollout": {"agentfleet.letta.compose_rollout": rollout},
        BASE: {"community.docker.docker_compose_v2": compose},
        f"{BASE}, wait": {"community.docker.docker_compose_v2": {**compose, "wait": True}},
        "ping": {"ansible.builtin.ping": {}},
    }
    turns = [
        {"name": f"{run} {task}", **tasks[task], "register": "turn", "failed_when": "turn is failed or turn is changed"}
        for run in range(1, runs + 1)
        for task in TASKS
    ]
    warm_up = [{"name": f"0 {task}", **tasks[task]} for task in TASKS]
    return [{"name": "Nothing to do", "hosts": "localhost", "gather_facts": False, "tasks": [*warm_up, *turns]}]


def _times(play: Path, environment: dict[str, str]) -> dict[str, list[float]]:
    """Run the play; gives each task's times in seconds."""
    argv = ["ansible-playbook", "--inventory", "localhost,", "--connection", "local"]
    argv += ["--extra-vars", f"ansible_python_interpreter={sys.executable}", str(play)]
    finished = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"the play failed:\n{finished.stdout[-4000:]}\n{finished.stderr[-2000:]}")
    output = finished.stdout
    answer = json.loads(output[output.index("{") :])
    times: dict[str, list[float]] = {task: [] for task in TASKS}
    for entry in answer["plays"][0]["tasks"]:
        run, _space, task = entry["task"]["name"].partition(" ")
        if int(run):
            start, end = (_moment(entry["task"]["duration"][key]) for key in ("start", "end"))
            times[task].append((end - start).total_seconds())
    return times


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))


def summary(values: list[float]) -> dict[str, float]:
    """Give median, mean, least and most of one task's times, in seconds."""
    return {
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "min": min(values),
        "max": max(values),
    }


def targets(summaries: dict[str, Any]) -> dict[str, bool]:
    """Say which targets were reached."""
    share = summaries["compose_rollout"]["median"] / summaries[BASE]["median"]
    return {f"at most {TARGET} of {BASE}": share <= TARGET}
