# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the files of a project's containers hold, as digests to compare with those of the last commit.

Digests are keyed: who reads them cannot find a short secret by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from .errors import Problems, SpecError
from .mounted_files import Files, MountedFile

_PIECE = 1 << 20
# A file that was written as recently as this may be written again without a trace in its times. Nanoseconds.
_UNSETTLED = 2_000_000_000
# What the kernel shows there is no content: it differs at each look.
_NO_CONTENT = ("/proc/", "/sys/", "/dev/")


@dataclass(frozen=True)
class FileContent:
    """One file of one service. `source` says where it comes from, as a reader knows it: `file ./nginx.conf`.

    `stat` is (device, inode, size, mtime_ns, ctime_ns) of a file that was not being written, else empty.
    """

    kind: str
    name: str
    target: str
    source: str
    digest: str
    stat: tuple[int, ...] = ()

    @property
    def place(self) -> tuple[str, ...]:
        """What makes it the same file in two projects. Another source of a bind mount is another mount."""
        return (self.kind, self.source if self.kind == "file" else self.name, self.target)


@dataclass(frozen=True)
class Contents:
    """The files of all services, by service. `key` names the key of the digests; empty: nothing was read.

    `values` are those of the variables that are delivered as files. `unread` says in a sentence each what could not be
    read, and so is not compared.
    """

    key: str = ""
    files: Mapping[str, tuple[FileContent, ...]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    unread: tuple[str, ...] = ()


NOTHING = Contents()


def read(
    files: Files,
    root: str,
    values: Mapping[str, str],
    key: bytes | None,
    recorded: Contents,
    now: int,
    *,
    awaited: bool = False,
) -> Contents:
    """Read the files as they are now; `now` is the time of day in nanoseconds.

    `root` is the project's directory, `values` those of the variables that are set. What `recorded` knows by an equal
    stat is not read again. Without a key only what is missing is looked for. Raises SpecError, which names every file
    that is not there and every variable that is not set. Files that are `awaited` may be missing still: they are told
    as unread.
    """
    missing = _missing(files, root)
    _refuse((f"{each} is not on this host" for each in missing if not awaited), _unset(files, values))
    awaiting = (f"a run needs what is not on this host yet: {', '.join(missing)}",) if missing else ()
    if key is None:
        return Contents(values=values, unread=awaiting)
    reader = _Reader(root, values, key, recorded, now)
    found = {
        service: tuple(content for file in mounted if file.watched for content in reader.content(file))
        for service, mounted in files.items()
    }
    return Contents(reader.key_id, found, values, (*awaiting, *dict.fromkeys(reader.unread)))


def changed(recorded: Contents, now: Contents) -> dict[str, tuple[str, ...]]:
    """Say by service which files are others than at the last commit.

    A file that is new or gone is a change of the configuration, and no reason here. Nothing is compared with a record
    that there is not, or under another key.
    """
    if not now.key or recorded.key != now.key:
        return {}
    reasons = {
        service: _reasons({file.place: file for file in recorded.files.get(service, ())}, files)
        for service, files in now.files.items()
    }
    return {service: found for service, found in reasons.items() if found}


def of_release(recorded: Contents, now: Contents, proven: Collection[str]) -> Contents:
    """Give what a commit records: of the services in `proven` what there is now, of others what was recorded.

    So a service that this run left alone, or whose new containers failed, is compared with what it runs with.
    """
    others = recorded.files if recorded.key == now.key else {}
    files = {service: files for service, files in others.items() if service not in proven}
    files.update((service, files) for service, files in now.files.items() if service in proven)
    return Contents(now.key, files, {**recorded.values, **now.values})


def _reasons(before: Mapping[tuple[str, ...], FileContent], files: tuple[FileContent, ...]) -> tuple[str, ...]:
    reasons = []
    for file in files:
        old = before.get(file.place)
        if old is None:
            continue
        if old.source != file.source:
            # Compose's hash of a service has the name of a secret in it, not where it comes from.
            reasons.append(f"{file.kind} {file.name}: {old.source} -> {file.source}")
        elif old.digest != file.digest:
            reasons.append(f"{_named(file)}: content changed")
    return tuple(dict.fromkeys(reasons))


def _named(file: FileContent) -> str:
    if file.kind == "file":
        return f"{file.source} (mounted at {file.target})"
    return f"{file.kind} {file.name} ({file.source})"


def as_data(contents: Contents) -> dict[str, Any]:
    """Give what is recorded, as plain data; may hold secrets."""
    files = {
        service: [[file.kind, file.name, file.target, file.source, file.digest, list(file.stat)] for file in of_service]
        for service, of_service in contents.files.items()
    }
    return {"key": contents.key, "files": files, "values": dict(contents.values)}


def from_data(data: Mapping[str, Any]) -> Contents:
    """Read what `as_data` gave; KeyError, TypeError, ValueError or AttributeError when it is something else."""
    files = {
        service: tuple(
            FileContent(kind, name, target, source, digest, tuple(known))
            for kind, name, target, source, digest, known in of_service
        )
        for service, of_service in data["files"].items()
    }
    return Contents(str(data["key"]), files, dict(data["values"]))


def _refuse(*problems_of: Iterable[str]) -> None:
    problems = Problems()
    for problem in chain.from_iterable(problems_of):
        problems.add(problem)
    problems.settle(SpecError)


def _missing(files: Files, root: str) -> tuple[str, ...]:
    """Name the files that are not there."""
    missing = []
    for service, mounted in files.items():
        for file in mounted:
            if file.path and file.must_exist and _is_missing(file.path):
                where = f"services.{service}.volumes" if file.kind == "file" else f"{file.kind}s.{file.name}.file"
                missing.append(f"{where}: {_shown(file.path, root)}")
    return tuple(dict.fromkeys(missing))


def _unset(files: Files, values: Mapping[str, str]) -> Iterator[str]:
    """Say which variables are not set."""
    for file in chain.from_iterable(files.values()):
        if file.variable and file.variable not in values:
            yield (
                f"{file.kind}s.{file.name}.environment: the variable {file.variable} is not set; set it in the "
                "environment or in an environment file of the project"
            )


def _is_missing(path: str) -> bool:
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        # It may be hidden from this user and not from the engine.
        return False
    return False


def _shown(path: str, root: str) -> str:
    try:
        return f"./{PurePath(path).relative_to(Path(root).absolute())}"
    except ValueError:
        return path


class _Reader:
    def __init__(self, root: str, values: Mapping[str, str], key: bytes, recorded: Contents, now: int) -> None:
        self._root = root
        self._values = values
        self._key = key
        self._now = now
        self.key_id = hashlib.sha256(key).hexdigest()[:12]
        self.unread: list[str] = []
        known = (file for files in recorded.files.values() for file in files if file.stat)
        self._known = {file.stat: file.digest for file in known} if recorded.key == self.key_id else {}

    def content(self, file: MountedFile) -> list[FileContent]:
        """Give the file's content, or nothing where there is none to compare."""
        if not file.inline:
            return self._on_this_host(file)
        digest = hmac.new(self._key, file.read_inline(self._values), hashlib.sha256).hexdigest()
        source = f"environment {file.variable}" if file.variable else "inline"
        return [FileContent(file.kind, file.name, file.target, source, digest)]

    def _on_this_host(self, file: MountedFile) -> list[FileContent]:
        shown = _shown(file.path, self._root)
        try:
            if file.path.startswith(_NO_CONTENT) or not stat.S_ISREG(Path(file.path).stat().st_mode):
                return []
            digest, known = self._digest(file.path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.unread.append(f"{shown} cannot be read, so a change of its content is not seen: {error.strerror}")
            return []
        return [FileContent(file.kind, file.name, file.target, f"file {shown}", digest, known)]

    def _digest(self, path: str) -> tuple[str, tuple[int, ...]]:
        with Path(path).open("rb") as stream:
            before = _times(stream)
            if before in self._known:
                return self._known[before], before
            digest = hmac.new(self._key, digestmod=hashlib.sha256)
            while True:
                piece = stream.read(_PIECE)
                if not piece:
                    break
                digest.update(piece)
            settled = _times(stream) == before and max(before[-2:]) + _UNSETTLED < self._now
        known = before if settled else ()
        if known:
            self._known[known] = digest.hexdigest()
        return digest.hexdigest(), known


def _times(stream: BinaryIO) -> tuple[int, ...]:
    found = os.fstat(stream.fileno())
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
