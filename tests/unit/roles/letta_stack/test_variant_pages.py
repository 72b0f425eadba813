# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the variants' pages are accepted, render, and stand in the pages as they are here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader

from tests.unit.roles.conftest import ROLES
from tests.variants import rendering, table

ROOT = Path(__file__).resolve().parents[4]
EXAMPLES = sorted((ROOT / "docs" / "examples" / "variants").glob("*/*.yml"))


def settings(path: Path) -> dict:
    """Give what the example sets, with a value for each variable that it takes from a vault."""
    text = path.read_text(encoding="utf-8")
    vault = {name: f"{table.MARK}{number:03}" for number, name in enumerate(re.findall(r"\bvault_\w+", text))}
    return {**vault, **DataLoader().load_from_file(str(path), trusted_as_template=True)}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
class TestExample:
    def test_it_is_accepted_and_renders_the_variant_without_a_secret(self, path):
        variant = path.parent.name
        given = settings(path)
        assert given.get("letta_stack_variant", table.DEFAULTS["letta_stack_variant"]) == variant
        assert rendering.complaints(given) == []
        text = rendering.compose(given)
        assert list(yaml.safe_load(text)["services"]) == table.SERVICES[variant]
        assert table.MARK not in text

    def test_every_role_accepts_its_part(self, path):
        given = {name: value for name, value in settings(path).items() if not name.startswith("vault_")}
        for role in ROLES.iterdir():
            specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
            mine = {name: given.pop(name) for name in list(given) if name.startswith(f"{role.name}_")}
            result = ArgumentSpecValidator(specs["argument_specs"]["main"]["options"]).validate(mine)
            assert result.error_messages == []
        assert given == {}

    def test_it_stands_in_its_page(self, path):
        page = (ROOT / "docs" / "variants" / f"{path.parent.name}.md").read_text(encoding="utf-8")
        body = path.read_text(encoding="utf-8").removeprefix("---\n")
        assert f"```yaml\n{body}```" in page or f"```yaml\n# {path.relative_to(ROOT)}\n{body}```" in page


@pytest.mark.parametrize("variant", table.SERVICES)
def test_every_variant_has_a_page_with_a_picture_and_two_examples(variant):
    page = (ROOT / "docs" / "variants" / f"{variant}.md").read_text(encoding="utf-8")
    assert page.startswith((f"# {variant}\n", f"# The variant {variant}\n"))
    assert "```mermaid\n" in page
    assert {path.name for path in EXAMPLES if path.parent.name == variant} >= {"minimal.yml", "full.yml"}
