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

import glob
import hashlib
import hmac
import os
import re
import secrets
import string
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GENERATED_LENGTH = 48
DIGEST_LENGTH = 12

_ALPHABET = string.ascii_letters + string.digits
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_SALT = ".salt"
_TEMPORARY = ".unfinished-"


class SecretError(Exception):
    """A request that cannot be met; the message says why and holds no value."""


@dataclass(frozen=True)
class Plan:
    """What is to be written. ``repr`` shows no value.

    Attributes:
        write: the value of each file to write, by file name, with its mode.
        files: the file to mount, by the secret's name.
        made: secrets whose value this plan made up.
        created: secrets that were not there before.
        updated: secrets that had another value before.
        modes: file or directory names whose mode is wrong, with the right one.
    """

    write: Mapping[str, tuple[bytes, int]] = field(repr=False)
    files: Mapping[str, str]
    made: list[str]
    created: list[str]
    updated: list[str]
    modes: Mapping[str, int]

    @property
    def changed(self) -> bool:
        """Whether carrying the plan out would change anything."""
        return bool(self.write or self.modes)

    def predicted(self) -> dict[str, str]:
        """Return ``files`` for those who do not carry the plan out: a made-up value will be another one then."""
        return {name: f"{name}.new" if name in self.made else file for name, file in self.files.items()}

    def describe(self, before: bool) -> str:
        """Return the directory's content as a diff may show it: names and digests of keyed values."""
        lines = []
        for name in sorted(self.files):
            if before and name in self.created:
                continue
            lines.append(f"{name}: (another value)" if before and name in self.updated else self.predicted()[name])
        return "".join(f"{line}\n" for line in lines)


class SecretFiles:
    """The secrets in one directory."""

    def __init__(self, path: str) -> None:
        self.path = path

    def plan(self, values: Mapping[str, object], generate: Iterable[str], fixed: Iterable[str]) -> Plan:
        """Decide what to write so that each given and each generated secret is there.

        Raises SecretError for a bad name, an empty value, and a fixed secret that would change.
        """
        given = {name: self._checked(name, value) for name, value in values.items()}
        for name in generate:
            self._checked(name, "-")
        salt = self._read(_SALT)
        write: dict[str, tuple[bytes, int]] = {}
        if salt is None:
            salt = secrets.token_hex(32).encode()
            write[_SALT] = (salt, 0o400)
        files: dict[str, str] = {}
        made: list[str] = []
        created: list[str] = []
        updated: list[str] = []
        modes: dict[str, int] = {}
        fixed_names = set(fixed)
        for name in sorted({*given, *generate}):
            stored = self._read(name)
            value = given.get(name)
            if stored is not None and value is not None and not hmac.compare_digest(stored, value):
                if name in fixed_names:
                    raise SecretError(
                        f"{name}: the value that is given differs from the one in {os.path.join(self.path, name)}, which is in use "
                        "and cannot be changed here. Give the one in use, or none to keep it."
                    )
                updated.append(name)
            if stored is None:
                created.append(name)
            if value is None and stored is None:
                made.append(name)
            value = value or stored or "".join(secrets.choice(_ALPHABET) for _ in range(GENERATED_LENGTH)).encode()
            mounted = f"{name}.{_digest(salt, name, value)}"
            files[name] = mounted
            for file_name, mode, content in ((name, 0o400, stored), (mounted, 0o444, self._read(mounted))):
                if content != value:
                    write[file_name] = (value, mode)
                elif self._mode(file_name) != mode:
                    modes[file_name] = mode
        if os.path.isdir(self.path) and self._mode(".") != 0o700:
            modes["."] = 0o700
        return Plan(write, files, made, created, updated, modes)

    def apply(self, plan: Plan) -> None:
        """Carry a plan out. A file appears whole or not at all; an interrupted run is finished by the next one."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        os.chmod(self.path, 0o700)
        for left_over in glob.glob(os.path.join(glob.escape(self.path), f"{_TEMPORARY}*")):
            os.unlink(left_over)
        for name, (value, mode) in plan.write.items():
            self._write(name, value, mode)
        for name, mode in plan.modes.items():
            os.chmod(os.path.join(self.path, name), mode)

    def _checked(self, name: str, value: object) -> bytes:
        if not _NAME.match(name):
            raise SecretError(f"{name!r} cannot name a secret: use letters, digits and underscores")
        if not isinstance(value, str) or not value:
            raise SecretError(f"{name}: the value must be a string that is not empty")
        return value.encode()

    def _read(self, name: str) -> bytes | None:
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                return file.read() or None
        except FileNotFoundError:
            return None

    def _mode(self, name: str) -> int:
        return os.stat(os.path.join(self.path, name)).st_mode & 0o7777

    def _write(self, name: str, value: bytes, mode: int) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=_TEMPORARY)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.rename(temporary, os.path.join(self.path, name))
        except BaseException:
            os.unlink(temporary)
            raise


def _digest(salt: bytes, name: str, value: bytes) -> str:
    """Return a name for a value that tells nothing about it to those who do not have the salt."""
    return hmac.new(salt, name.encode() + b"\0" + value, hashlib.sha256).hexdigest()[:DIGEST_LENGTH]
