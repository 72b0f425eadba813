# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of a test, run by ansible-playbook on this machine, with this checkout as the collection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]


def run_tasks(
    folder: Path, tasks: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run tasks, as a playbook in `folder`; `arguments` are ansible-playbook's."""
    play = folder / "play.json"
    common = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        # What this machine needs to build images is said where `make deploy` looks, too.
        "vars_files": [str(ROOT / "inventories/local/group_vars/all.yml")],
    }
    play.write_text(json.dumps([{"name": "Run the test's tasks", **common, "tasks": tasks}]), encoding="utf-8")
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    return subprocess.run(
        [playbook, "-i", "localhost,", "-e", json.dumps(variables), *arguments, str(play)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
