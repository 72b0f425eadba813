# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variants for development take of a source tree, asked of the source of the release itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from ansible_collections.agentfleet.letta.plugins.module_utils import _build_context as build_context
from ansible_collections.agentfleet.letta.plugins.modules.build_context import EXCLUDED
from tests.integration.stack.part import run_part
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


@pytest.fixture
def tree(tmp_path) -> Path:
    """The release's source, to be spoilt."""
    return Path(shutil.copytree(unpacked(), tmp_path / "tree", symlinks=True))


def test_a_tree_that_lacks_a_part_is_refused_by_name(tree, tmp_path):
    (tree / "alembic.ini").unlink()
    rc, said = run_part(tmp_path, "source", letta_stack_variant="development", letta_stack_source=str(tree))
    assert rc != 0
    assert f"letta_stack_source: {tree} on localhost lacks alembic.ini" in said


def live(tree: Path, **variables: str) -> dict[str, str]:
    """Variables of development_live with what the release has no file for."""
    (tree / "tests").mkdir(exist_ok=True)
    return {"letta_stack_variant": "development_live", "letta_stack_source": str(tree), **variables}


def test_a_source_that_the_server_could_not_read_is_refused(tree, tmp_path):
    (tree / "letta").chmod(0o751)
    rc, said = run_part(tmp_path, "source", **live(tree))
    assert rc != 0
    assert f"letta_stack_source: {tree} on localhost is mounted, so everyone has to be able to read it" in said


def test_what_is_to_be_mounted_and_is_not_there_is_refused_and_not_made(tree, tmp_path):
    nowhere = tmp_path / "nowhere"
    rc, said = run_part(tmp_path, "source", **live(tree, letta_stack_live_credentials=str(nowhere)))
    assert rc != 0
    assert f"letta_stack_live_credentials: {nowhere} on localhost is no directory" in said
    assert not nowhere.exists()
