# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollout leaves on the host for the next one: the committed configuration and the staged Compose file.

Everything lies in `<state_dir>/<project>/`, readable by its owner alone:

- `lock`: held while a run works on the project
- `committed.yaml`: normalised configuration of the last commit; may hold interpolated secrets
- `releases/<id>/compose.yaml`: the file that is being rolled out, installed in project_src at commit
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import core_yaml
from .clock import Clock
from .errors import PlanError


@dataclass(frozen=True)
class Store:
    """The state directory of one project."""

    root: str

    @property
    def _committed(self) -> Path:
        return Path(self.root) / "committed.yaml"

    @property
    def _releases(self) -> Path:
        return Path(self.root) / "releases"

    def committed(self) -> Mapping[str, Any]:
        """Give the services as they were committed last, by name; empty before the first commit."""
        try:
            data = core_yaml.load(self._committed.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            # It only words the reasons of a plan; what runs is asked of the engine.
            return {}
        services = data.get("services") if isinstance(data, dict) else None
        return services if isinstance(services, dict) else {}

    def stage(self, text: str) -> str:
        """Write the Compose file that is about to be rolled out; gives its path."""
        release = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = self._releases / release / "compose.yaml"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text, 0o600)
        return str(path)

    def commit(self, config: str) -> None:
        """Record the normalised configuration that now runs."""
        write_atomically(self._committed, config, 0o600)

    def forget_releases_but(self, staged: str) -> None:
        """Remove the staged files of other releases."""
        keep = Path(staged).parent
        for release in self._releases.iterdir():
            if release != keep:
                # It comes after the commit, which it must not make look failed; the next run tries again.
                shutil.rmtree(release, ignore_errors=True)

    @contextmanager
    def lock(self, timeout: float, clock: Clock) -> Iterator[int]:
        """Keep other runs on this project out; the value is the lock's file descriptor.

        The kernel frees it when the last process that holds the descriptor is gone, so it never goes stale.
        Raises PlanError after `timeout` seconds.
        """
        root = Path(self.root)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = clock.now() + timeout
            while not _locked(descriptor):
                if clock.now() >= deadline:
                    holder = os.read(descriptor, 64).decode("ascii", "replace").strip()
                    raise PlanError(f"another rollout of this project is at work (process {holder or 'unknown'})")
                clock.sleep(min(0.2, timeout))
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            yield descriptor
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Replace a file by its new content at once, and durably: readers see the old text or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
