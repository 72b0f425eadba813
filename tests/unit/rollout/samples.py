# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded answers of a real engine (20.10.24) and of Compose 2.40.3, and containers made after them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, observe, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Overrides

_RECORDED = Path(__file__).parent / "recorded"

NO_POLICY = ("no", 0)
NOTHING_ASKED = Overrides()


def text(name: str) -> str:
    return (_RECORDED / name).read_text("utf-8")


def inspected(name: str) -> dict[str, Any]:
    """What the engine said of a container in the state that `name` tells."""
    answer: dict[str, Any] = json.loads(text(f"inspect/{name}.json"))
    return answer


def container(state: str = "unchecked", **changes: Any) -> observe.Container:
    """A recorded container, with some of what was read changed."""
    return replace(observe.container(inspected(state)), **changes)


def project(overrides: Overrides = NOTHING_ASKED, /, **services: dict[str, Any]) -> spec.Project:
    """The project that Compose's normalised form of these services gives."""
    with_image = {name: {"image": "shop:1", **config} for name, config in services.items()}
    return spec.parse(core_yaml.dump({"name": "shop", "services": with_image}), overrides)


def service(overrides: Overrides = NOTHING_ASKED, /, **config: Any) -> spec.Service:
    return project(overrides, web=config).services["web"]
