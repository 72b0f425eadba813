# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variants for development take of a source tree, asked of the source of the release itself."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.agentfleet.letta.plugins.module_utils import _build_context as build_context
from ansible_collections.agentfleet.letta.plugins.modules.build_context import EXCLUDED
from tests.integration.stack.sdist import unpacked

ROLE = Path(__file__).resolve().parents[3] / "roles" / "letta_stack"


def test_the_release_gets_in_as_a_whole_but_for_a_database(tmp_path):
    patterns = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))["letta_stack_source_files"]
    source = yaml.safe_load((ROLE / "vars" / "main" / "source.yml").read_text(encoding="utf-8"))
    parts = source["__letta_stack_source_parts"]
    plan = build_context.plan(str(unpacked()), str(tmp_path / "context"), parts, EXCLUDED, patterns)
    # Which the role does not name: it is the release's own, and nothing reads it.
    assert list(plan.left_out) == ["letta/personas/examples/sqldb/test.db"]
    assert plan.left_out[0] in source["__letta_stack_source_left_out"]
    # A pattern that lets in nothing of the release lets in only what is somebody's own.
    suffixes = {f"*{path.suffix}" if path.suffix else path.name for path in map(Path, plan.wanted)}
    assert set(patterns) <= suffixes
