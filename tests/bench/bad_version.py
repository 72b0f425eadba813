# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row `bad_version`: a version that crashes is deployed; how long until the old one answers again.

`start-first`: a site behind nginx, with two containers. `stop-first`: one container with a port of its own, so that no
two can run at once. Docker Compose and docker_compose_v2 leave the bad version as it is: they are run again at once
with the old file, as a script could.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

from .load import Answer, Load
from .project import Happened, Project, free_port
from .tools import COMPOSE_V2, ROLLOUT, UP, Tool
from .website import Site, application

if TYPE_CHECKING:
    from .bench import Bench

TITLE = "A bad version is taken back"
TARGET = 2.0
START_FIRST = f"{ROLLOUT.name}, start-first"
STOP_FIRST = f"{ROLLOUT.name}, stop-first"
GOOD, BAD = "good", "bad"
_BOOT = "0.5"
_CLIENTS = {"GET": 4, "POST": 4}
_PAUSE = 0.02
_LEAD = 0.5
_TAIL = 0.5


@dataclass(frozen=True)
class _Case:
    """A tool with a project that it has deployed. `write` writes the file of the good or the bad version."""

    tool: Tool
    project: Project
    url: str
    write: Callable[[str], None]


def measure(bench: Bench, runs: int) -> dict[str, Any]:
    """Deploy the bad version `runs` times with each tool, in turns."""
    with ExitStack() as leaving:
        cases = {START_FIRST: _site(bench), STOP_FIRST: _single(bench, ROLLOUT)}
        for tool in (UP, COMPOSE_V2):
            cases[f"{tool.name}, then again"] = _single(bench, tool)
        for case in cases.values():
            leaving.callback(case.project.remove)
        for case in cases.values():
            case.write(GOOD)
            case.tool.deploy(case.project)
            case.project.pause()
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
        for run in range(1, runs + 1):
            for name, case in cases.items():
                case.project.unpause()
                results[name].append(asyncio.run(_spoil(case)))
                case.project.pause()
                bench.say(f"bad_version {run}/{runs}, {name}: {_line(results[name][-1])}")
    return {"runs": results, "summary": {name: summary(rows) for name, rows in results.items()}}


def _site(bench: Bench) -> _Case:
    site = Site(bench.project(), "proxy", bench.images)
    return _Case(ROLLOUT, site.project, site.url, lambda version: site.write(version, **_environment(version)))


def _single(bench: Bench, tool: Tool) -> _Case:
    project, port = bench.project(), free_port()

    def write(version: str) -> None:
        web = application(bench.images["web"], VERSION=version, **_environment(version))
        project.write({"web": {**web, "ports": [f"127.0.0.1:{port}:8000"]}})

    return _Case(tool, project, f"http://127.0.0.1:{port}", write)


def _environment(version: str) -> dict[str, str]:
    return {"BOOT": _BOOT, "BREAK": "crash" if version == BAD else ""}


async def _spoil(case: _Case) -> dict[str, Any]:
    load, stop = Load(case.url, clients=_CLIENTS, pause=_PAUSE), asyncio.Event()
    with case.project.events() as events:
        clients = asyncio.create_task(load.run(stop))
        await asyncio.sleep(_LEAD)
        case.write(BAD)
        finished = await asyncio.to_thread(case.tool.run, case.project)
        case.write(GOOD)
        if case.tool is not ROLLOUT:
            await asyncio.to_thread(case.tool.deploy, case.project)
        await asyncio.sleep(_TAIL)
        stop.set()
        await clients
    return {**tally(load.answers, events), "noticed": not finished.ok, "seconds": finished.seconds}


def tally(answers: Sequence[Answer], events: Sequence[Happened]) -> dict[str, Any]:
    """Say what one run came to.

    The bad version is found when the first container that was started in this run dies. `again`: seconds from then to
    the next good answer of the old version; `start`: how much of that the start of its container took, 0 where it ran
    on; `down`: seconds from the first failure to the last one.
    """
    started = {event.container: event.time for event in events if event.action == "start"}
    born = [event for event in events if event.action == "start"]
    if not born:
        raise SystemExit("the bad version was never started")
    found = next(event.time for event in events if event.action == "die" and event.container == born[0].container)
    good = (answer for answer in answers if not answer.failed and answer.version == GOOD and answer.ended >= found)
    first = min(good, key=lambda answer: answer.ended)
    came = next((moment for container, moment in started.items() if container.startswith(first.container)), None)
    failures = [answer.ended for answer in answers if answer.failed]
    return {
        "requests": len(answers),
        "failed": len(failures),
        "again": first.ended - found,
        "start": first.ended - came if came is not None else 0.0,
        "down": max(failures) - min(failures) if failures else 0.0,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Add the requests up, and give medians of the seconds."""
    return {
        "requests": sum(row["requests"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        **{key: statistics.median(row[key] for row in rows) for key in ("again", "start", "down", "seconds")},
        "longest": max(row["again"] for row in rows),
        "noticed": all(row["noticed"] for row in rows),
    }


def targets(summaries: dict[str, Any]) -> dict[str, bool]:
    """Say which targets were reached."""
    stop_first = summaries[STOP_FIRST]
    return {
        "start-first: no failed request": summaries[START_FIRST]["failed"] == 0,
        f"stop-first: {TARGET:.0f} s and its own start": stop_first["again"] - stop_first["start"] <= TARGET,
    }


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['failed']} of {row['requests']} failed, old one again after {row['again']:.2f} s "
        f"(its own start {row['start']:.2f} s), down {row['down']:.2f} s"
    )
