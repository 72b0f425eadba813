# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of the role letta_stack, run on this machine by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.integration.play import run_tasks

if TYPE_CHECKING:
    from pathlib import Path


def run_part(folder: Path, part: str, **variables: Any) -> tuple[int, str]:
    """Run tasks/`part`.yml with these variables; gives the exit code and what was printed, on one line."""
    role = {"name": "agentfleet.letta.letta_stack", "tasks_from": part}
    done = run_tasks(folder, [{"name": "Run the part", "ansible.builtin.include_role": role}], variables)
    return done.returncode, " ".join((done.stdout + done.stderr).split())
