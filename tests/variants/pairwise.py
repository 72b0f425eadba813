# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Combinations of options, few and yet enough: a fault that two options make together shows in one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeVar

Value = TypeVar("Value")
# An option and which of its values.
Choice = tuple[str, int]


def pairwise(options: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """Give combinations of one value of each option, in which every value meets every value of every other option.

    Greedy, and the same every time: each combination begins with a pair that has not met, and takes of each further
    option the value that meets most others for the first time. Written here because the library for it, allpairspy, had
    its last release in 2023, needs a package for Python 2, and would be no shorter to use.
    """
    choices = {name: [(name, index) for index in range(len(values))] for name, values in options.items()}
    missing = {
        frozenset((one, other))
        for left, right in combinations(choices, 2)
        for one in choices[left]
        for other in choices[right]
    }
    found = []
    while missing:
        chosen = {name: (name, index) for name, index in min(sorted(pair) for pair in missing)}
        for name, values in choices.items():
            if name not in chosen:
                chosen[name] = max(values, key=lambda one: _new(one, chosen, missing))
        missing -= {frozenset(pair) for pair in combinations(chosen.values(), 2)}
        found.append({name: options[name][chosen[name][1]] for name in options})
    return found


def _new(one: Choice, chosen: Mapping[str, Choice], missing: set[frozenset[Choice]]) -> int:
    return sum(frozenset((one, other)) in missing for other in chosen.values())
