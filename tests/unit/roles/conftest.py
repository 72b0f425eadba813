# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders what the roles would write, with the roles' own variables and Ansible's own templating."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.unit.roles import repetition

repetition.spare()

ROLES = Path(__file__).resolve().parents[3] / "roles"

# What the role's tasks learn from the host.
HOST = {
    "__letta_stack_engine": {"host_info": {"NCPU": 2}, "volumes": [], "containers": []},
    "__letta_stack_secrets": {
        "files": {
            "OPENAI_API_KEY": "OPENAI_API_KEY.000000000001",
            "db_password": "db_password.000000000002",
            "db_superuser_password": "db_superuser_password.000000000003",
            "encryption_key": "encryption_key.000000000004",
            "hf_token": "hf_token.000000000007",
            "server_password": "server_password.000000000005",
            "app_server_token": "app_server_token.000000000007",
        }
    },
    "nginx_configuration": "nginx.000000000006",
    # Beside all roles lies what they share.
    "role_path": str(ROLES / "letta_stack"),
}


@cache
def _variables(role: str) -> dict[str, Any]:
    """Give what the role itself says: its defaults, and its own variables over them."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for path in [ROLES / role / "defaults" / "main.yml", *sorted((ROLES / role / "vars").rglob("*.yml"))]:
        variables |= loader.load_from_file(str(path), trusted_as_template=True)
    return variables


def evaluate(role: str, template: str, **settings: Any) -> Any:
    """Evaluate a template as a task of a role would, with the settings that it is given."""
    loader = DataLoader()
    loader.set_basedir(str(ROLES / role))
    variables = {**HOST, **_variables(role), **settings, "ansible_search_path": [str(ROLES / role)]}
    return Templar(loader=loader, variables=variables).template(trust_as_template(template))


@pytest.fixture(scope="session")
def render():
    """Return `evaluate`."""
    return evaluate
