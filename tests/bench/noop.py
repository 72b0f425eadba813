# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task costs that has nothing to do: compose_rollout beside community.docker's docker_compose_v2.

Both run on the same project in one play, in turn, with ansible.builtin.ping as the floor that Ansible itself sets.
Prints a table and writes build/bench/noop.json; fails when a task that has nothing to do changes something.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "agentfleet-bench-noop"


def compose_file(image: str, services: int) -> dict[str, Any]:
    """A project of small healthy services."""
    service = {
        "image": image,
        "stop_grace_period": "1s",
        "healthcheck": {"test": ["CMD", "redis-cli", "ping"], "interval": "1s", "retries": 5},
    }
    return {"name": PROJECT, "services": {f"redis{number}": service for number in range(services)}}


def play(project: Path, rounds: int) -> list[dict[str, Any]]:
    """One play: deploy, then every candidate in turn. The two tools must agree that nothing is to be done."""
    candidates: dict[str, dict[str, Any]] = {
        "ping": {"ansible.builtin.ping": {}},
        "docker_compose_v2": {"community.docker.docker_compose_v2": {"project_src": str(project), "pull": "never"}},
        "compose_rollout": {"agentfleet.letta.compose_rollout": {"project_src": str(project), "pull": "never"}},
    }
    measured = [{"name": name, **task} for _round in range(rounds) for name, task in candidates.items()]
    tasks = [{"name": "deploy", **candidates["compose_rollout"]}, *measured]
    return [{"name": "No-op", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]


def run_play(playbook: Path) -> list[dict[str, Any]]:
    """The play's tasks with their durations and results, as Ansible's JSON callback reports them."""
    environment = {
        **os.environ,
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    }
    command = ["ansible-playbook", "--inventory", str(ROOT / "inventories" / "local"), str(playbook)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the play failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    tasks: list[dict[str, Any]] = json.loads(done.stdout)["plays"][0]["tasks"]
    return tasks


def durations(tasks: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Seconds of each task by its name, without the deployment."""
    seconds: dict[str, list[float]] = {}
    for task in tasks[1:]:
        name, timing = task["task"]["name"], task["task"]["duration"]
        if task["hosts"]["localhost"].get("changed"):
            raise SystemExit(f"{name} changed a project that is as its file says")
        start, end = (datetime.fromisoformat(timing[key].replace("Z", "+00:00")) for key in ("start", "end"))
        seconds.setdefault(name, []).append((end - start).total_seconds())
    return seconds


def measure(image: str, services: int, rounds: int) -> dict[str, list[float]]:
    """Deploys the project, measures, and removes it."""
    with tempfile.TemporaryDirectory(prefix=f"{PROJECT}-") as directory:
        project = Path(directory)
        (project / "compose.yaml").write_text(yaml.safe_dump(compose_file(image, services)), encoding="utf-8")
        playbook = project / "noop.yml"
        playbook.write_text(yaml.safe_dump(play(project, rounds), sort_keys=False), encoding="utf-8")
        try:
            return durations(run_play(playbook))
        finally:
            subprocess.run(
                ["docker", "compose", "down", "--timeout", "1"], cwd=project, capture_output=True, check=True
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image", default="agentfleet/redis:8", help="an image with redis-cli (default: %(default)s)")
    parser.add_argument("--services", type=int, default=5, help="services of the project (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each (default: %(default)s)")
    arguments = parser.parse_args()

    image = subprocess.run(["docker", "image", "inspect", arguments.image], capture_output=True, check=False)
    if image.returncode:
        raise SystemExit(
            f"{arguments.image} is not on this machine: `make deploy` brings it, or name another with --image"
        )

    seconds = measure(arguments.image, arguments.services, arguments.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    report = {
        "bench": "noop",
        "services": arguments.services,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "seconds": seconds,
        "median": medians,
        "ratio": medians["compose_rollout"] / medians["docker_compose_v2"],
    }
    output = ROOT / "build" / "bench" / "noop.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    print(f"{'task with nothing to do':<26}{'median':>8}{'min':>8}{'max':>8}  seconds")
    for name, values in seconds.items():
        print(f"{name:<26}{medians[name]:>8.2f}{min(values):>8.2f}{max(values):>8.2f}")
    print(f"compose_rollout takes {report['ratio']:.2f} of docker_compose_v2's time")
    print(f"written to {output.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
