# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollout leaves on the host for the next one: what was committed, and the staged Compose file.

Everything lies in `<state_dir>/<project>/`, readable by its owner alone:

- `lock`: held while a run works on the project
- `committed.yaml`: normalised configuration of the last commit; may hold interpolated secrets
- `committed.json`: what else there is to know of it: digests of mounted files, values delivered as files, timings
- `key`: of the digests
- `releases/<id>/compose.yaml`: the file that is being rolled out, installed in project_src at commit
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import contents, core_yaml
from .clock import Clock
from .contents import Contents
from .errors import PlanError

# Of committed.json. Another one is not read, as if there were no file.
_FORMAT = 1
_KEY_BYTES = 32


@dataclass(frozen=True)
class Timing:
    """How long a service's step took, and how long of that it was down. Seconds."""

    seconds: float
    down: float


# Records on the host that the new ones are in force, given each service's timing and the services of which old
# containers stay; OSError when it cannot.
Commit = Callable[[Mapping[str, Timing], "frozenset[str]"], None]


@dataclass(frozen=True)
class Committed:
    """The last commit. All of it is empty before the first one.

    `config` is the normalised configuration, and `path` the file that holds it; `timings` are those of the last step of
    each service that had one.
    """

    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    contents: Contents = contents.NOTHING
    timings: Mapping[str, Timing] = field(default_factory=dict)
    path: str = ""

    @property
    def services(self) -> Mapping[str, Any]:
        """The services' configuration by name."""
        services: Mapping[str, Any] = self.config.get("services", {})
        return services


@dataclass(frozen=True)
class Store:
    """The state directory of one project."""

    root: str

    @property
    def _configuration(self) -> Path:
        return Path(self.root) / "committed.yaml"

    @property
    def _record(self) -> Path:
        return Path(self.root) / "committed.json"

    @property
    def _key(self) -> Path:
        return Path(self.root) / "key"

    @property
    def _releases(self) -> Path:
        return Path(self.root) / "releases"

    def committed(self) -> Committed:
        """Give the last commit. What of it is damaged is missing: what runs is asked of the engine."""
        config = self._committed_config()
        found, timings = self._committed_record()
        return Committed(config, found, timings, str(self._configuration) if config else "")

    def _committed_config(self) -> Mapping[str, Any]:
        try:
            data = core_yaml.load(self._configuration.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return data if isinstance(data, dict) and isinstance(data.get("services"), dict) else {}

    def _committed_record(self) -> tuple[Contents, dict[str, Timing]]:
        try:
            data = json.loads(self._record.read_text("utf-8"))
            if data["format"] != _FORMAT:
                return contents.NOTHING, {}
            timings = {service: Timing(float(took), float(down)) for service, (took, down) in data["timings"].items()}
            return contents.from_data(data["contents"]), timings
        except (FileNotFoundError, KeyError, TypeError, ValueError, AttributeError):
            return contents.NOTHING, {}

    def key(self) -> bytes | None:
        """Give the key of the digests, None before it was made."""
        try:
            key = bytes.fromhex(self._key.read_text("ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return key if len(key) == _KEY_BYTES else None

    def make_key(self) -> bytes:
        """Give the key of the digests, a new one where there is none. To be called under the lock."""
        key = self.key()
        if key is None:
            key = secrets.token_bytes(_KEY_BYTES)
            write_atomically(self._key, key.hex(), 0o600)
        return key

    def stage(self, text: str) -> str:
        """Write the Compose file that is about to be rolled out; gives its path."""
        release = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = self._releases / release / "compose.yaml"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text, 0o600)
        return str(path)

    def commit(self, config: str, found: Contents, timings: Mapping[str, Timing]) -> None:
        """Record what runs now: normalised configuration, contents of files, and the steps that this run took.

        Timings of other services stay as they are.
        """
        _recorded, before = self._committed_record()
        merged = {name: [timing.seconds, timing.down] for name, timing in {**before, **timings}.items()}
        record = {"format": _FORMAT, "contents": contents.as_data(found), "timings": merged}
        # In this order: should only the first be written, files seem to have changed that are in force already, and
        # the next run replaces their containers once more. The other way round a rollout that is rolled back because
        # the second could not be written would leave changed files that no later run sees.
        with _staged_if_other(self._record, json.dumps(record)), _staged_if_other(self._configuration, config):
            # What the disk has no room for is found out before either is replaced: the configuration of before is what
            # Both are on the disk now, and neither is in its place: a full disk leaves what leads back from here.
            pass

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


@contextmanager
def _staged_if_other(path: Path, text: str) -> Iterator[None]:
    # A durable write takes longer than the rest of a rollout that has nothing to do.
    try:
        same = path.read_text("utf-8") == text
    except (FileNotFoundError, ValueError):
        same = False
    if same:
        yield
        return
    with staged(path, text, 0o600):
        yield


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Replace a file by its new content at once, and durably: readers see the old text or the new one."""
    with staged(path, text, mode):
        pass


@contextmanager
def staged(path: Path, text: str, mode: int) -> Iterator[None]:
    """Write a file's new content beside it, and put it in its place when the body has ended well."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        yield
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
