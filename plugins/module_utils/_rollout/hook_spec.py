# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the commands that a service's containers run after their start and before their stop: post_start, pre_stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import core_yaml
from .errors import Problems
from .fields import Fields
from .policy import Hook

_KEYS = ("command", "user", "privileged", "working_dir", "environment")


def hooks(config: Mapping[str, Any], key: str, where: str, problems: Problems) -> tuple[Hook, ...]:
    """Give the hooks of `post_start` or `pre_stop` in the service's normalised configuration."""
    return tuple(
        _hook(Fields(core_yaml.unescaped(hook), f"{where}.{key}[{number}]", _KEYS, problems, extensible=True))
        for number, hook in enumerate(config.get(key) or ())
    )


def _hook(fields: Fields) -> Hook:
    return Hook(
        command=fields.argv("command"),
        user=fields.text("user") or "",
        privileged=fields.flag("privileged") or False,
        working_dir=fields.text("working_dir") or "",
        environment=_environment(fields),
    )


def _environment(fields: Fields) -> tuple[str, ...]:
    """Give NAME=value, or NAME alone where there is no value, as Compose hands it to the engine: that unsets it."""
    value = fields.value("environment") or ()
    if isinstance(value, Mapping):
        value = [str(name) if content is None else f"{name}={_text(content)}" for name, content in value.items()]
    if not isinstance(value, (list, tuple)) or not all(map(_is_entry, value)):
        # Not shown: it may hold a secret.
        fields.problems.add(f"{fields.where}.environment: must be a mapping, or a list of NAME=value")
        return ()
    return tuple(value)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, str) and bool(entry.partition("=")[0])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
