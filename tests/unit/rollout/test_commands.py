# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command ends with the run that began it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.commands import Commands
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import ComposeError, Interrupted


def test_a_command_gives_what_it_printed() -> None:
    assert Commands().run(["sh", "-c", "echo $HOME; echo err >&2; exit 3"]) == (3, f"{os.environ['HOME']}\n", "err\n")


def test_it_keeps_the_lock_and_nothing_else() -> None:
    reader, writer = os.pipe()
    try:
        commands = Commands()
        shown = ["sh", "-c", f"test -e /proc/self/fd/{writer}"]
        assert commands.run(shown)[0] == 1
        commands.inherited = writer
        assert commands.run(shown)[0] == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_a_command_that_there_is_not_is_named() -> None:
    with pytest.raises(ComposeError, match="/no/docker cannot be run: "):
        Commands().run(["/no/docker", "compose"])


@pytest.mark.parametrize("script", ["echo $$ > {pid}; exec sleep 60", "echo $$ > {pid}; exec cat /dev/zero"])
def test_an_interrupted_run_ends_what_it_began_however_much_that_has_to_say(script: str, tmp_path: Path) -> None:
    def interrupt(_number: int, _frame: Any) -> None:
        raise Interrupted("by SIGUSR1")

    def interrupt_when_it_runs() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    threading.Thread(target=interrupt_when_it_runs, daemon=True).start()
    try:
        with pytest.raises(Interrupted):
            Commands().run(["sh", "-c", script.format(pid=tmp_path / "pid")])
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_no_python_code_runs_between_fork_and_exec() -> None:
    """Whatever lock another thread holds at that moment, a command starts."""
    ran: list[str] = []
    os.register_at_fork(before=lambda: ran.append("fork"))
    ended = threading.Event()
    threading.Thread(target=ended.wait, daemon=True).start()
    try:
        Commands().run(["true"])
    finally:
        ended.set()
    assert ran == []
