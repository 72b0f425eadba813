# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable by the name that Ansible gives it.

``from ansible_collections.agentfleet.letta.plugins...`` is no ordinary import: Ansible's own finder answers it. The
finder looks for ``ansible_collections/agentfleet/letta`` below its paths, so the checkout is linked there, wherever it
lies; ``make`` leaves the same link for ``ansible-playbook``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / ".ansible" / "collections"


def _link_checkout() -> None:
    link = COLLECTIONS / "ansible_collections" / "agentfleet" / "letta"
    if link.is_symlink() and link.resolve() == ROOT:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(Path("../../../.."), target_is_directory=True)


def _install_finder() -> None:
    if not any(isinstance(finder, _AnsibleCollectionFinder) for finder in sys.meta_path):
        _AnsibleCollectionFinder(paths=[str(COLLECTIONS)])._install()


# What it asserts is shown as what tests assert.
pytest.register_assert_rewrite("tests.variants.properties")
_link_checkout()
_install_finder()
