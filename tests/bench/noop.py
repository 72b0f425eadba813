#!/usr/bin/env python3
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a task takes that has nothing to do: compose_rollout beside docker_compose_v2 and ping.

All three run as tasks of one play on one host over a local connection, in turns, on the same deployed project, so that
whatever else the machine does hits them alike. Python keeps its bytecode, as it does on a host: libraries that are
compiled in every task would be what is measured. A task's time is Ansible's own, from its start to its end, fork,
transfer and result included.

    tests/bench/noop.py --runs 20 --json noop.json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.integration.compose_rollout import debian  # noqa: E402  found by the line above

TASKS = ("compose_rollout", "docker_compose_v2", "docker_compose_v2 wait", "ping")
TARGET = 0.9


def project_of(services: int) -> dict[str, Any]:
    """Give a project of services that depend on each other, like a real one's."""
    return {
        "services": {
            f"s{number}": {
                "image": debian.IMAGE,
                "command": ["sleep", "100000"],
                "stop_signal": "SIGKILL",
                "environment": {"LEVEL": "info"},
                **({"depends_on": [f"s{number - 1}"]} if number else {}),
            }
            for number in range(services)
        }
    }


def play_of(project: dict[str, Any], runs: int) -> list[dict[str, Any]]:
    """Give a play that does each task once to warm up, and then all of them in turns."""
    src, name, state = project["src"], project["name"], project["state"]
    compose = {"project_src": src, "project_name": name}
    tasks: dict[str, dict[str, Any]] = {
        "compose_rollout": {"agentfleet.letta.compose_rollout": {**compose, "state_dir": state, "stable": 0}},
        "docker_compose_v2": {"community.docker.docker_compose_v2": compose},
        "docker_compose_v2 wait": {"community.docker.docker_compose_v2": {**compose, "wait": True}},
        "ping": {"ansible.builtin.ping": {}},
    }
    turns = [
        {"name": f"{run} {task}", **tasks[task], "register": "turn", "failed_when": "turn is failed or turn is changed"}
        for run in range(1, runs + 1)
        for task in TASKS
    ]
    warm_up = [{"name": f"0 {task}", **tasks[task]} for task in TASKS]
    return [{"name": "Nothing to do", "hosts": "localhost", "gather_facts": False, "tasks": [*warm_up, *turns]}]


def measure(play: Path, environment: dict[str, str]) -> dict[str, list[float]]:
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


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Give median, mean, least and most of each task, and its median beside docker_compose_v2's."""
    base = statistics.median(times["docker_compose_v2"])
    return {
        task: {
            "median": statistics.median(values),
            "mean": statistics.fmean(values),
            "min": min(values),
            "max": max(values),
            "of_docker_compose_v2": statistics.median(values) / base,
        }
        for task, values in times.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="times that each task runs (default: %(default)s)")
    parser.add_argument("--services", type=int, default=5, help="services of the project (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the times")
    options = parser.parse_args()

    debian.ensure_image(docker.from_env(), ROOT / ".cache" / "integration")
    name = f"bench-noop-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        project = {"src": str(folder / "project"), "name": name, "state": str(folder / "state")}
        (folder / "project").mkdir()
        (folder / "project" / "compose.yaml").write_text(yaml.safe_dump(project_of(options.services)))
        play = folder / "play.yml"
        play.write_text(yaml.safe_dump(play_of(project, options.runs), sort_keys=False))
        (folder / "ansible_collections" / "agentfleet").mkdir(parents=True)
        (folder / "ansible_collections" / "agentfleet" / "letta").symlink_to(ROOT)
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": scratch,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "bench" / "pycache"),
        }
        try:
            times = measure(play, environment)
        finally:
            remove(name)
    result = {
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "compose": version(),
        "services": options.services,
        "runs": options.runs,
        "seconds": times,
        "summary": summary(times),
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{'task':<24}{'median':>9}{'mean':>9}{'min':>9}{'max':>9}   of docker_compose_v2")
    for task, line in result["summary"].items():
        figures = "".join(f"{line[key]:>7.2f} s" for key in ("median", "mean", "min", "max"))
        print(f"{task:<24}{figures}   {line['of_docker_compose_v2']:.2f}")
    reached = result["summary"]["compose_rollout"]["of_docker_compose_v2"] <= TARGET
    print(f"target: compose_rollout at most {TARGET} of docker_compose_v2: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


def version() -> str:
    compose = [shutil.which("docker") or "docker", "compose", "version", "--short"]
    return subprocess.run(compose, capture_output=True, text=True, check=True).stdout.strip()


def remove(name: str) -> None:
    """Leave nothing of the project on the engine."""
    engine = docker.from_env()
    label = f"com.docker.compose.project={name}"
    for container in engine.containers.list(all=True, filters={"label": label}):
        container.remove(force=True)
    for network in engine.networks.list(filters={"label": label}):
        network.remove()


if __name__ == "__main__":
    sys.exit(main())
