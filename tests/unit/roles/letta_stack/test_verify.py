# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification of a stack may not do with its passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

TASKS = Path(__file__).resolve().parents[4] / "roles" / "letta_stack" / "tasks"
PASSWORDS = {
    "letta_stack_variant": "data_services",
    "letta_stack_db_tls": True,
    "letta_stack_db_password": "NeverToBeSeen1234",
    "letta_stack_redis_password": "NeverToBeSeen5678",
    "__letta_stack_data_containers": {
        "results": [{"item": name, "containers": [{"Id": f"id-of-{name}"}]} for name in ("letta_db", "redis")]
    },
}


def tasks(path: Path) -> Iterator[dict]:
    """Give the tasks of a file, those in blocks among them."""
    waiting = yaml.safe_load(path.read_text(encoding="utf-8"))
    while waiting:
        task = waiting.pop(0)
        waiting += task.get("block", []) + task.get("rescue", []) + task.get("always", [])
        yield task


@pytest.mark.parametrize("name", ["letta", "app_server"])
def test_no_request_goes_through_a_proxy_which_would_be_shown_the_password(name):
    requests = [
        task["ansible.builtin.uri"] for task in tasks(TASKS / "verify" / f"{name}.yml") if "ansible.builtin.uri" in task
    ]
    assert requests
    assert [request["url"] for request in requests if request.get("use_proxy") is not False] == []


@pytest.mark.parametrize("path", sorted(TASKS.rglob("*.yml")), ids=lambda path: str(path.relative_to(TASKS)))
def test_no_secret_is_in_an_environment_which_ansible_puts_on_a_command_line_and_sudo_into_its_log(path):
    assert {name for task in tasks(path) for name in task.get("environment", {})} <= {"PATH"}


def test_a_command_gets_its_password_where_the_container_has_it(render):
    commands = [
        render("letta_stack", task["ansible.builtin.command"]["argv"], **PASSWORDS)
        for task in tasks(TASKS / "verify" / "data.yml")
        if "ansible.builtin.command" in task
    ]
    assert [command for command in commands if "NeverToBeSeen" in " ".join(command)] == []
    files = [file for file in ("db_password", "redis_password") for command in commands if file in " ".join(command)]
    assert files == ["db_password", "db_password", "redis_password"]
