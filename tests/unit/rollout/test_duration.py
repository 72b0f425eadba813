# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as Compose writes them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import duration


def _as_go_writes(nanoseconds: int) -> str:
    """Go's time.Duration.String."""
    if nanoseconds < 1000:
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    for unit, size in (("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return f"{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    lead = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{lead}{_decimal(rest, 10**9)}s"


def _decimal(count: int, size: int) -> str:
    whole, part = divmod(count, size)
    return f"{whole}.{part:0{len(str(size)) - 1}d}".rstrip("0").rstrip(".")


@given(st.integers(0, 10**16))
def test_a_duration_that_go_wrote_is_read_back(nanoseconds: int) -> None:
    assert duration.seconds(_as_go_writes(nanoseconds)) == pytest.approx(float(Fraction(nanoseconds, 10**9)))


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5), ("2d", 172800), (" 5s ", 5), ("90", 90), (1.5, 1.5), (0, 0)],
)
def test_seconds(written: object, meant: float) -> None:
    assert duration.seconds(written) == pytest.approx(meant)


@pytest.mark.parametrize("wrong", ["", "5 s", "s", "5x", "-5s", "1s-", "1e3", -1, True, None, [], math.nan, math.inf])
def test_anything_else_is_refused_with_a_word_on_what_is_right(wrong: object) -> None:
    with pytest.raises(ValueError, match="is no duration; "):
        duration.seconds(wrong)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.44, "0.4 s"), (12.4, "12 s"), (119, "119 s"), (120, "2 min"), (200.4, "3 min 20 s")],
)
def test_words(seconds: float, words: str) -> None:
    assert duration.text(seconds) == words
