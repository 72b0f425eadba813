# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build context that holds what is named of a source tree and nothing else, so that no data and no secret get in."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FILE_MODE = 0o644
EXECUTABLE_MODE = 0o755
DIRECTORY_MODE = 0o755
_UNFINISHED = ".unfinished-"


class ContextError(Exception):
    """A source that a context cannot be made of; the message names the path and says why."""


@dataclass(frozen=True)
class Entry:
    """One file of the context: what it holds, as a digest, and the mode that it gets, whoever checked it out."""

    digest: str
    mode: int


Entries = Mapping[str, Entry]


@dataclass(frozen=True)
class Plan:
    """What the context becomes, and what of it is not yet so; all by path relative to the context.

    `wanted` and `found` are the files as they are to be and as they are; `strange` is what is no file and no directory.
    `left_out`, relative to the source, is what lies in its named parts and does not get in for its name.
    """

    wanted: Entries
    found: Entries
    strange: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def write(self) -> tuple[str, ...]:
        """Files to write."""
        return tuple(sorted(path for path, entry in self.wanted.items() if self.found.get(path) != entry))

    @property
    def remove(self) -> tuple[str, ...]:
        """Files to remove, and links and their like, also where a file is to be: nothing is written through them."""
        return tuple(sorted({*self.found} - {*self.wanted} | {*self.strange}))

    @property
    def changed(self) -> bool:
        """Whether carrying the plan out would change anything."""
        return bool(self.write or self.remove)

    @property
    def digest(self) -> str:
        """What the context is to hold, as one digest."""
        lines = [f"{path}\0{entry.mode:o}\0{entry.digest}\n" for path, entry in sorted(self.wanted.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def describe(self, before: bool) -> str:
        """Return the files that differ, by name and digest: what they hold is nobody's to print."""
        entries = self.found if before else self.wanted
        differing = sorted({*self.write, *self.remove} & set(entries))
        return "".join(f"{path} {entries[path].digest[:12]} {entries[path].mode:o}\n" for path in differing)


def plan(
    source: str, path: str, include: Sequence[str], exclude: Collection[str], patterns: Collection[str] = ("*",)
) -> Plan:
    """Compare the context at `path` with what is included of `source`.

    `include`: files and directories, relative to the source; all must be there. Below those directories `exclude` keeps
    files and directories out, and of the other files `patterns` lets in; both are shell patterns of names, whatever the
    case of their letters. Raises ContextError for what a context cannot hold: a link may lead anywhere, and for one
    that would lie in its own source, or around it.
    """
    _check(source, path, include)
    root = Path(source)
    wanted: dict[str, Entry] = {}
    left_out: set[str] = set()
    for name in include:
        start = root / name
        if not start.exists():
            raise ContextError(f"{source} has no {name}")
        for file, taken in _files(start, exclude, patterns):
            if taken:
                wanted[str(file.relative_to(root))] = _entry(file)
            else:
                left_out.add(str(file.relative_to(root)))
    found, strange = _found(Path(path))
    # What one part leaves out, another may name.
    return Plan(wanted, found, strange, tuple(sorted(left_out - set(wanted))))


def apply(made: Plan, source: str, path: str) -> None:
    """Make the context what the plan says. Raises ContextError when the source is no longer what it was planned by."""
    for name in made.remove:
        (Path(path) / name).unlink()
    for name in made.write:
        content = (Path(source) / name).read_bytes()
        # The image is named by the plan's digest, and would be taken for that of the content of before ever after.
        if _digest(content) != made.wanted[name].digest:
            raise ContextError(f"{source}/{name} changed while it was copied; run again when nobody writes to it")
        target = Path(path) / name
        if target.is_dir():
            # Of a file that was a directory before; what it held is removed by now.
            _remove_empty(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = _unfinished(target.parent)
        unfinished.write_bytes(content)
        unfinished.chmod(made.wanted[name].mode)
        unfinished.replace(target)
    _settle_directories(Path(path))


def _check(source: str, path: str, include: Sequence[str]) -> None:
    # By where they are, whatever links lead there: of what is at `path` all that is not in the source is removed.
    real = os.path.realpath(source), os.path.realpath(path)
    if os.path.commonpath(real) in real:
        raise ContextError(f"path: {path} must be a directory of its own, neither in nor around the source {source}")
    for name in include:
        parts = Path(name).parts
        if not name or Path(name).is_absolute() or ".." in parts:
            raise ContextError(f"include: must be paths relative to the source, without .., not {name!r}")
        for count in range(1, len(parts)):
            folder = Path(source, *parts[:count])
            if folder.is_symlink():
                raise ContextError(f"include: {name} goes by the link {folder}, which may lead out of the source")


def _files(start: Path, exclude: Collection[str], patterns: Collection[str]) -> Iterator[tuple[Path, bool]]:
    # With each whether it is taken; of a directory that is left out as a whole, it alone.
    status = start.lstat()
    if stat.S_ISREG(status.st_mode):
        yield start, True
    elif stat.S_ISDIR(status.st_mode):
        for child in sorted(start.iterdir()):
            regular = stat.S_ISREG(child.lstat().st_mode)
            if _matches(child.name, exclude) or (regular and not _matches(child.name, patterns)):
                yield child, False
            else:
                yield from _files(child, exclude, patterns)
    else:
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "no file and no directory"
        raise ContextError(f"{start} is {kind}; a build context is made of files alone")


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _entry(file: Path) -> Entry:
    mode = EXECUTABLE_MODE if file.stat().st_mode & stat.S_IXUSR else FILE_MODE
    return Entry(_digest(file.read_bytes()), mode)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _found(root: Path) -> tuple[Entries, tuple[str, ...]]:
    found, strange = {}, []
    for folder, directories, files in os.walk(root):
        for name in (*files, *directories):
            path = Path(folder) / name
            relative, status = str(path.relative_to(root)), path.lstat()
            if stat.S_ISREG(status.st_mode):
                found[relative] = Entry(_digest(path.read_bytes()), stat.S_IMODE(status.st_mode))
            elif not stat.S_ISDIR(status.st_mode):
                strange.append(relative)
    return found, tuple(strange)


def _unfinished(directory: Path) -> Path:
    # Any name that we choose could be that of a file of the source; one that a run left behind is removed by the next.
    descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=directory)
    os.close(descriptor)
    return Path(name)


def _settle_directories(root: Path) -> None:
    for folder, _directories, _files in os.walk(root, topdown=False):
        directory = Path(folder)
        if directory != root and not any(directory.iterdir()):
            directory.rmdir()
        else:
            directory.chmod(DIRECTORY_MODE)


def _remove_empty(directory: Path) -> None:
    for folder, _directories, _files in os.walk(directory, topdown=False):
        Path(folder).rmdir()
