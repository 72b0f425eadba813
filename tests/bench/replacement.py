# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row `replacement`: what clients see while both containers of a site are replaced by a new version.

Each tool works on a site of its own, in turns; sites that wait are paused. The two other tools, which recreate
containers, are measured in both set-ups that leave nginx alone; compose_rollout in its own, and in `dns` too.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .load import CLIENTS, Answer, Load
from .project import HEALTHY, Happened
from .tools import COMPOSE_V2, ROLLOUT, UP, Finished, Tool
from .website import Site

if TYPE_CHECKING:
    from .bench import Bench

TITLE = "A version is replaced under load"
VARIANTS = (
    (ROLLOUT, "proxy"),
    (ROLLOUT, "dns"),
    (UP, "dns"),
    (UP, "names"),
    (COMPOSE_V2, "dns"),
    (COMPOSE_V2, "names"),
)
# Seconds of load before the tool starts, and after the new version answers. Streams end after that.
_LEAD = 0.7
_TAIL = 0.5
# nginx takes a moment to find new addresses by DNS.
_PATIENCE = 15.0


def measure(bench: Bench, runs: int) -> dict[str, Any]:
    """Replace each site `runs` times under load."""
    with ExitStack() as leaving:
        sites: dict[str, tuple[Tool, Site]] = {}
        for tool, set_up in VARIANTS:
            project = bench.project()
            leaving.callback(project.remove)
            site = Site(project, set_up, bench.images)
            tool.deploy(project)
            site.project.pause()
            sites[f"{tool.name}, {set_up}"] = (tool, site)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in sites}
        for run in range(1, runs + 1):
            for name, (tool, site) in sites.items():
                site.project.unpause()
                results[name].append(asyncio.run(_replace(tool, site)))
                site.project.pause()
                bench.say(f"replacement {run}/{runs}, {name}: {_line(results[name][-1])}")
    return {"runs": results, "summary": {name: summary(rows) for name, rows in results.items()}}


async def _replace(tool: Tool, site: Site) -> dict[str, Any]:
    site.next_version()
    # What runs now was proven before.
    proven = {container.id: 0.0 for container in site.project.containers()}
    load, stop = Load(site.url), asyncio.Event()
    with site.project.events() as events:
        clients = asyncio.create_task(load.run(stop))
        await asyncio.sleep(_LEAD)
        finished = await asyncio.to_thread(tool.deploy, site.project)
        back = await load.answered_by(str(site.version), _PATIENCE)
        await asyncio.sleep(_TAIL)
        stop.set()
        await clients
    if not back:
        raise SystemExit(f"version {site.version} never answered after {tool.name}:\n{finished.output[-4000:]}")
    return tally(load.answers, {**health_times(events), **proven}, finished)


def health_times(events: Iterable[Happened]) -> dict[str, float]:
    """Give when each container was first healthy, by id."""
    return {event.container: event.time for event in reversed(list(events)) if event.action == HEALTHY}


def tally(answers: list[Answer], proven: Mapping[str, float], finished: Finished) -> dict[str, Any]:
    """Count what clients saw in one run; `proven` is when each container became healthy, by id."""
    since = {container[:12]: moment for container, moment in proven.items()}
    ungated = [
        answer
        for answer in answers
        if answer.began is not None and not (answer.ready and since.get(answer.container, float("inf")) <= answer.began)
    ]
    short = sorted(answer.seconds for answer in answers if answer.kind in ("GET", "POST"))
    return {
        "seconds": finished.seconds,
        "requests": dict(Counter(answer.kind for answer in answers)),
        "failed": dict(Counter(answer.kind for answer in answers if answer.failed and not answer.cut)),
        "ungated": len(ungated),
        "cut": dict(Counter(answer.kind for answer in answers if answer.cut)),
        "longest": short[-1],
        "p99": short[len(short) * 99 // 100],
        "errors": dict(Counter(answer.failed for answer in answers if answer.failed).most_common(5)),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Add the runs of one variant up."""
    totals = {
        key: {kind: sum(row[key].get(kind, 0) for row in rows) for kind in CLIENTS}
        for key in ("requests", "failed", "cut")
    }
    return {
        **totals,
        "ungated": sum(row["ungated"] for row in rows),
        "longest": max(row["longest"] for row in rows),
        "p99": statistics.median(row["p99"] for row in rows),
        "seconds": statistics.median(row["seconds"] for row in rows),
    }


def targets(summaries: Mapping[str, dict[str, Any]]) -> dict[str, bool]:
    """Say which targets were reached."""
    ours = summaries[f"{ROLLOUT.name}, proxy"]
    return {
        "failed requests: 0": sum(ours["failed"].values()) == 0,
        "ungated answers: 0": ours["ungated"] == 0,
        "streams and websockets cut: 0": sum(ours["cut"].values()) == 0,
    }


def _line(row: dict[str, Any]) -> str:
    asked, failed, cut = (sum(row[key].values()) for key in ("requests", "failed", "cut"))
    told = f"{failed} of {asked} failed, {row['ungated']} ungated, {cut} cut, {row['seconds']:.1f} s"
    return f"{told} {row['errors']}" if row["errors"] else told
