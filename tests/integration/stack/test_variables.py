# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every variable that the server reads has a place, with its type: it can be set, the role sets it, or it is refused.

Nothing else can be set.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
TABLES = yaml.safe_load(
    (ROOT / "roles" / "letta_stack" / "vars" / "main" / "environment.yml").read_text(encoding="utf-8")
)

LAUNCHER = ROOT / "roles" / "letta_stack" / "files" / "launcher.py"

# What libraries read, and no line of Letta or of its launcher.
LIBRARIES = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TZ"}
# What may be given for a setting of Letta's, by its type there.
KINDS = {"bool": {"bool"}, "float": {"float"}, "int": {"int"}, "list": {"json_list"}, "str": {"str", "url"}}

# Asks the classes themselves by which variables each of their fields is read, and as what; and the whole package for
# what could be the name of a variable.
PROGRAM = r"""
import enum, importlib, json, pathlib, re, types, typing
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

def kind(annotation):
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    (one,) = [each for each in (typing.get_args(annotation) if union else [annotation]) if each is not type(None)]
    return "str" if issubclass(one, (enum.Enum, pathlib.Path)) else one.__name__

# The package has an attribute of the module's name.
module = importlib.import_module("letta.settings")
settings = {}
for name, each in vars(module).items():
    # TestSettings are those of Letta's own tests.
    if isinstance(each, type) and issubclass(each, BaseSettings) and name not in ("BaseSettings", "TestSettings"):
        prefix = each.model_config.get("env_prefix") or ""
        for field, described in each.model_fields.items():
            alias = described.validation_alias
            names = alias.choices if isinstance(alias, AliasChoices) else [alias or prefix + field]
            settings[f"{name}.{field}"] = {"names": [one.upper() for one in names], "kind": kind(described.annotation)}
words = set()
for path in pathlib.Path(module.__file__).parent.rglob("*.py"):
    words.update(re.findall("[\"']([A-Z][A-Z0-9_]+)[\"']", path.read_text(encoding="utf-8")))
print(json.dumps({"settings": settings, "words": sorted(words)}))
"""


@pytest.fixture(scope="module")
def read(bring: Callable[..., dict[str, str]]) -> dict[str, Any]:
    """What the server reads: its settings, each with variables and type, and all words in capitals of its package."""
    done = subprocess.run(
        ["docker", "run", "--rm", "--interactive", "--entrypoint=python", bring("server")["server"], "-"],
        input=PROGRAM,
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def has_a_place(name: str) -> bool:
    dead = TABLES["__letta_stack_environment_dead"]
    return (
        name in TABLES["__letta_stack_environment_known"]
        or name in TABLES["__letta_stack_environment_reserved"]
        or any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in dead)
    )


def test_each_setting_of_the_server_has_a_variable_with_a_place(read):
    """One of a setting's variables is enough: another name of it is refused as one that is not known."""
    assert len(read["settings"]) > 150
    names = {setting: each["names"] for setting, each in read["settings"].items()}
    assert {setting: each for setting, each in names.items() if not any(map(has_a_place, each))} == {}


def test_what_may_be_given_is_what_the_server_takes(read):
    known = TABLES["__letta_stack_environment_known"]
    compared = [
        (name, known[name]["type"], setting["kind"])
        for setting in read["settings"].values()
        for name in setting["names"]
        if name in known
    ]
    assert len(compared) > 100
    assert [each for each in compared if each[1] not in KINDS[each[2]]] == []


def test_no_variable_may_be_set_that_nothing_reads(read):
    known = set(TABLES["__letta_stack_environment_known"])
    launcher = re.findall(r"\"([A-Z][A-Z0-9_]+)\"", LAUNCHER.read_text(encoding="utf-8"))
    settings = {name for setting in read["settings"].values() for name in setting["names"]}
    assert sorted(known - settings - set(read["words"]) - set(launcher) - LIBRARIES) == []
