# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The project as Compose normalises it: what should run, and by which policy it may be replaced.

Input is the text of `docker compose config` (YAML, not JSON: Compose's JSON drops a service's `x-rollout`).
Nothing here talks to an engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import core_yaml, policy_spec, route_spec, shape
from .dependency_order import all_needed, dependency_order
from .errors import Problems, SpecError
from .exclusive import Claim, bound_to, claims
from .hook_spec import hooks
from .policy import Hook, Overrides, Policy

COMPLETED = "service_completed_successfully"

_CONDITIONS = ("service_started", "service_healthy", COMPLETED)
_RESTART_POLICIES = ("no", "always", "unless-stopped", "on-failure")
_RETRIES = re.compile(r"[0-9]{1,9}")
_NOTHING_ASKED = Overrides()


@dataclass(frozen=True)
class Service:
    """One service. `claims` is what each of its containers has to have alone."""

    name: str
    image: str
    replicas: int
    depends_on: Mapping[str, str]
    one_shot: bool
    policy: Policy
    claims: tuple[Claim, ...] = field(compare=False)
    pull_policy: str
    restart_policy: tuple[str, int]
    # Services whose replacement restarts this one's containers (depends_on.restart).
    restarts_with: frozenset[str]
    # Services whose containers this one's are bound to: a shared namespace, or volumes_from.
    bound_to: frozenset[str]
    container_name: str
    post_start: tuple[Hook, ...]
    pre_stop: tuple[Hook, ...]
    config: Mapping[str, Any] = field(compare=False, repr=False)

    @property
    def exclusive(self) -> tuple[str, ...]:
        """Why two containers of it cannot run side by side; empty: they can."""
        return tuple(dict.fromkeys(claim.reason for claim in self.claims))


@dataclass(frozen=True)
class Project:
    """A Compose project: services by name in dependency order, networks and volumes as normalised."""

    name: str
    services: Mapping[str, Service]
    networks: Mapping[str, Mapping[str, Any]]
    volumes: Mapping[str, Mapping[str, Any]]
    secret_files: tuple[str, ...]
    config: Mapping[str, Any] = field(compare=False, repr=False)

    def dependencies(self, service: str) -> tuple[str, ...]:
        """All services that `service` depends on, directly or not, in dependency order."""
        needed = all_needed({name: each.depends_on.keys() for name, each in self.services.items()}, service)
        return tuple(name for name in self.services if name in needed)

    def dependants(self, service: str) -> tuple[str, ...]:
        """The services that name `service` in their depends_on."""
        return tuple(s.name for s in self.services.values() if service in s.depends_on)


def parse(text: str, overrides: Overrides = _NOTHING_ASKED) -> Project:
    """Read the output of `docker compose config`.

    Raises SpecError with all that is wrong: each names the field and what is allowed there.
    """
    try:
        data = core_yaml.load(text)
    except ValueError as error:
        raise SpecError(str(error)) from error
    if not isinstance(data, dict) or not isinstance(data.get("services"), dict) or not data["services"]:
        raise SpecError("the project has no services")
    problems = Problems()
    shape.check(data, problems)
    problems.settle(SpecError)
    raw: dict[str, dict[str, Any]] = {name: config or {} for name, config in data["services"].items()}
    one_shots = {
        dependency
        for config in raw.values()
        for dependency, how in _depends_on(config).items()
        if how.get("condition") == COMPLETED
    }
    services = {
        name: _service(data, name, config, name in one_shots, overrides, problems) for name, config in raw.items()
    }
    route_spec.check_together({name: service.policy.routes for name, service in services.items()}, raw, problems)
    for service in services.values():
        _check_inline_files(service, data, problems)
    order = dependency_order(
        {name: service.depends_on.keys() | service.bound_to for name, service in services.items()},
        {name: {route.proxy for route in service.policy.routes} for name, service in services.items()},
        problems,
    )
    problems.settle(SpecError)
    return Project(
        name=data["name"],
        services={name: services[name] for name in order},
        networks=data.get("networks") or {},
        volumes=data.get("volumes") or {},
        secret_files=tuple(
            core_yaml.unescaped(secret["file"])
            for secret in (data.get("secrets") or {}).values()
            if secret and secret.get("file")
        ),
        config=data,
    )


def _depends_on(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return config.get("depends_on") or {}


def _service(
    project: Mapping[str, Any],
    name: str,
    config: dict[str, Any],
    one_shot: bool,
    overrides: Overrides,
    problems: Problems,
) -> Service:
    where = f"services.{name}"
    policy = policy_spec.policy(config, where, overrides, problems)
    service = Service(
        name=name,
        image=config.get("image") or f"{project['name']}-{name}",
        replicas=_replicas(config),
        depends_on={other: how.get("condition") or "service_started" for other, how in _depends_on(config).items()},
        one_shot=one_shot,
        policy=policy,
        claims=claims(config, policy.shared, project),
        pull_policy=config.get("pull_policy") or "missing",
        restart_policy=_restart_policy(config, where, problems),
        restarts_with=frozenset(other for other, how in _depends_on(config).items() if how.get("restart")),
        bound_to=bound_to(config),
        container_name=config.get("container_name") or "",
        post_start=hooks(config, "post_start", where, problems),
        pre_stop=hooks(config, "pre_stop", where, problems),
        config=config,
    )
    _check_service(service, where, problems)
    return service


def _replicas(config: Mapping[str, Any]) -> int:
    counts = (config.get("scale"), (config.get("deploy") or {}).get("replicas"), 1)
    return next(count for count in counts if count is not None)


def _check_service(service: Service, where: str, problems: Problems) -> None:
    """Refuse what does not go together within one service."""
    mode = (service.config.get("deploy") or {}).get("mode") or "replicated"
    if mode != "replicated":
        problems.add(f"{where}.deploy.mode: {mode!r} is not supported; allowed: replicated")
    if service.replicas < 0:
        field = "deploy.replicas" if service.config.get("scale") is None else "scale"
        problems.add(f"{where}.{field}: {service.replicas} is no count; allowed: 0 or more")
    if service.container_name and service.replicas > 1:
        problems.add(
            f"{where}.container_name: {service.replicas} containers cannot have one name; allowed: one replica, or no "
            "container_name"
        )
    for other, condition in service.depends_on.items():
        if condition not in _CONDITIONS:
            problems.add(f"{where}.depends_on.{other}.condition: {condition!r}; allowed: {', '.join(_CONDITIONS)}")
    if service.one_shot:
        asked = {"checks": service.policy.checks, "proxy": service.policy.routes}
        for key in (key for key, value in asked.items() if value):
            problems.add(
                f"{where}.x-rollout.{key}: not for a service that runs to its end, as what depends on it with "
                f"condition {COMPLETED} says of this one; take it out"
            )


def _check_inline_files(service: Service, data: Mapping[str, Any], problems: Problems) -> None:
    """Inline files are written into the container, which Compose refuses, too, where nothing can be written."""
    if not service.config.get("read_only"):
        return
    for section in ("configs", "secrets"):
        for use in service.config.get(section) or ():
            source = (data.get(section) or {}).get(use.get("source")) or {}
            for key in (key for key in ("content", "environment") if source.get(key) is not None):
                problems.add(
                    f"services.{service.name}.{section}: {use['source']} is written by {section}.{use['source']}.{key} "
                    "into a container that is read_only; allowed: file, or read_only: false"
                )


def _restart_policy(config: Mapping[str, Any], where: str, problems: Problems) -> tuple[str, int]:
    """Give name and maximum retries as Compose hands them to the engine: deploy.restart_policy overrides restart.

    Without a condition Compose names none, which the engine takes for "no"
    (getRestartPolicy in https://github.com/docker/compose/blob/v2.40.3/pkg/compose/create.go).
    """
    policy = (config.get("deploy") or {}).get("restart_policy")
    if policy is not None:
        field, name, retries = "deploy.restart_policy", policy.get("condition") or "no", policy.get("max_attempts") or 0
    else:
        field = "restart"
        name, _colon, text = (config.get("restart") or "no").partition(":")
        retries = int(text) if _RETRIES.fullmatch(text) else -1 if text else 0
    name = {"none": "no", "any": "always"}.get(name, name)
    if name not in _RESTART_POLICIES or retries < 0:
        asked = policy if policy is not None else config["restart"]
        allowed = f"{', '.join(_RESTART_POLICIES)}, and a number of retries that is 0 or more"
        problems.add(f"{where}.{field}: {asked!r}; allowed: {allowed}")
    return name, retries
