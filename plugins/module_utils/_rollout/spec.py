# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The project as Compose normalises it: what should run, and by which policy it may be replaced.

Input is the text of `docker compose config` (YAML, not JSON: Compose's JSON drops a service's `x-rollout`).
Nothing here talks to an engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import core_yaml, duration
from .errors import SpecError
from .policy import Hook, Overrides, Policy

NO_HEALTHCHECK = ("running", "fail")
COMPLETED = "service_completed_successfully"

# x-rollout keys of this version, by what they hold.
_X_ROLLOUT = ("timeout", "stable", "no_healthcheck", "shared", "anonymous_volumes")
_NOTHING_ASKED = Overrides()


@dataclass(frozen=True)
class Service:
    """One service. `exclusive` lists why two containers of it cannot run side by side (empty: they can)."""

    name: str
    image: str
    replicas: int
    depends_on: Mapping[str, str]
    one_shot: bool
    policy: Policy
    exclusive: tuple[str, ...]
    irreplaceable: tuple[str, ...]
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
        seen: set[str] = set()
        pending = list(self.services[service].depends_on)
        while pending:
            name = pending.pop()
            if name not in seen and name in self.services:
                seen.add(name)
                pending.extend(self.services[name].depends_on)
        return tuple(name for name in self.services if name in seen)

    def dependants(self, service: str) -> tuple[str, ...]:
        """The services that name `service` in their depends_on."""
        return tuple(s.name for s in self.services.values() if service in s.depends_on)


def parse(text: str, overrides: Overrides = _NOTHING_ASKED) -> Project:
    """Read the output of `docker compose config`.

    Raises SpecError, which names the field and what is allowed there.
    """
    try:
        data = core_yaml.load(text)
    except ValueError as error:
        raise SpecError(str(error)) from error
    if not isinstance(data, dict) or not isinstance(data.get("services"), dict) or not data["services"]:
        raise SpecError("the project has no services")
    _refuse_inline_files(data)
    raw = {name: config or {} for name, config in data["services"].items()}
    one_shots = {
        dependency
        for config in raw.values()
        for dependency, how in _depends_on(config).items()
        if how.get("condition") == COMPLETED
    }
    services = {name: _service(data["name"], name, raw[name], name in one_shots, overrides) for name in raw}
    return Project(
        name=data["name"],
        services={name: services[name] for name in _dependency_order(services)},
        networks=data.get("networks") or {},
        volumes=data.get("volumes") or {},
        secret_files=tuple(s["file"] for s in (data.get("secrets") or {}).values() if s.get("file")),
        config=data,
    )


def _depends_on(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return config.get("depends_on") or {}


def _service(project: str, name: str, config: dict[str, Any], one_shot: bool, overrides: Overrides) -> Service:
    where = f"services.{name}"
    _refuse_unsupported(where, config)
    extension = _extension(where, config.get("x-rollout"))
    replicas = config.get("scale", (config.get("deploy") or {}).get("replicas", 1))
    if not isinstance(replicas, int) or replicas < 0:
        raise SpecError(f"{where}.deploy.replicas: {replicas!r} is no count; allowed: 0 or more")
    return Service(
        name=name,
        image=config.get("image") or f"{project}-{name}",
        replicas=replicas,
        depends_on={service: how.get("condition", "service_started") for service, how in _depends_on(config).items()},
        one_shot=one_shot,
        policy=_policy(where, config, extension, overrides),
        exclusive=_exclusive(config, frozenset(extension.get("shared") or ())),
        irreplaceable=_irreplaceable(config),
        pull_policy=str(config.get("pull_policy", "missing")),
        restart_policy=_restart_policy(config),
        restarts_with=frozenset(name for name, how in _depends_on(config).items() if how.get("restart")),
        bound_to=_bound_to(config),
        container_name=config.get("container_name") or "",
        post_start=(),
        pre_stop=(),
        config=config,
    )


def _refuse_unsupported(where: str, config: Mapping[str, Any]) -> None:
    """Name what a service asks for and this version would not do; silence would be a lie."""
    for key in ("post_start", "pre_stop"):
        if config.get(key):
            raise SpecError(f"{where}.{key}: hooks of a service's life are not run by this version; take it out")
    for dependency, how in _depends_on(config).items():
        if how.get("restart"):
            raise SpecError(
                f"{where}.depends_on.{dependency}.restart: true is not carried out by this version; allowed: false. "
                "(links and the network_mode, ipc or pid of another service imply it)"
            )
    deploy = config.get("deploy") or {}
    if deploy.get("mode", "replicated") != "replicated":
        raise SpecError(f"{where}.deploy.mode: {deploy['mode']!r} is not supported; allowed: replicated")
    update = deploy.get("update_config") or {}
    if update.get("failure_action", "rollback") != "rollback":
        raise SpecError(
            f"{where}.deploy.update_config.failure_action: {update['failure_action']!r} is not supported by this "
            "version; allowed: rollback"
        )
    if float(update.get("max_failure_ratio") or 0):
        raise SpecError(
            f"{where}.deploy.update_config.max_failure_ratio: {update['max_failure_ratio']!r} is not supported by "
            "this version; allowed: 0"
        )


def _refuse_inline_files(data: Mapping[str, Any]) -> None:
    """Compose 2.37.3 and later deliver these when Compose itself starts a container, which a rollout does not."""
    for section in ("secrets", "configs"):
        for name, source in (data.get(section) or {}).items():
            for key in ("content", "environment"):
                if source.get(key) is not None:
                    raise SpecError(f"{section}.{name}.{key}: inline files are not delivered by this version; use file")


def _extension(where: str, extension: Any) -> dict[str, Any]:
    if extension is None:
        return {}
    if not isinstance(extension, dict):
        raise SpecError(f"{where}.x-rollout: must be a mapping with the keys {', '.join(_X_ROLLOUT)}")
    for key in extension:
        if key not in _X_ROLLOUT:
            raise SpecError(f"{where}.x-rollout.{key}: unknown to this version; allowed: {', '.join(_X_ROLLOUT)}")
    allowed = extension.get("no_healthcheck", "running")
    if allowed not in NO_HEALTHCHECK:
        raise SpecError(f"{where}.x-rollout.no_healthcheck: {allowed!r}; allowed: {', '.join(NO_HEALTHCHECK)}")
    if extension.get("anonymous_volumes", "discard") != "discard":
        raise SpecError(f"{where}.x-rollout.anonymous_volumes: {extension['anonymous_volumes']!r}; allowed: discard")
    shared = extension.get("shared", [])
    if not isinstance(shared, list) or not all(isinstance(target, str) for target in shared):
        raise SpecError(f"{where}.x-rollout.shared: must be a list of mount targets")
    return extension


def _policy(where: str, config: Mapping[str, Any], extension: Mapping[str, Any], overrides: Overrides) -> Policy:
    """Precedence: argument > x-rollout > a key present in update_config > our default."""
    update = (config.get("deploy") or {}).get("update_config") or {}
    default = Policy()

    def time(key: str, source: Mapping[str, Any], section: str) -> float | None:
        if source.get(key) is None:
            return None
        try:
            return duration.seconds(source[key])
        except ValueError as error:
            raise SpecError(f"{where}.{section}.{key}: {error}") from error

    def first(*values: Any) -> Any:
        return next(value for value in values if value is not None)

    order = update.get("order")
    if order is not None and order not in ("start-first", "stop-first"):
        raise SpecError(f"{where}.deploy.update_config.order: {order!r}; allowed: start-first, stop-first")
    parallelism = first(overrides.parallelism, update.get("parallelism"), default.parallelism)
    if not isinstance(parallelism, int) or parallelism < 0:
        raise SpecError(f"{where}.deploy.update_config.parallelism: {parallelism!r}; allowed: 0 (all at once) or more")
    timeout = time("timeout", extension, "x-rollout")
    stable = time("stable", extension, "x-rollout")
    return Policy(
        order=first(overrides.order, order and order.replace("-", "_"), default.order),
        parallelism=parallelism,
        delay=first(time("delay", update, "deploy.update_config"), default.delay),
        monitor=first(time("monitor", update, "deploy.update_config"), default.monitor),
        timeout=overrides.timeout if overrides.timeout is not None else timeout,
        stable=first(overrides.stable, stable, default.stable),
        no_healthcheck=extension.get("no_healthcheck", default.no_healthcheck),
        discard_anonymous_volumes="anonymous_volumes" in extension,
    )


def _restart_policy(config: Mapping[str, Any]) -> tuple[str, int]:
    """Give name and maximum retries as Compose hands them to the engine: deploy.restart_policy overrides restart.

    Without a condition Compose names none, which the engine takes for "no"
    (getRestartPolicy in https://github.com/docker/compose/blob/v2.40.3/pkg/compose/create.go).
    """
    policy = (config.get("deploy") or {}).get("restart_policy")
    if policy is None:
        name, _colon, retries = str(config.get("restart") or "no").partition(":")
    else:
        name, retries = policy.get("condition") or "no", policy.get("max_attempts")
    return {"none": "no", "any": "always"}.get(name, name), int(retries or 0)


def _shared_namespace(value: Any) -> bool:
    return isinstance(value, str) and (value == "host" or value.startswith(("service:", "container:")))


def _bound_to(config: Mapping[str, Any]) -> frozenset[str]:
    """Give the services whose containers Compose names in this one's containers by id."""
    namespaces = (str(config.get(key) or "") for key in ("network_mode", "ipc", "pid"))
    names = [value.partition(":")[2] for value in namespaces if value.startswith("service:")]
    volumes = (str(value) for value in config.get("volumes_from") or ())
    return frozenset([*names, *(value.partition(":")[0] for value in volumes if not value.startswith("container:"))])


def _exclusive(config: Mapping[str, Any], shared: frozenset[str]) -> tuple[str, ...]:
    """Why a second container of this service could not run beside the first."""
    reasons = []
    if config.get("container_name"):
        reasons.append(f"fixed name {config['container_name']}")
    for port in config.get("ports") or ():
        if port.get("published"):
            reasons.append(f"host port {port['published']}")
    for key in ("network_mode", "ipc", "pid", "uts"):
        if _shared_namespace(config.get(key)):
            reasons.append(f"{key} {config[key]}")
    if config.get("mac_address"):
        reasons.append("fixed MAC address")
    for network, options in (config.get("networks") or {}).items():
        for key in ("ipv4_address", "ipv6_address", "mac_address", "link_local_ips"):
            if (options or {}).get(key):
                reasons.append(f"fixed {key} on network {network}")
    reservations = ((config.get("deploy") or {}).get("resources") or {}).get("reservations") or {}
    if config.get("devices") or config.get("gpus") or reservations.get("devices"):
        reasons.append("devices")
    if config.get("volumes_from"):
        reasons.append("volumes_from")
    for mount in config.get("volumes") or ():
        writable = mount.get("type") in ("volume", "bind", "cluster") and not mount.get("read_only")
        # An anonymous volume (no source) is each container's own.
        if writable and mount.get("source") and mount["target"] not in shared:
            reasons.append(f"read-write mount {mount['target']}")
    return tuple(reasons)


def _irreplaceable(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What keeps this version from replacing a container of this service, should it have to."""
    reasons = []
    if config.get("container_name"):
        reasons.append("container_name")
    for key in ("network_mode", "ipc", "pid"):
        value = config.get(key)
        if isinstance(value, str) and value.startswith("service:"):
            reasons.append(f"{key}: {value}")
    if config.get("volumes_from"):
        reasons.append("volumes_from")
    return tuple(reasons)


def _dependency_order(services: Mapping[str, Service]) -> list[str]:
    """Dependencies before dependants; alphabetical where neither needs the other."""
    ordered: list[str] = []
    waiting = dict(sorted(services.items()))
    while waiting:
        ready = [name for name, service in waiting.items() if not any(dep in waiting for dep in service.depends_on)]
        if not ready:
            raise SpecError(f"depends_on goes in a circle: {', '.join(waiting)}")
        ordered.append(ready[0])
        del waiting[ready[0]]
    return ordered
