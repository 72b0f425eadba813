# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run commands, so that none outlives a run that is asked to end."""

from __future__ import annotations

import subprocess

from .errors import ComposeError, Interrupted

# What a command has to end in after it was asked to. Seconds.
_GRACE = 20.0


class Commands:
    """Runs commands, one at a time. `inherited` is a file descriptor that they are to keep open."""

    def __init__(self) -> None:
        self.inherited: int | None = None

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        """Give exit code, standard output and standard error; ComposeError where there is no such command."""
        try:
            # Not by AnsibleModule.run_command: it runs Python code between fork and exec, which waits for ever for a
            # lock that the thread held which imports the Docker SDK at that moment.
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=() if self.inherited is None else (self.inherited,),
            )
        except OSError as error:
            raise ComposeError(f"{argv[0]} cannot be run: {error}") from error
        try:
            out, err = process.communicate()
        except Interrupted:
            _end(process)
            raise
        return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """See that what an interrupted run began goes no further: a pull would still move a tag."""
    process.terminate()
    try:
        # It may have more to say than a pipe holds.
        process.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
