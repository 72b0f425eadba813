# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a project's file asks of Docker Compose and of the engine, and whether these are new enough for it.

An engine that is too old ignores some of these silently, so that a volume is mounted whole instead of one directory of
it; others Compose refuses in the middle of a rollout.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .spec import Service

# Docker Compose 5 creates containers by other code, which was not tried.
_UNTRIED_COMPOSE = (5,)

# The engine that has an API version first, as its users know it.
_ENGINES = {(1, 43): "24", (1, 44): "25", (1, 45): "26", (1, 48): "28", (1, 49): "28.1"}

# The Compose that knows a key first, from its release notes.
_FIRST_COMPOSE = {
    "post_start": "2.30",
    "pre_stop": "2.30",
    "gpus": "2.30",
    "label_file": "2.32.2",
    "gw_priority": "2.33.1",
    "interface_name": "2.36",
    "provider": "2.36",
    "models": "2.38",
}
# As Compose words it until 2.37, and since then.
_UNKNOWN_KEY = re.compile(r"[Aa]dditional propert(?:y (\S+) is|ies '([^']+)') not allowed")


def engine_problems(services: Iterable[Service], api: tuple[int, int]) -> tuple[str, ...]:
    """Name every key that needs a newer engine than one whose API has this version."""
    return tuple(
        f"services.{service.name}.{where}: needs Docker Engine {_ENGINES[needed]} or later (API "
        f"{needed[0]}.{needed[1]}); this host's has API {api[0]}.{api[1]}"
        for service in services
        for where, needed in _asked_of_the_engine(service.config)
        if needed > api
    )


def _asked_of_the_engine(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, int]]]:
    if config.get("annotations"):
        yield "annotations", (1, 43)
    if (config.get("healthcheck") or {}).get("start_interval"):
        yield "healthcheck.start_interval", (1, 44)
    for name, options in (config.get("networks") or {}).items():
        for key, needed in (("mac_address", (1, 44)), ("gw_priority", (1, 48)), ("interface_name", (1, 49))):
            if (options or {}).get(key):
                yield f"networks.{name}.{key}", needed
    for mount in config.get("volumes") or ():
        if (mount.get("bind") or {}).get("recursive") == "readonly":
            yield f"volumes.{mount['target']}.bind.recursive", (1, 44)
        if (mount.get("volume") or {}).get("subpath"):
            yield f"volumes.{mount['target']}.volume.subpath", (1, 45)
        if mount.get("type") == "image":
            yield f"volumes.{mount['target']}.type: image", (1, 48)


def compose_warning(version: tuple[int, ...]) -> str | None:
    """Warn of a Docker Compose that rollouts were not tried with."""
    if version < _UNTRIED_COMPOSE:
        return None
    return f"Docker Compose {text(version)} is newer than those that rollouts were tried with (2.26 to 2.40)"


def unknown_key(words: str, version: tuple[int, ...]) -> str:
    """Add to Compose's words that a key is not allowed why that may be; other words give an empty text."""
    found = _UNKNOWN_KEY.search(words)
    if not found:
        return ""
    key = found[1] or found[2]
    first = _FIRST_COMPOSE.get(key)
    if first and version < tuple(int(part) for part in first.split(".")):
        return f" ({key} needs Docker Compose {first} or later; this host's is {text(version)})"
    return f" ({key} is misspelt, in the wrong place, or too new for this host's Docker Compose {text(version)})"


def text(version: tuple[int, ...]) -> str:
    """Give a version as one writes it."""
    return ".".join(str(part) for part in version)
