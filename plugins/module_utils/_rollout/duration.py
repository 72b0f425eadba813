# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations as Go, and so Compose, writes them: `1m30s`, `500ms`, `1.5h`."""

from __future__ import annotations

import math
import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d)")


def seconds(value: object) -> float:
    """Give a duration in seconds. Numbers are seconds already; text is a Go duration.

    Raises ValueError when the text is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is no duration; write it like 90s or 1m30s")
    if isinstance(value, int):
        # More digits than a float has room for are as good as infinite.
        number = float(value) if value.bit_length() < 1000 else math.inf
    elif isinstance(value, float):
        number = value
    else:
        text = value.strip()
        if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
            number = float(text)
        elif text and re.fullmatch(f"(?:{_PART.pattern})+", text):
            number = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
        else:
            raise ValueError(f"{value!r} is no duration; write it like 90s or 1m30s")
    if number < 0 or not math.isfinite(number):
        raise ValueError(f"{value!r} is no duration; it has to be finite and not negative")
    return number


def text(value: float) -> str:
    """Give seconds in words that a person reads: 0.4 s, 12 s, 3 min 20 s."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
