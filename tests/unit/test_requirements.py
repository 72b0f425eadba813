# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks answer their sources: ``make lock`` was run after the last change of an ``.in`` file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
SETS = sorted(path.stem for path in REQUIREMENTS.glob("*.in"))


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(name: str) -> set[str]:
    names: set[str] = set()
    for line in (REQUIREMENTS / f"{name}.in").read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            names |= wanted(line.removeprefix("-r ").removesuffix(".in"))
        elif line and not line.startswith(("#", "-")):
            names.add(normalized(re.split(r"[<>=~!; \[]", line)[0]))
    return names


def locked(name: str) -> dict[str, set[str]]:
    """Package -> its versions (more than one where they depend on the Python)."""
    versions: dict[str, set[str]] = {}
    for line in (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            versions.setdefault(normalized(match[1]), set()).add(match[2])
    return versions


@pytest.mark.parametrize("name", SETS)
def test_every_requirement_is_locked(name):
    assert wanted(name) <= set(locked(name))


@pytest.mark.parametrize("name", SETS)
def test_a_lock_names_hashes_and_no_address(name):
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    for requirement in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in requirement, requirement


@pytest.mark.parametrize("name", [name for name in SETS if name != "deploy"])
def test_all_sets_hold_the_versions_that_are_deployed(name):
    deployed = locked("deploy")
    assert {package: versions for package, versions in locked(name).items() if package in deployed}.items() <= (
        deployed.items()
    )
