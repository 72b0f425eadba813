# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role would write for a case, with the role's own variables and templates."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import yaml

from tests.unit.roles.conftest import ROLES, evaluate

COMPOSE = "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
COMPLAINTS = "{{ __letta_stack_complaints }}"


def _secrets(variables: dict[str, Any]) -> Iterator[str]:
    """Name what the role knows as a secret: its own, and the variables of a server that it marks as such."""
    for name, value in variables.items():
        if isinstance(value, dict):
            yield from value if name == "__letta_stack_own_secrets" else _secrets(value)
            if value.get("secret") is True:
                yield name


def _secret_files() -> dict[str, str]:
    """Give names of files for all secrets that there can be, as secret_files makes them."""
    paths = (ROLES / "letta_stack" / "vars" / "main").glob("*.yml")
    names = [name for path in paths for name in _secrets(yaml.safe_load(path.read_text(encoding="utf-8")))]
    return {name: _file(name) for name in names}


def _file(name: str) -> str:
    return f"{name}.{sha256(name.encode()).hexdigest()[:12]}"


SECRET_FILES = _secret_files()


def complaints(settings: dict[str, Any]) -> list[str]:
    """Give what the role has against the settings."""
    return list(evaluate("letta_stack", COMPLAINTS, **settings))


def compose(settings: dict[str, Any]) -> str:
    """Give the text of compose.yaml."""
    key = str(evaluate("letta_stack", "{{ __letta_stack_encryption_secret }}", **settings))
    known = {"__letta_stack_secrets": {"files": {**SECRET_FILES, key: _file(key)}}, **settings}
    # The role's variables are evaluated wherever they are used; this one is most of the time that a rendering takes.
    rendered = evaluate("letta_stack", "{{ __letta_stack_rendered }}", **known)
    return str(evaluate("letta_stack", COMPOSE, **known, __letta_stack_model=rendered))
