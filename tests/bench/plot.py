# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benches' results as one SVG: a panel for each row, a dot for each run, a bar for the median.

Written by hand: four panels of dots need no plotting library, and the same results give the same bytes, so that lint
can tell whether the picture shows them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH = 860
_LEFT, _RIGHT = 330, 40
_LINE = 24
_HEAD, _FOOT = 40, 34
_OURS = "compose_rollout"

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.tick, .unit { fill: #656d76; font-size: 12px }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.dot { fill: #8c959f; fill-opacity: .65 }
.median { stroke: #59636e; stroke-width: 3 }
.ours.dot { fill: #0969da }
.ours.median { stroke: #0550ae }
.ground { fill: #ffffff }
"""

Strips = Mapping[str, Sequence[float]]


def draw(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Give the picture of all rows that were measured."""
    parts, top = [], 10.0
    for name, (title, unit, strips) in _PANELS.items():
        if name in results:
            panel, height = _panel(title, unit, strips(results[name]["runs"]), top)
            parts += panel
            top += height
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:.0f}" role="img">',
            "<title>What a rollout costs: a dot for each run, a bar for the median</title>",
            f"<style>\n{_STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{top:.0f}"/>',
            *parts,
            "</svg>\n",
        ]
    )


def ticks(most: float) -> list[float]:
    """Give 3 to 6 round numbers from 0 to `most` or a little above."""
    step = 10.0 ** math.floor(math.log10(most or 1.0))
    step = next(step * factor for factor in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if most / (step * factor) <= 5)
    return [round(step * number, 10) for number in range(math.ceil(most / step) + 1)]


def _panel(title: str, unit: str, strips: Strips, top: float) -> tuple[list[str], float]:
    marks = ticks(max((value for values in strips.values() for value in values), default=1.0) or 1.0)
    below = top + _HEAD + _LINE * len(strips)

    def across(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * value / marks[-1]

    parts = [f'<text class="title" x="16" y="{top + 20:.1f}">{escape(title)}</text>']
    for mark in marks:
        x = across(mark)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top + _HEAD - 4:.1f}" y2="{below:.1f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{below + 16:.1f}" text-anchor="middle">{mark:g}{unit}</text>')
    for number, (name, values) in enumerate(strips.items()):
        y = top + _HEAD + _LINE * (number + 0.5)
        ours = "ours " if name.startswith(_OURS) else ""
        parts.append(f'<text x="{_LEFT - 14}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        parts += [f'<circle class="{ours}dot" cx="{across(value):.1f}" cy="{y:.1f}" r="4"/>' for value in values]
        x = across(statistics.median(values))
        parts.append(f'<line class="{ours}median" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9:.1f}" y2="{y + 9:.1f}"/>')
    return parts, _HEAD + _LINE * len(strips) + _FOOT


def _failed(runs: Mapping[str, Any]) -> Strips:
    return {
        name: [100 * sum(row["failed"].values()) / sum(row["requests"].values()) for row in rows]
        for name, rows in runs.items()
    }


def _each_case(runs: Mapping[str, Any]) -> Strips:
    return {
        f"{name}, {case}": [row[case] for row in rows]
        for case in next(iter(runs.values()))[0]
        for name, rows in runs.items()
    }


def _again(runs: Mapping[str, Any]) -> Strips:
    return {name: [row["again"] for row in rows] for name, rows in runs.items()}


_PANELS: Mapping[str, tuple[str, str, Callable[[Mapping[str, Any]], Strips]]] = {
    "replacement": ("Requests that failed while a new version took the old one's place", " %", _failed),
    "return_time": ("From healthy to the end of the command", " s", _each_case),
    "nothing_to_do": ("A whole task with nothing to do", " s", dict),
    "bad_version": ("From the crash of a bad version to the next answer of the old one", " s", _again),
}
