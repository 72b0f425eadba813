# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine of a test's own, which may be killed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import docker

from .project import PATIENCE, wait_for


class OwnEngine:
    """An engine beside the one of this machine, in a network of its own: this one may be killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"unix://{folder}/socket"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        argv = ["dockerd", "--host", self.address, *(f"--{key}={self._folder / name}" for key, name in options.items())]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(["unshare", "--net", "--mount", *argv], stdout=log, stderr=log)
        wait_for("the engine answers", self._answers_or_ended)
        if self._process.poll() is not None:
            raise RuntimeError(f"dockerd ended: {(self._folder / 'log').read_text(encoding='utf-8')}")

    def end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(timeout=PATIENCE)
        if number == signal.SIGKILL:
            (self._folder / "pid").unlink(missing_ok=True)

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
