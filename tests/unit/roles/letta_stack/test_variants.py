# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every variant, with every value of an option; integration tests choose every pair of values."""

from __future__ import annotations

from functools import cache

import pytest

from tests.variants import properties, rendering, table
from tests.variants.pairwise import pairwise


@cache
def cases(variant: str) -> dict[str, properties.Case]:
    return {
        name: properties.Case(variant, settings, rendering.compose(settings))
        for name, settings in table.value_cases(variant).items()
    }


@pytest.mark.parametrize("variant", table.VARIANTS)
@pytest.mark.parametrize("holds", properties.ALL, ids=lambda holds: holds.__name__)
def test_it_holds_with_every_value_of_an_option(variant, holds):
    properties.prove(holds, cases(variant))


@pytest.mark.parametrize("variant", table.VARIANTS)
def test_the_combinations_hold_every_pair_of_options(variant):
    options = table.options(variant)
    combinations = pairwise(options)
    for one, values in options.items():
        for other in options:
            for value in values:
                met = [chosen[other] for chosen in combinations if chosen[one] == value]
                assert one == other or all(other_value in met for other_value in options[other])
    # Few enough to look at, where all combinations would be thousands.
    assert len(combinations) < sum(map(len, options.values())) * 2
