# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row `return_time`: from the moment at which the engine calls a new container healthy to the end of the command.

Two cases: a first deployment, and an update of one container. In an update compose_rollout still has the old container
to stop and remove then; the others removed theirs before.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.integration.compose_rollout.project import healthcheck, service

from .project import HEALTHY, Project
from .tools import TOOLS, Tool

if TYPE_CHECKING:
    from .bench import Bench

TITLE = "From healthy to done"
CASES = ("first deployment", "update")
TARGET = 0.10
BASE = "docker compose up -d --wait"
# Seconds that a container takes to become healthy.
_READY = 0.5


def measure(bench: Bench, runs: int) -> dict[str, Any]:
    """Deploy and update a project of one service `runs` times with each tool, in turns."""
    results: dict[str, list[dict[str, float]]] = {tool.name: [] for tool in TOOLS}
    for run in range(1, runs + 1):
        for tool in TOOLS:
            with ExitStack() as leaving:
                project = bench.project()
                leaving.callback(project.remove)
                results[tool.name].append({case: _one(tool, project, case) for case in CASES})
            bench.say(
                f"return_time {run}/{runs}, {tool.name}: "
                + ", ".join(f"{case} {seconds:.2f} s" for case, seconds in results[tool.name][-1].items())
            )
    return {"runs": results, "summary": {name: summary(rows) for name, rows in results.items()}}


def _one(tool: Tool, project: Project, case: str) -> float:
    # Without a start_period Docker Compose gives up at the first check that fails.
    check = healthcheck(start_period="30s")
    web = service(f"sleep {_READY}; touch /tmp/ready; sleep 1000", healthcheck=check, environment={"CASE": case})
    project.write({"web": web})
    with project.events() as events:
        finished = tool.deploy(project)
    return finished.ended - next(event.time for event in events if event.action == HEALTHY)


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Give median, least and most of each case, in seconds."""
    return {
        case: {
            "median": statistics.median(row[case] for row in rows),
            "min": min(row[case] for row in rows),
            "max": max(row[case] for row in rows),
        }
        for case in CASES
    }


def targets(summaries: dict[str, Any]) -> dict[str, bool]:
    """Say which targets were reached. An update is held to Compose's: an old container is still to be stopped then."""
    first, update = CASES
    ours, theirs = summaries["compose_rollout"], summaries[BASE]
    return {
        f"{first}: at most {TARGET:.2f} s": ours[first]["median"] <= TARGET,
        f"{update}: at most {BASE}'s": ours[update]["median"] <= theirs[update]["median"],
    }
