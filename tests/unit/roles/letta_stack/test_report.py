# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment says at its end: what there is, and nothing that there is not."""

from __future__ import annotations

import pytest
import yaml

from tests.unit.roles.conftest import ROLES

LEARNT = {
    "inventory_hostname": "agents1",
    "letta_stack_health": {"json": {"version": "0.16.8"}},
    "letta_stack_rollout": {"outcome": "deployed"},
}


@pytest.mark.parametrize(
    ("settings", "data"),
    [
        ({}, "volume letta_letta_db"),
        ({"letta_stack_project": "agents-2"}, "volume agents-2_letta_db"),
        ({"letta_stack_external_db": {"host": "db.example.com"}}, "database letta at db.example.com:5432"),
    ],
)
def test_the_data_are_where_it_says(render, settings, data):
    (task,) = yaml.safe_load((ROLES / "letta_stack" / "tasks" / "report" / "letta.yml").read_text(encoding="utf-8"))
    said = [render("letta_stack", line, **LEARNT, **settings) for line in task["vars"]["said"]]
    (line,) = [line for line in said if line.startswith("Data: ")]
    assert line == f"Data: {data}; secrets: /opt/letta/secrets; back up both together"
