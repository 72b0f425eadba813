# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory of secrets: one file a secret, and one of a content-addressed name for containers to mount.

::

    secrets/                        0700
        .salt                       0400  the key of the digests, made once
        db_password                 0400  the value in force
        db_password.1f0c3a5be3d2    0444  the same, to mount
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import string
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

GENERATED_LENGTH = 48
DIGEST_LENGTH = 12

DIRECTORY_MODE = 0o700
STORED_MODE = 0o400
# Whoever can reach it may read it: in the container its user, on the host only who can enter the directory.
MOUNTED_MODE = 0o444

_ALPHABET = string.ascii_letters + string.digits
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_SALT = ".salt"
_TEMPORARY = ".unfinished-"


class SecretError(Exception):
    """A request that cannot be met; the message says why and holds no value."""


@dataclass(frozen=True)
class Plan:
    """What is to be written. Its ``repr`` shows no value.

    Attributes:
        write: the content and the mode of each file to write, by the file's name.
        modes: the right mode of what has another one, by name; ``.`` is the directory.
        files: the file to mount, by the secret's name.
        made: secrets whose value this plan made up.
        created: secrets that were not there before.
        updated: secrets that had another value before.
    """

    write: Mapping[str, tuple[bytes, int]] = field(repr=False)
    modes: Mapping[str, int]
    files: Mapping[str, str]
    made: list[str]
    created: list[str]
    updated: list[str]

    @property
    def changed(self) -> bool:
        """Whether carrying the plan out would change anything."""
        return bool(self.write or self.modes)

    def predicted(self) -> dict[str, str]:
        """Return ``files`` for those who do not carry the plan out: a made-up value will be another one then."""
        return {name: f"{name}.new" if name in self.made else file for name, file in self.files.items()}

    def describe(self, before: bool) -> str:
        """Return the secrets as a diff may show them: by their names and the keyed digests of their values."""
        lines = []
        for name, file in sorted(self.predicted().items()):
            if not before:
                lines.append(f"{file}\n")
            elif name in self.updated:
                lines.append(f"{name}.(another value)\n")
            elif name not in self.created:
                lines.append(f"{file}\n")
        return "".join(lines)


class SecretFiles:
    """The secrets in one directory."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def plan(
        self,
        values: Mapping[str, object],
        generate: Iterable[str] = (),
        require: Iterable[str] = (),
        fixed: Iterable[str] = (),
    ) -> Plan:
        """Decide what to write so that each given, generated and required secret is there.

        Raises:
            SecretError: for a bad name, an empty value, a required secret that is nowhere, a fixed one that would
                change, and a value that is part of a file's name.
        """
        given = {name: _checked(name, value) for name, value in values.items()}
        required = set(require)
        write: dict[str, tuple[bytes, int]] = {}
        salt = self._read(_SALT)
        if salt is None:
            salt = secrets.token_hex(32).encode()
            write[_SALT] = (salt, STORED_MODE)
        modes = {".": DIRECTORY_MODE} if self._has_other_mode(".", DIRECTORY_MODE) else {}
        files: dict[str, str] = {}
        made: list[str] = []
        created: list[str] = []
        updated: list[str] = []
        for name in sorted({*given, *generate, *required}):
            stored = self._read(name)
            if stored is None:
                created.append(name)
            elif name in given and not hmac.compare_digest(stored, given[name]):
                updated.append(name)
            value = given.get(name, stored)
            if value is None:
                if name in required:
                    raise SecretError(
                        f"{name}: there is none in {self.path}, and none is given. What was made with it needs that "
                        "very value: give it from a backup."
                    )
                made.append(name)
                value = _checked(name, "".join(secrets.choice(_ALPHABET) for _index in range(GENERATED_LENGTH)))
            files[name] = f"{name}.{_digest(salt, name, value)}"
            for file, mode in ((name, STORED_MODE), (files[name], MOUNTED_MODE)):
                if self._read(file) != value:
                    write[file] = (value, mode)
                elif self._has_other_mode(file, mode):
                    modes[file] = mode
        hidden = sorted(name for name, value in given.items() if any(value.decode() in file for file in files.values()))
        if hidden:
            raise SecretError(
                f"{', '.join(hidden)}: the value that is given occurs in the name of a file to mount, which Ansible "
                "would show with the value blotted out. Give one that is no part of a name."
            )
        refused = sorted(set(updated) & set(fixed))
        if refused:
            raise SecretError(
                f"{', '.join(refused)}: the value that is given is not the one in {self.path}, which is in use and "
                "cannot be changed here. Give the one in use, or none to keep it."
            )
        return Plan(write, modes, files, made, created, updated)

    def apply(self, plan: Plan) -> None:
        """Carry a plan out. A file appears whole or not at all; the next run finishes what an interrupted one left."""
        self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        for left_over in self.path.glob(f"{_TEMPORARY}*"):
            left_over.unlink()
        for name, (value, mode) in plan.write.items():
            self._write(name, value, mode)
        for name, mode in plan.modes.items():
            (self.path / name).chmod(mode)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes() or None
        except FileNotFoundError:
            return None

    def _has_other_mode(self, name: str, mode: int) -> bool:
        path = self.path / name
        return path.exists() and path.stat().st_mode & 0o7777 != mode

    def _write(self, name: str, value: bytes, mode: int) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=_TEMPORARY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(self.path / name)


def _checked(name: str, value: object) -> bytes:
    if not _NAME.match(name):
        raise SecretError(f"{name!r} cannot name a secret: use letters, digits and underscores")
    if not isinstance(value, str) or not value:
        raise SecretError(f"{name}: the value must be a string that is not empty")
    return value.encode()


def _digest(salt: bytes, name: str, value: bytes) -> str:
    """Return a name for a value that tells nothing about it to those who do not have the salt."""
    return hmac.new(salt, name.encode() + b"\0" + value, hashlib.sha256).hexdigest()[:DIGEST_LENGTH]
