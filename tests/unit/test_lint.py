# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linters' driver never calls files clean that it did not see."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

LINT = Path(__file__).resolve().parents[1] / "tools/lint"


def test_a_tree_that_git_does_not_know_fails(tmp_path: Path) -> None:
    copy = tmp_path / "tests/tools/lint"
    copy.parent.mkdir(parents=True)
    shutil.copy(LINT, copy)
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run([str(copy)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "git lists no files" in done.stderr
    assert "---" not in done.stdout
