# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkout is a collection: Ansible's finder knows it, and its metadata agree with each other."""

from __future__ import annotations

import importlib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def read(path: str):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_checkout_is_imported_by_its_collection_name():
    package = importlib.import_module("ansible_collections.agentfleet.letta")
    assert Path(next(iter(package.__path__))).resolve() == ROOT


def test_galaxy_and_requirements_ask_for_the_same_collections():
    required = {entry["name"]: entry["version"] for entry in read("requirements.yml")["collections"]}
    assert read("galaxy.yml")["dependencies"] == required
