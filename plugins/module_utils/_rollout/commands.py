# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run commands through Ansible's own run_command, so that none outlives a run that is asked to end."""

from __future__ import annotations

import subprocess
from typing import Any

from .errors import ComposeError, Interrupted

# What a command has to end in after it was asked to. Seconds.
_GRACE = 20.0


class Commands:
    """Runs commands, one at a time. `inherited` is a file descriptor that they are to keep open."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._at_work: subprocess.Popen[bytes] | None = None
        self.inherited: int | None = None

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        """Give exit code, standard output and standard error; ComposeError where there is no such command."""
        try:
            # Paths are what they are: a dollar sign in one is no variable.
            rc, out, err = self._module.run_command(
                argv,
                pass_fds=() if self.inherited is None else (self.inherited,),
                expand_user_and_vars=False,
                handle_exceptions=False,
                before_communicate_callback=self._note,
            )
        except OSError as error:
            raise ComposeError(f"{argv[0]} cannot be run: {error}") from error
        except Interrupted:
            self._end()
            raise
        return rc, out, err

    def _note(self, process: subprocess.Popen[bytes]) -> None:
        self._at_work = process

    def _end(self) -> None:
        """See that what an interrupted run began goes no further: a pull would still move a tag."""
        if self._at_work is None:
            return
        self._at_work.terminate()
        try:
            # It may have more to say than a pipe holds.
            self._at_work.communicate(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            self._at_work.kill()
            self._at_work.communicate()
