# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of docs/variants/README.md, read off the variants and what is rendered of them."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.unit.roles.conftest import ROLES

from . import rendering, table

PAGES = ROLES.parent / "docs" / "variants"
_TITLE = re.compile(r"\A# .*\n+")


def with_tables(readme: str) -> str:
    """Give the page with its tables as they have to be."""
    for name, lines in {"purposes": _purposes(), "parts": _parts()}.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if readme.count(begin) != 1 or readme.count(end) != 1:
            raise AssertionError(f"docs/variants/README.md has to hold {begin} and {end} once each")
        before, _begin, rest = readme.partition(begin)
        _old, _end, after = rest.partition(end)
        readme = "".join([before, begin, "\n", *(f"{line}\n" for line in lines), end, after])
    return readme


def purpose(variant: str) -> str:
    """Give what a variant is for: the first sentence of its own page."""
    text = _TITLE.sub("", (PAGES / f"{variant}.md").read_text(encoding="utf-8"))
    first = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)`])\. (?=[A-Z`])", first)[0].rstrip(".")


def _purposes() -> list[str]:
    rows = [f"| [{variant}]({variant}.md) | {purpose(variant)} |" for variant in table.SERVICES]
    return ["| Variant | What it is for |", "|---|---|", *rows]


def _parts() -> list[str]:
    rows = ["| Variant | Service | Networks | Volumes | Published by default |", "|---|---|---|---|---|"]
    for variant in table.SERVICES:
        project = yaml.safe_load(rendering.compose(table.golden_cases(variant)["minimal"]))
        for number, (name, service) in enumerate(project["services"].items()):
            cells = [
                f"`{variant}`" if not number else "",
                f"`{name}`" + (", once" if service["restart"] == "no" else ""),
                ", ".join(_network(network, project) for network in service["networks"]),
                ", ".join(_volumes(service, project)),
                ", ".join(f"`{port}`" for port in service.get("ports", [])),
            ]
            rows.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    return rows


def _network(name: str, project: dict[str, Any]) -> str:
    return name if (project["networks"][name] or {}).get("internal") else f"**{name}**"


def _volumes(service: dict[str, Any], project: dict[str, Any]) -> list[str]:
    sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
    return [f"`{source}`" for source in sources if source in project.get("volumes", {})]
