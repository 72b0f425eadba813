# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read a mapping of a project's file key by key, and collect what is wrong with it."""

from __future__ import annotations

import difflib
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from . import duration
from .errors import Problems


class Fields:
    """The keys of one mapping. What cannot be read is a problem, and reads as if it were not there.

    `where` is the dotted path of the mapping, which each problem begins with. A mapping that is None has no keys.
    Keys that begin with x- are passed over where the mapping is the Compose Specification's own (`extensible`).
    """

    def __init__(
        self, value: Any, where: str, allowed: Sequence[str], problems: Problems, *, extensible: bool = False
    ) -> None:
        self.where = where
        self.problems = problems
        self._values: Mapping[Any, Any] = {}
        if isinstance(value, Mapping):
            self._values = value
        elif value is not None:
            problems.add(f"{where}: must be a mapping with the keys {', '.join(allowed)}")
        for key in self._values:
            if key not in allowed and not (extensible and str(key).startswith("x-")):
                problems.add(f"{where}.{key}: unknown{_meant(str(key), allowed)}; allowed: {', '.join(allowed)}")

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def value(self, key: str) -> Any:
        """Give whatever stands there, None where nothing does."""
        return self._values.get(key)

    def refuse(self, key: str, allowed: str) -> None:
        """Add the problem that what stands at `key` is not what is allowed there."""
        self.problems.add(f"{self.where}.{key}: {self._values.get(key)!r}; allowed: {allowed}")

    def require(self, *keys: str) -> bool:
        """Whether all of these are there; each one that is not is a problem."""
        missing = [key for key in keys if key not in self]
        for key in missing:
            self.problems.add(f"{self.where}.{key}: missing")
        return not missing

    def seconds(self, key: str, *, positive: bool = False) -> float | None:
        """Give a duration in seconds."""
        if key not in self:
            return None
        try:
            value = duration.seconds(self._values[key])
        except ValueError as error:
            self.problems.add(f"{self.where}.{key}: {error}")
            return None
        if positive and not value:
            self.refuse(key, "more than 0s")
            return None
        return value

    def count(self, key: str, words: str, least: int = 0, most: float = math.inf) -> int | None:
        """Give a whole number from `least` to `most`, which `words` tell."""
        value = self._values.get(key)
        if value is None:
            return None
        if not is_whole(value) or not least <= value <= most:
            self.refuse(key, words)
            return None
        return int(value)

    def port(self, key: str) -> int | None:
        """Give a port number."""
        return self.count(key, "1 to 65535", 1, 65535)

    def ratio(self, key: str) -> float | None:
        """Give a number from 0 to 1."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            self.refuse(key, "0 to 1")
            return None
        return float(value)

    def choice(self, key: str, allowed: Sequence[str]) -> str | None:
        """Give one of the words in `allowed`."""
        value = self._values.get(key)
        if value is None:
            return None
        if value not in allowed:
            self.refuse(key, ", ".join(allowed))
            return None
        return str(value)

    def flag(self, key: str) -> bool | None:
        """Give true or false."""
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.refuse(key, "true, false")
        return None

    def text(self, key: str) -> str | None:
        """Give text that is not empty."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            self.refuse(key, "text")
            return None
        return value

    def argv(self, key: str) -> tuple[str, ...]:
        """Give a command, written as a list or as text that is split like a shell's, without its variables."""
        value = self._values.get(key)
        if isinstance(value, str):
            try:
                value = shlex.split(value)
            except ValueError as error:
                self.problems.add(f"{self.where}.{key}: cannot be split into words: {error}")
                return ()
        if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
            # Not shown: commands hold secrets at times.
            self.problems.add(f"{self.where}.{key}: must be a list of words, or text that is split into words")
            return ()
        return tuple(value)


def is_whole(value: Any) -> bool:
    """Whether this is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _meant(key: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, allowed, n=1)
    return f", perhaps {near[0]} is meant" if near else ""
