# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of the role letta_stack, run on this machine by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
_PLAY = """
- name: Run a part of the role
  hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Run the part
      ansible.builtin.include_role:
        name: agentfleet.letta.letta_stack
        tasks_from: "{{ test_part }}"
"""


def run_part(folder: Path, part: str, **variables: Any) -> tuple[int, str]:
    """Run tasks/`part`.yml with these variables; gives the exit code and what was printed, on one line."""
    play = folder / "play.yml"
    play.write_text(_PLAY, encoding="utf-8")
    values = json.dumps({"test_part": part, **variables})
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", values, str(play)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())
