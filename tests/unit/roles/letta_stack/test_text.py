# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and switches that are given as text, as by `-e name=value`: Ansible checks that they are such, no more."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.roles.conftest import ROLES
from tests.variants import rendering, table

CASES = [(variant, name) for variant in table.VARIANTS for name in table.golden_cases(variant)]


def as_text(value: Any) -> Any:
    """Give a number or a switch as a command line does, in a mapping or by itself."""
    if isinstance(value, dict):
        return {name: as_text(inner) for name, inner in value.items()}
    return str(value).lower() if isinstance(value, (bool, int, float)) else value


def numbers_and_switches(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if not isinstance(value, str)}


@pytest.mark.parametrize(("variant", "name"), CASES)
def test_a_stack_is_the_same(variant, name):
    given = table.golden_cases(variant)[name]
    text = {**given, **as_text(numbers_and_switches({**table.DEFAULTS, **given}))}
    # Its values are of no one type: each is written as it is given.
    text["letta_stack_environment"] = given.get("letta_stack_environment", {})
    assert rendering.complaints(text) == []
    assert rendering.compose(text) == rendering.compose(given)


def test_so_is_the_front(render):
    defaults = yaml.safe_load((ROLES / "nginx" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    text = as_text(numbers_and_switches(defaults))
    assert text
    assert render("nginx", "{{ __nginx_complaints }}", **text) == []
    assert render("nginx", "{{ __nginx_files }}", **text) == render("nginx", "{{ __nginx_files }}")
