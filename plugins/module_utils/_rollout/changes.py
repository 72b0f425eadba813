# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say what differs between two normalised configurations, without showing what must stay secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Values under these keys are often secrets: their keys are named, their values are not.
_HIDDEN = ("environment", "labels", "command", "entrypoint", "build", "healthcheck.test")
# They say how a container is replaced and how many there are, nothing about what one is.
_NO_PART_OF_A_CONTAINER = ("x-rollout", "scale")
_NO_PART_OF_A_CONTAINER_IN_DEPLOY = ("replicas",)


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Name each key that differs, with both values where they may be shown: `mem_limit: 1g -> 2g`."""
    changes: list[str] = []
    _compare("", _about_a_container(before), _about_a_container(after), changes)
    return tuple(changes)


def is_hidden(path: str) -> bool:
    """Whether the value at this dotted path of a service's configuration may be a secret."""
    return any(path == hidden or path.startswith(f"{hidden}.") for hidden in _HIDDEN)


def _about_a_container(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in (*_NO_PART_OF_A_CONTAINER, "deploy")}
    deploy = config.get("deploy") or {}
    about = {key: value for key, value in deploy.items() if key not in _NO_PART_OF_A_CONTAINER_IN_DEPLOY}
    for section in ("configs", "secrets"):
        if kept.get(section):
            kept[section] = [_with_mode(reference) for reference in kept[section]]
    return {**kept, "deploy": about} if about else kept


def _with_mode(reference: Any) -> Any:
    """A mode is a number with Compose 2.26 (288), and text with 2.40 ("0440")."""
    if not isinstance(reference, Mapping) or not isinstance(reference.get("mode"), int):
        return reference
    return {**reference, "mode": f"{reference['mode']:04o}"}


def _compare(path: str, before: Any, after: Any, changes: list[str]) -> None:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}, key=str):
            child = f"{path}.{key}" if path else str(key)
            if key not in before:
                changes.append(f"{child}: added{_shown(child, ' ', after[key])}")
            elif key not in after:
                changes.append(f"{child}: removed{_shown(child, ' ', before[key])}")
            else:
                _compare(child, before[key], after[key], changes)
        return
    if isinstance(before, list) and isinstance(after, list):
        gone = [item for item in before if item not in after]
        new = [item for item in after if item not in before]
        if not is_hidden(path) and (gone or new):
            changes.append(f"{path}: {_items(gone)} -> {_items(new)}")
            return
    if is_hidden(path):
        changes.append(f"{path}: changed")
    else:
        changes.append(f"{path}: {before} -> {after}")


def _shown(path: str, lead: str, value: Any) -> str:
    if is_hidden(path) or isinstance(value, (Mapping, list)):
        return ""
    return f"{lead}({value})"


def _items(items: list[Any]) -> str:
    return ", ".join(_item(item) for item in items) or "nothing"


def _item(item: Any) -> str:
    if isinstance(item, Mapping):
        # A mount, a port, a secret: its source and target say which one it is.
        parts = [str(item[key]) for key in ("source", "published", "target") if item.get(key)]
        return ":".join(parts) or str(dict(item))
    return str(item)
