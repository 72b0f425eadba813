# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read how a service is replaced: deploy.update_config, deploy.rollback_config and x-rollout."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from . import core_yaml
from .check_spec import parse_checks
from .errors import Problems
from .fields import Fields
from .policy import Overrides, Policy, WayBack
from .route_spec import routes

_ORDERS = ("start-first", "stop-first")
_UPDATE = ("parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order")
_X_ROLLOUT = (
    "timeout", "stable", "no_healthcheck", "anonymous_volumes", "shared", "dns", "checks", "proxy", "drain_timeout",
)  # fmt: skip


def policy(config: Mapping[str, Any], where: str, overrides: Overrides, problems: Problems) -> Policy:
    """Read the policy from a service's normalised configuration.

    Precedence: argument > x-rollout > a key present in update_config > our default.
    """
    deploy = config.get("deploy") or {}
    update = _swarm_s(deploy, "update_config", where, problems)
    rollout = Fields(core_yaml.unescaped(config.get("x-rollout")), f"{where}.x-rollout", _X_ROLLOUT, problems)
    default = Policy()
    return Policy(
        order=_first(overrides.order, _order(update), default.order),
        parallelism=_first(overrides.parallelism, _parallelism(update), default.parallelism),
        delay=_first(update.seconds("delay"), default.delay),
        monitor=_first(update.seconds("monitor"), default.monitor),
        failure_action=_first(
            update.choice("failure_action", ("rollback", "pause", "continue")), default.failure_action
        ),
        max_failure_ratio=_first(update.ratio("max_failure_ratio"), default.max_failure_ratio),
        timeout=_first(overrides.timeout, rollout.seconds("timeout"), default.timeout),
        stable=_first(overrides.stable, rollout.seconds("stable"), default.stable),
        no_healthcheck=_first(rollout.choice("no_healthcheck", ("running", "fail")), default.no_healthcheck),
        discard_anonymous_volumes=rollout.choice("anonymous_volumes", ("discard",)) is not None,
        shared=_shared(rollout),
        strict_dns=rollout.choice("dns", ("warn", "strict")) == "strict",
        checks=parse_checks(rollout.value("checks"), f"{where}.x-rollout.checks", problems),
        routes=routes(rollout.value("proxy"), config, f"{where}.x-rollout.proxy", problems),
        drain_timeout=_first(rollout.seconds("drain_timeout"), default.drain_timeout),
        canary=_first(overrides.canary, default.canary),
        canary_time=_first(overrides.canary_time, default.canary_time),
        back=_way_back(_swarm_s(deploy, "rollback_config", where, problems)),
    )


def _swarm_s(deploy: Mapping[str, Any], key: str, where: str, problems: Problems) -> Fields:
    return Fields(deploy.get(key), f"{where}.deploy.{key}", _UPDATE, problems, extensible=True)


def _way_back(fields: Fields) -> WayBack:
    default = WayBack()
    if fields.ratio("max_failure_ratio"):
        # A way back on which anything fails is told as one: there is nothing behind it.
        fields.refuse("max_failure_ratio", "0")
    return WayBack(
        parallelism=_first(_parallelism(fields), default.parallelism),
        delay=_first(fields.seconds("delay"), default.delay),
        monitor=_first(fields.seconds("monitor"), default.monitor),
        failure_action=_first(fields.choice("failure_action", ("pause", "continue")), default.failure_action),
        order=_order(fields),
    )


def _order(fields: Fields) -> str | None:
    order = fields.choice("order", _ORDERS)
    return None if order is None else order.replace("-", "_")


def _parallelism(fields: Fields) -> int | None:
    return fields.count("parallelism", "0 (all at once) or more")


def _shared(fields: Fields) -> frozenset[str]:
    value = fields.value("shared") or []
    if not isinstance(value, list) or not all(isinstance(target, str) and target[:1] == "/" for target in value):
        fields.problems.add(f"{fields.where}.shared: must be a list of mount targets, each an absolute path")
        return frozenset()
    return frozenset(posixpath.normpath(target) for target in value)


def _first(*values: Any) -> Any:
    """Give the first value that was given; the last where none was."""
    return next((value for value in values if value is not None), None)
