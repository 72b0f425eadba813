# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification of a stack may not do with its password."""

from __future__ import annotations

from pathlib import Path

import yaml

TASKS = Path(__file__).resolve().parents[4] / "roles" / "letta_stack" / "tasks" / "verify" / "letta.yml"


def test_no_request_goes_through_a_proxy_which_would_be_shown_the_password():
    tasks = yaml.safe_load(TASKS.read_text(encoding="utf-8"))
    requests = [task["ansible.builtin.uri"] for task in tasks if "ansible.builtin.uri" in task]
    assert requests
    assert [request["url"] for request in requests if request.get("use_proxy") is not False] == []
