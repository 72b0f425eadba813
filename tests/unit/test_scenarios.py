# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of molecule's scenarios can be collected as molecule/shared/verify.yml runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in PROJECT.glob("molecule/*/molecule.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_has_tests_that_can_be_imported(scenario: str) -> None:
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", PROJECT / "molecule" / scenario / "tests"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert collected.returncode == 0, collected.stdout
