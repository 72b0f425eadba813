# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of a stack, for tests that run containers of them without one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# With what this machine needs to pull or build them, as `make deploy` does.
PLAY = """
- name: Bring the images
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Bring the images
      ansible.builtin.include_role:
        name: agentfleet.letta.letta_images
      vars:
        letta_images_directory: "{{ test_directory }}/var"

    - name: Hand over what the role says
      ansible.builtin.copy:
        content: "{{ letta_images_resolved | to_json }}"
        dest: "{{ test_directory }}/images.json"
        mode: "0600"
"""


def resolved(directory: Path, *services: str) -> dict[str, str]:
    """Bring the images of some services and give their references."""
    play, inventory = directory / "play.yml", ROOT / "inventories" / "local"
    play.write_text(PLAY, encoding="utf-8")
    settings = {"test_directory": str(directory), "letta_images_services": services}
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    run = subprocess.run(
        [playbook, "-i", str(inventory), "-e", json.dumps(settings), str(play)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    images: dict[str, str] = json.loads((directory / "images.json").read_text(encoding="utf-8"))
    return images
