# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as an operator reads it, and as Ansible's --diff shows it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from . import core_yaml, duration, exclusive
from .changes import is_hidden
from .observe import Container
from .plan import Plan, ServicePlan, short
from .release import Timing

_PHRASES = {
    "none": "nothing to do",
    "wait": "waits for what runs already",
    "repair": "is put right where it stands",
    "scale": "changes its number of containers",
    "restart": "its containers restart where they stand",
    "route": "its proxy is told where it is",
}


def lines(plan: Plan, timings: Mapping[str, Timing] | None = None) -> list[str]:
    """One line for each service that something happens to, in the order in which it happens.

    `timings`: how long the services took the last time, by name.
    """
    told = [f"{step.service.name}: {_phrase(step, timings or {})}" for step in plan.services if step.action != "none"]
    told += [f"{c.service}: {c.name} is removed, an orphan{_makes_way(plan, c)}" for c in plan.orphans]
    return told


def _makes_way(plan: Plan, orphan: Container) -> str:
    for step in plan.services:
        name = step.service.name
        if orphan not in plan.in_the_way_of(step):
            continue
        if not orphan.running:
            return f", and gives its name to {name}"
        common = "; ".join(exclusive.in_common(step.service.claims, orphan))
        why = f"the two cannot share {common}" if common else "it is bound to one that makes way"
        return f", and stops before {name} starts: {why}"
    return ""


def text(plan: Plan, timings: Mapping[str, Timing] | None = None) -> str:
    """The lines as one block, empty where nothing happens."""
    return "".join(f"plan: {line}\n" for line in lines(plan, timings))


def _phrase(step: ServicePlan, timings: Mapping[str, Timing]) -> str:
    reasons = "; ".join(step.reasons)
    if step.action == "create":
        return f"{step.create} new ({reasons})"
    if step.action == "run":
        return f"runs once, to success ({reasons})"
    last = timings.get(step.service.name)
    if step.action == "update":
        old = ", ".join(container.name for container in step.retire)
        return f"{step.create} new, {step.order}, in place of {old}; {_availability(step, last)} ({reasons})"
    manner = f"; {_availability(step, last)}" if step.interrupts else ""
    return f"{_PHRASES[step.action]}{manner} ({reasons})"


def _availability(step: ServicePlan, last: Timing | None) -> str:
    """Say whether the service is down for a while, and how long that, or all of it, took the last time."""
    if not step.interrupts:
        return f"stays up; took {duration.text(last.seconds)} last time" if last else "stays up"
    known = f"; {duration.text(last.down)} last time" if last and last.down else ""
    return f"is down from the old one's stop to the new one's gate{known}"


def diff(plan: Plan, committed: Mapping[str, Any]) -> dict[str, str]:
    """Give `before` and `after` for Ansible's --diff: each service's configuration and image.

    Values that may be secret stand as digests under a key of this one call: equal ones look equal, none can be
    guessed back.
    """
    key = secrets.token_bytes(16)
    before, after = {}, {}
    for step in plan.services:
        name = step.service.name
        running = sorted({short(container.image_id) for container in (*step.keep, *step.watch, *step.retire)})
        if running:
            before[name] = {"image_ids": running, **_shown(committed.get(name) or {}, key)}
        if step.action != "none":
            after[name] = {"image_ids": _image_ids(step, running), **_shown(step.service.config, key)}
        elif running:
            after[name] = before[name]
    return {"before": core_yaml.dump(before) if before else "", "after": core_yaml.dump(after) if after else ""}


def _image_ids(step: ServicePlan, running: list[str]) -> list[str]:
    return [short(step.image_id)] if step.image_id else running


def _shown(config: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    shown: dict[str, Any] = _masked("", config, key)
    return shown


def _masked(path: str, value: Any, key: bytes) -> Any:
    if isinstance(value, Mapping):
        return {name: _masked(f"{path}.{name}" if path else str(name), item, key) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(path, item, key) for item in value]
    return _digest(value, key) if value is not None and is_hidden(path) else value


def _digest(value: Any, key: bytes) -> str:
    return "hidden:" + hmac.new(key, str(value).encode(), hashlib.sha256).hexdigest()[:8]
