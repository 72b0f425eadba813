# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benches' results as Markdown. Reads nothing else, so that lint can tell whether the README has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Results = Mapping[str, Mapping[str, Any]]


def of(results: Results, name: str) -> str:
    """Give one row's table, with what was reached below it."""
    row = results[name]
    lines = [_HEADINGS[name], "", *_TABLES[name](row["summary"]), ""]
    lines += [f"- {'reached' if reached else '**missed**'}: {target}" for target, reached in row["targets"].items()]
    return "\n".join(lines)


def section(results: Results) -> str:
    """Give everything: a table for each row that was measured, and how they were measured."""
    return "\n\n".join([*(of(results, name) for name in results), *_conditions(results)])


def _conditions(results: Results) -> list[str]:
    """Name versions and machine once for all rows that were measured alike."""
    told: dict[str, list[str]] = {}
    for name, row in results.items():
        of_row = row["conditions"]
        versions = ", ".join(f"{what} {version}" for what, version in of_row["versions"].items())
        machine = f"{of_row['cores']} cores ({of_row['processor']})"
        text = f"{of_row['runs']} runs, {of_row['date'].partition(' ')[0]}, {machine}; {versions}"
        told.setdefault(text, []).append(f"`{name}`")
    return [f"Measured ({', '.join(names)}): {text}." for text, names in told.items()]


def _table(head: list[str], body: list[list[str]]) -> list[str]:
    rule = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(cells)} |" for cells in body)]


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"


def _replacement(summary: Mapping[str, Any]) -> list[str]:
    streams = ("SSE", "websocket")
    return _table(
        ["", "failed", "answers before the gate", "streams cut", "websockets cut", "longest GET, POST", "took"],
        [
            [
                name,
                _share(sum(of["failed"].values()), sum(of["requests"].values())),
                f"{of['ungated']:,}",
                *(_share(of["cut"][kind], of["requests"][kind] - of["failed"][kind]) for kind in streams),
                f"{of['longest']:.2f} s",
                f"{of['seconds']:.1f} s",
            ]
            for name, of in summary.items()
        ],
    )


def _return_time(summary: Mapping[str, Any]) -> list[str]:
    cases = list(next(iter(summary.values())))
    return _table(
        ["", *cases],
        [
            [name, *(f"{of[case]['median']:.2f} s ({of[case]['min']:.2f} to {of[case]['max']:.2f})" for case in cases)]
            for name, of in summary.items()
        ],
    )


def _nothing_to_do(summary: Mapping[str, Any]) -> list[str]:
    return _table(
        ["", "median", "least", "most"],
        [[name, *(f"{of[key]:.2f} s" for key in ("median", "min", "max"))] for name, of in summary.items()],
    )


def _bad_version(summary: Mapping[str, Any]) -> list[str]:
    return _table(
        ["", "failed", "old one answers again", "of which its own start", "down"],
        [
            [
                name,
                _share(of["failed"], of["requests"]),
                f"{of['again']:.2f} s",
                f"{of['start']:.2f} s" if of["start"] else "ran on",
                f"{of['down']:.2f} s",
            ]
            for name, of in summary.items()
        ],
    )


_TABLES: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "replacement": _replacement,
    "return_time": _return_time,
    "nothing_to_do": _nothing_to_do,
    "bad_version": _bad_version,
}
_HEADINGS = {
    "replacement": "A new version takes the place of the old one under load:",
    "return_time": "From the engine calling the new container healthy to the end of the command, medians:",
    "nothing_to_do": "A whole task that has nothing to do, on a project of five services:",
    "bad_version": "A version that crashes is deployed; from the crash to the next answer of the old one, medians:",
}
