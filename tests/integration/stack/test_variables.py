# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every variable that the server's own settings read has a place: it can be set, the role sets it, or it is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
TABLES = yaml.safe_load(
    (ROOT / "roles" / "letta_stack" / "vars" / "main" / "environment.yml").read_text(encoding="utf-8")
)

# Asks the classes themselves: by which variable each of their fields is read.
PROGRAM = """
import importlib, json
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

# The package has an attribute of the module's name.
module = importlib.import_module("letta.settings")
found = {}
for name, settings in vars(module).items():
    if isinstance(settings, type) and issubclass(settings, BaseSettings) and settings is not BaseSettings:
        prefix = settings.model_config.get("env_prefix") or ""
        for field, described in settings.model_fields.items():
            alias = described.validation_alias
            names = alias.choices if isinstance(alias, AliasChoices) else [alias or prefix + field]
            found[f"{name}.{field}"] = [each.upper() for each in names]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def read(bring: Callable[..., dict[str, str]]) -> dict[str, list[str]]:
    """The variables that can set each setting, by the setting."""
    done = subprocess.run(
        ["docker", "run", "--rm", "--interactive", "--entrypoint=python", bring("server")["server"], "-"],
        input=PROGRAM,
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def has_a_place(name: str) -> bool:
    dead = TABLES["__letta_stack_environment_dead"]
    return (
        name in TABLES["__letta_stack_environment_known"]
        or name in TABLES["__letta_stack_environment_reserved"]
        or any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in dead)
    )


def test_each_setting_of_the_server_has_a_variable_with_a_place(read):
    assert len(read) > 150
    # Settings of Letta's own tests.
    without = {
        setting: names
        for setting, names in read.items()
        if not setting.startswith("TestSettings.") and not any(map(has_a_place, names))
    }
    assert without == {}
