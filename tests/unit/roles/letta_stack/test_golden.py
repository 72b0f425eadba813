# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reviewer sees: the Compose file of each variant, with its least settings and with one value of each option."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from tests.variants import listing, rendering, table

ROOT = Path(__file__).resolve().parents[4]
GOLDEN = ROOT / "tests" / "golden"
README = ROOT / "docs" / "variants" / "README.md"
CASES = [(variant, name) for variant in table.VARIANTS for name in table.golden_cases(variant)]
MEND = "look at the difference; if it is what you want, `make golden` writes the files"


def compare(path: Path, wanted: str, rewrite: bool) -> None:
    """The file is what is wanted, or becomes it."""
    if rewrite:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted, encoding="utf-8")
    name = str(path.relative_to(ROOT))
    assert path.is_file(), f"{name} is missing: {MEND}"
    found = path.read_text(encoding="utf-8")
    difference = difflib.unified_diff(found.splitlines(), wanted.splitlines(), name, "as rendered now", lineterm="")
    assert found == wanted, "\n".join([f"{name}: {MEND}", *difference])


def test_every_variant_has_its_line_in_the_table():
    assert set(table.VARIANTS) == set(table.SERVICES), "tests/variants/table.py: a variant is one line of VARIANTS"


@pytest.mark.parametrize("variant", table.SERVICES)
def test_every_variant_has_its_golden_files(variant, rewrite_golden):
    found = {path.name for path in (GOLDEN / variant).glob("*")}
    assert rewrite_golden or found == {"minimal.yaml", "full.yaml"}, f"tests/golden/{variant}: {MEND}"


def test_no_golden_file_is_of_a_variant_that_is_gone():
    assert {path.name for path in GOLDEN.iterdir()} <= set(table.SERVICES)


@pytest.mark.parametrize(("variant", "name"), [pytest.param(*case, id="-".join(case)) for case in CASES])
def test_a_compose_file_is_as_it_was_reviewed(variant, name, rewrite_golden):
    compare(GOLDEN / variant / f"{name}.yaml", rendering.compose(table.golden_cases(variant)[name]), rewrite_golden)


def test_the_documentation_lists_what_the_variants_are(rewrite_golden):
    compare(README, listing.with_tables(README.read_text(encoding="utf-8")), rewrite_golden)
