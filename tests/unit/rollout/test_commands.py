# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command ends with the run that began it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.commands import Commands
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import ComposeError, Interrupted


class Module:
    """Stands where AnsibleModule stands: starts the command, and is interrupted where asked to be."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises = raises
        self.process: subprocess.Popen[bytes] | None = None
        self.options: dict[str, Any] = {}

    def run_command(
        self, argv: list[str], before_communicate_callback: Callable[[Any], None], **options: Any
    ) -> tuple[int, str, str]:
        self.options = options
        if isinstance(self.raises, OSError):
            raise self.raises
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before_communicate_callback(self.process)
        if self.raises:
            raise self.raises
        out, err = self.process.communicate()
        return self.process.returncode, out.decode(), err.decode()


def test_a_command_gives_what_it_printed() -> None:
    assert Commands(Module()).run(["sh", "-c", "echo $HOME; echo err >&2; exit 3"]) == (
        3,
        f"{os.environ['HOME']}\n",
        "err\n",
    )


def test_it_keeps_the_lock_and_is_told_nothing_of_variables() -> None:
    module = Module()
    commands = Commands(module)
    commands.run(["true"])
    assert module.options["pass_fds"] == ()
    commands.inherited = 7
    commands.run(["true"])
    assert module.options["pass_fds"] == (7,)
    assert module.options["expand_user_and_vars"] is False


def test_a_command_that_there_is_not_is_named() -> None:
    with pytest.raises(ComposeError, match="/no/docker cannot be run: "):
        Commands(Module(FileNotFoundError("none"))).run(["/no/docker", "compose"])


@pytest.mark.parametrize("script", ["sleep 60", "cat /dev/zero"])
def test_an_interrupted_run_ends_what_it_began_however_much_that_has_to_say(script: str) -> None:
    module = Module(Interrupted("by SIGTERM"))
    with pytest.raises(Interrupted):
        Commands(module).run(script.split())
    assert module.process is not None
    assert module.process.poll() is not None
