# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role says its variables once: defaults, argument_specs and README agree, and names carry the role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted((path for path in (ROOT / "roles").glob("*") if path.is_dir()), key=lambda path: path.name)
TYPES = {
    "bool": bool,
    "dict": dict,
    "float": (int, float),
    "int": int,
    "list": list,
    "path": str,
    "raw": object,
    "str": str,
}

# What Ansible reads as expressions without braces.
CONDITIONS = {"when", "that", "failed_when", "changed_when", "until"}
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)

pytestmark = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def load(path: Path) -> dict:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def options(role: Path) -> dict[str, dict]:
    """Every option of every entry point; the same name means the same thing in each."""
    found: dict[str, dict] = {}
    for spec in load(role / "meta" / "argument_specs.yml").get("argument_specs", {}).values():
        for name, option in (spec.get("options") or {}).items():
            assert found.setdefault(name, option) == option, f"{name} is described in two ways"
    return found


def expressions(role: Path) -> Iterator[str]:
    """Every expression of the role's tasks, handlers, variables and templates."""
    for path in sorted(path for part in ("tasks", "handlers", "vars") for path in (role / part).rglob("*.yml")):
        yield from _expressions(yaml.safe_load(path.read_text(encoding="utf-8")))
    for path in sorted((role / "templates").rglob("*.j2")):
        yield from EXPRESSION.findall(path.read_text(encoding="utf-8"))


def _expressions(value: Any, condition: bool = False) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _expressions(inner, key in CONDITIONS)
    elif isinstance(value, list):
        for inner in value:
            yield from _expressions(inner, condition)
    elif isinstance(value, str):
        yield from [value] if condition else EXPRESSION.findall(value)


def test_the_defaults_are_those_that_are_documented(role):
    documented = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert load(role / "defaults" / "main.yml") == documented


def test_a_default_is_of_its_type(role):
    for name, option in options(role).items():
        default = option.get("default")
        if default is None or (isinstance(default, str) and "{{" in default):
            continue
        kind = option.get("type", "str")
        assert isinstance(default, TYPES[kind]), f"{name}: {default!r} is no {kind}"
        assert kind == "bool" or not isinstance(default, bool), f"{name}: {default!r} is no {kind}"
        if "choices" in option and kind != "list":
            assert default in option["choices"], f"{name}: {default!r} is not among its choices"


def test_every_variable_is_described(role):
    for name, option in options(role).items():
        assert option.get("description"), f"{name} has no description"
        assert "type" in option, f"{name} has no type"
        assert not (option.get("required") and "default" in option), f"{name} is required and has a default"


def test_public_variables_carry_the_role_as_prefix(role):
    strangers = [name for name in options(role) if not name.startswith(f"{role.name}_")]
    assert not strangers


def test_private_variables_are_marked_as_such(role):
    strangers = [
        name for path in (role / "vars").glob("*.yml") for name in load(path) if not name.startswith(f"__{role.name}_")
    ]
    assert not strangers


def test_the_role_is_complete(role):
    needed = ["README.md", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"]
    assert [path for path in needed if not (role / path).is_file()] == []


def test_a_switch_is_a_switch_also_as_text(role):
    """`-e name=false` gives text, which is true. Ansible checks the type of an argument, and does not convert it."""
    switches = [name for name, option in options(role).items() if option.get("type") == "bool"]
    wrong = [
        expression
        for expression in expressions(role)
        for name in switches
        if re.search(rf"\b{name}\b(?!\s*\|\s*bool\b)", expression)
    ]
    assert wrong == []
