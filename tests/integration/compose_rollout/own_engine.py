# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine of a test's own, which may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import docker

from .project import PATIENCE, wait_for


class OwnEngine:
    """An engine beside the one of this machine, in namespaces of its own: when it dies, all that it started dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"unix://{folder}/socket"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"]
        argv = ["dockerd", "--host", self.address, *(f"--{key}={self._folder / name}" for key, name in options.items())]
        # Numbers of processes that are no more: they may be somebody else's by now.
        for pid_file in (self._folder / "pid", self._folder / "exec" / "containerd" / "containerd.pid"):
            pid_file.unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*apart, *argv], stdout=log, stderr=log)
        wait_for("the engine answers", self._answers_or_ended)
        if self._process.poll() is not None:
            raise RuntimeError(f"dockerd ended: {(self._folder / 'log').read_text(encoding='utf-8')}")

    def end(self, number: signal.Signals) -> None:
        """Send dockerd a signal and wait until it is gone; nothing where it is gone already."""
        if self._process is None or self._process.poll() is not None:
            return
        # unshare waits for it in the new namespace.
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="utf-8")
        os.kill(int(children), number)
        self._process.wait(timeout=PATIENCE)

    def _answers_or_ended(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            return True
        try:
            client = docker.DockerClient(base_url=self.address)
            try:
                return bool(client.ping())
            finally:
                client.close()
        except docker.errors.DockerException:
            return False
