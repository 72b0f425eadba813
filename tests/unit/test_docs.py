# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links between the documents, and from documents to tests, lead somewhere; tables say what the sources say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools import docs

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_to_files(document):
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    files = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [name for name in files if not (document.parent / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_that_is_named_is_there(document):
    """As `test_file.py::test_name`, without the folder, where the file's name and the test's say which one it is.

    A property of all variants is named as `properties.py::name`.
    """
    named = re.findall(r"`(\w+\.py)::(\w+)`", document.read_text(encoding="utf-8"))
    files = [path for folder in ("tests", "molecule") for path in (ROOT / folder).rglob("*.py")]
    texts = {name: [path.read_text(encoding="utf-8") for path in files if path.name == name] for name, _test in named}
    assert [f"{name}::{test}" for name, test in named if not any(f"def {test}(" in text for text in texts[name])] == []


def test_a_long_default_is_printed_unless_it_stands_elsewhere():
    patterns = [f"*.pattern{number:02}" for number in range(20)]
    options = {"exclude": {"type": "list", "elements": "str", "default": patterns}}
    assert [pattern for pattern in patterns if f"'{pattern}'" not in docs.table(options)] == []
    assert "| see [defaults](defaults/main.yml) |" in docs.table(options, "see [defaults](defaults/main.yml)")
