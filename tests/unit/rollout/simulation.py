# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in miniature: an engine, Compose and a clock behind the same Protocols as the real ones.

Its containers live by scripts (machines.py). Nothing here knows what a rollout is. A test can let any call be refused,
be carried out with its answer lost, bring a signal, or be the last one that the run makes before it is killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import (
    core_yaml,
    exclusive,
    lifecycle,
    observe,
    outcome,
    plan,
    planner,
    release,
    rollout,
    spec,
)
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import Answer, Check
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.engine import Execution
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import (
    ComposeError,
    EngineError,
    EngineUnreachable,
    Interrupted,
    ProxyError,
)
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Hook, Overrides, Route
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.proxy import Switched

from .machines import GOOD, GOOD_ONE_SHOT, Machine, Script

_NOTHING_ASKED = Overrides()
_NO_EXTRAS = rollout.Extras()


class Killed(BaseException):
    """The run is gone, as by kill -9: nothing of it may act after this."""


class Signals:
    """Interrupts, raised by a test instead of by a process."""

    def __init__(self) -> None:
        self.pending = False
        self.ignored = False

    def check(self) -> None:
        if self.pending and not self.ignored:
            self.pending = False
            raise Interrupted("interrupted by SIGTERM")

    def ignore(self) -> None:
        self.ignored = True


@dataclass(frozen=True)
class Before:
    """Compose on what was committed last."""

    host: Host
    project: spec.Project
    hashes: dict[str, str]

    def create(self, service: str, counts: Mapping[str, int]) -> None:
        # What was committed was proven: it lives well again, unless told otherwise.
        scripts, self.host.scripts = self.host.scripts, self.host.scripts_again
        try:
            self.host.create_of(self.project, self.hashes, service, counts)
        finally:
            self.host.scripts = scripts


@dataclass
class Host:
    """Engine, Compose, Clock and Watch in one. `watchers` are called after everything that happens."""

    machines: dict[str, Machine] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    time: float = 0.0
    faults: dict[int, str] = field(default_factory=dict)
    calls: int = 0
    done: list[str] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    signals: Signals = field(default_factory=Signals)
    project: spec.Project | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    scripts: Mapping[str, Sequence[Script]] = field(default_factory=dict)
    scripts_again: Mapping[str, Sequence[Script]] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)
    disk_full: bool = False
    done_at_commit: list[str] | None = None
    # Upstream files by route; how long old connections last after a switch; whether the proxy takes no file.
    upstreams: dict[Route, str] = field(default_factory=dict)
    connections_last: float = 0.0
    proxy_refuses: bool = False
    # What an upstream file may not hold; whether containers can be removed, or get other names.
    refuses_routes: str | None = None
    refuses_removal: bool = False
    refuses_names: bool = False
    front_door_opens: float = 0.0
    before: Before | None = None
    resources: set[str] = field(default_factory=set)
    committed: tuple[dict[str, release.Timing], frozenset[str]] | None = None
    # The engine is not there from the first moment to the second.
    outage: tuple[float, float] | None = None
    born: int = 0

    # What a test asks.

    def commit(self, timings: Mapping[str, release.Timing], incomplete: frozenset[str]) -> None:
        if self.disk_full:
            raise OSError(28, "No space left on device")
        assert self.project is not None
        self.committed = (dict(timings), incomplete)
        # What kept an old container is recorded as it was, what never had one not at all.
        services, hashes = dict(self.project.services), dict(self.hashes)
        for name in incomplete:
            del services[name], hashes[name]
            if self.before is not None and name in self.before.hashes:
                services[name], hashes[name] = self.before.project.services[name], self.before.hashes[name]
        self.before = Before(self, replace(self.project, services=services), hashes)
        self.done_at_commit = list(self.done)

    def of(self, service: str) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine.service == service]

    def running(self) -> dict[str, tuple[str, int]]:
        """The restart policy of each container that runs, by id."""
        return {m.id: m.restart_policy for m in self.machines.values() if m.status != "exited" and m.starts}

    # Clock and Watch.

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self._live_until(self.time + seconds)

    def wait(self, seconds: float) -> None:
        """Return at the next thing that happens, as the event stream does."""
        due = min((change[0] for m in self.machines.values() if (change := m.next_change())), default=float("inf"))
        self._live_until(min(due, self.time + max(seconds, 0.0)))

    @contextmanager
    def watch(self, project: str) -> Iterator[Host]:
        with self._call("watch"):
            pass
        yield self

    # Engine.

    def containers(self, project: str) -> list[observe.Container]:
        with self._call("list"):
            return [machine.seen() for machine in self.machines.values()]

    def inspect(self, container_id: str) -> observe.Container | None:
        with self._call("inspect"):
            machine = self.machines.get(container_id)
            return machine.seen() if machine else None

    def image_id(self, reference: str) -> str | None:
        return self.tags.get(reference)

    def tag(self, image_id: str, reference: str) -> None:
        self.tags[reference] = image_id

    def network(self, name: str) -> dict[str, Any] | None:
        return {"Name": name} if name in self.resources else None

    def volume(self, name: str) -> dict[str, Any] | None:
        return self.network(name)

    def remove_network(self, name: str) -> None:
        with self._call("remove network"):
            if self.machines:
                raise EngineError("remove network: has active endpoints")
            self.resources.discard(name)

    def remove_volume(self, name: str) -> None:
        self.remove_network(name)

    def rename(self, container_id: str, name: str) -> None:
        with self._call("rename"):
            machine = self._get(container_id)
            if self.refuses_names and name.startswith("zz-"):
                raise EngineError("rename a container: refused")
            if machine.name == name:
                raise EngineError("rename a container: Renaming a container with the same name as its current name")
            assert name not in {other.name for other in self.machines.values() if other is not machine}
            machine.name = name

    def unpack(self, container_id: str, archive: bytes) -> None:
        with self._call("unpack"):
            self._get(container_id).unpacked = archive

    def processes(self, container_id: str) -> dict[int, str]:
        return {}

    def execute(self, container_id: str, command: Hook, timeout: float) -> Execution:
        with self._call("execute"):
            machine = self._get(container_id)
            if machine.status != "running":
                raise EngineError("run a command in a container: container is not running")
            (name,) = command.command
            machine.hooks_run.append(name)
            self.done.append(f"{name} in {machine.name}")
            return Execution(1 if name == machine.script.fails_hook else 0, "hook says so")

    def start(self, container_id: str) -> None:
        with self._call("start"):
            machine = self._get(container_id)
            if not machine.script.starts:
                raise EngineError("start a container: port is already allocated")
            if any(self.machines[owner].status != "running" for owner in machine.bound_to if owner in self.machines):
                raise EngineError("start a container: cannot join network of a non running container")
            if machine.bound_to - set(self.machines):
                raise EngineError("start a container: No such container")
            others = (other for other in self.machines.values() if other.status == "running" and other is not machine)
            # Of what is on its disks the engine knows nothing: two may write to one directory.
            taken = [thing for other in others for thing in other.holds if thing[0] in ("port", "address")]
            if any(exclusive.collide(thing, other) for thing in machine.holds for other in taken):
                raise EngineError("start a container: it is already allocated")
            if machine.status != "running":
                machine.start(self.time)
            self.done.append(f"start {machine.name}")

    def stop(self, container_id: str, grace: int) -> None:
        with self._call("stop"):
            machine = self._get(container_id)
            self._live_until(self.time + min(machine.script.stops_within, grace))
            if machine.status in ("running", "restarting"):
                machine.end(0 if machine.script.stops_within <= grace else 137)
                self.done.append(f"stop {machine.name}")

    def set_restart_policy(self, container_id: str, policy: tuple[str, int]) -> None:
        with self._call("policy"):
            self._get(container_id).restart_policy = policy

    def remove(self, container_id: str) -> None:
        with self._call("remove"):
            machine = self.machines.get(container_id)
            if machine is None:
                return
            if self.refuses_removal:
                raise EngineError("remove a container: refused")
            if machine.status in ("running", "restarting"):
                raise EngineError("remove a container: You cannot remove a running container")
            del self.machines[container_id]
            self.done.append(f"remove {machine.name}")

    def logs(self, container_id: str, lines: int) -> list[str]:
        return ["starting", "cannot go on"][-lines:]

    # Router.

    def current(self, route: Route) -> str | None:
        return self.upstreams.get(route)

    def switch(self, route: Route, text: str) -> Switched:
        with self._call("switch", ProxyError):
            if self.proxy_refuses or (self.refuses_routes and self.refuses_routes in text and not self.signals.ignored):
                raise ProxyError("nginx -t: host not found in upstream")
            self.upstreams[route] = text
            self.done.append(f"route {route.upstream} {' '.join(self.named(route))}")
            return Switched((("proxy", (round(self.time * 1000),)),))

    def drained(self, switched: Switched) -> int:
        return sum(self.time < began / 1000 + self.connections_last for _id, (began,) in switched.workers)

    def named(self, route: Route) -> list[str]:
        """Which servers the upstream file names, in its order."""
        lines = self.upstreams.get(route, "").splitlines()
        return [line.split()[1].partition(":")[0] for line in lines if line.startswith("server ")]

    # Checker.

    def of_container(self, check: Check, container: observe.Container) -> Answer:
        machine = self._get(container.id)
        after = machine.script.answers_after
        passed = machine.status == "running" and after is not None and self.time - machine.started >= after
        return Answer(passed, "GET http://10.0.0.2/", "200" if passed else "503")

    def of_front_door(self, check: Check) -> Answer:
        passed = self.time >= self.front_door_opens
        return Answer(passed, "GET http://127.0.0.1/", "200" if passed else "502")

    # Compose.

    def create(self, service: str, counts: Mapping[str, int]) -> None:
        assert self.project is not None
        self.create_of(self.project, self.hashes, service, counts)

    def create_of(
        self, project: spec.Project, hashes: Mapping[str, str], service: str, counts: Mapping[str, int]
    ) -> None:
        with self._call("create", ComposeError):
            self.resources.update(f"{project.name}_{key}" for key in (*project.networks, *project.volumes))
            # Compose brings every service that it knows to its count, and what it is not told about to its replicas.
            for name in (*project.dependencies(service), service):
                wanted = counts.get(name, project.services[name].replicas)
                have = len(self.of(name))
                assert have <= wanted, f"Compose would remove {have - wanted} of {name}"
                for _new in range(wanted - have):
                    self._make(project.services[name], hashes, project.config)

    # How it works.

    def _make(self, service: spec.Service, hashes: Mapping[str, str], project: Mapping[str, Any]) -> None:
        self.born += 1
        number = max((machine.number for machine in self.of(service.name)), default=0) + 1
        scripts = self.scripts.get(service.name) or [GOOD_ONE_SHOT if service.one_shot else GOOD]
        made = self.made.get(service.name, 0)
        self.made[service.name] = made + 1
        machine = Machine(
            id=identity(self.born),
            name=service.container_name or f"shop-{service.name}-{number}",
            service=service.name,
            number=number,
            image=service.image,
            image_id=self.tags[service.image],
            config_hash=hashes[service.name],
            script=scripts[made % len(scripts)],
            healthcheck="healthcheck" in service.config,
            restart_policy=service.restart_policy,
            bound_to=frozenset(min(self.of(owner), key=lambda m: m.name).id for owner in service.bound_to),
            holds=frozenset(
                claim.thing
                for claim in exclusive.claims(service.config, frozenset(), project)
                if claim.thing[0] != "name"
            ),
        )
        if machine.name in {other.name for other in self.machines.values()}:
            raise ComposeError(f"the container name {machine.name} is already in use")
        self.machines[machine.id] = machine
        self.done.append(f"create {machine.name}")

    def _get(self, container_id: str) -> Machine:
        if container_id not in self.machines:
            raise EngineError(f"No such container: {container_id}")
        return self.machines[container_id]

    def _live_until(self, until: float) -> None:
        while True:
            due = [(*change, m) for m in self.machines.values() if (change := m.next_change()) and change[0] <= until]
            if not due:
                break
            self.time, what, machine = min(due, key=lambda item: item[0])
            machine.change(what, self.time)
            self._tell()
        self.time = until
        self._tell()

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher()

    @contextmanager
    def _call(self, what: str, error: type[Exception] = EngineError) -> Iterator[None]:
        self.calls += 1
        if self.outage and self.outage[0] <= self.time < self.outage[1]:
            raise EngineUnreachable(f"{what}: connection refused")
        fault = self.faults.get(self.calls)
        if fault == "kill":
            raise Killed
        if fault == "signal":
            self.signals.pending = True
        # A rollback that the engine does not serve is dirty, and rightly so: faults end where the way back begins.
        forward = not self.signals.ignored
        if fault == "refuse" and forward:
            raise error(f"{what}: refused")
        yield
        self._tell()
        if fault == "lose" and forward:
            raise error(f"{what}: timed out")


def identity(number: int) -> str:
    """The id of the container that was made as this one; ids differ in their first digits."""
    return f"{number:x}".zfill(12).ljust(64, "0")


def _hash(config: Mapping[str, Any]) -> str:
    """What Compose hashes: the configuration without what says how many there are and how they are replaced."""
    kept = {key: value for key, value in config.items() if key not in ("x-rollout", "deploy", "scale", "depends_on")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def plan_for(
    host: Host,
    definition: Mapping[str, Any],
    scripts: Mapping[str, Sequence[Script]],
    overrides: Overrides = _NOTHING_ASKED,
    **facts: Any,
) -> plan.Plan:
    """Tell the host what is wanted now, and plan the way there."""
    host.project = spec.parse(core_yaml.dump(dict(definition)), overrides)
    host.hashes = {name: _hash(service.config) for name, service in host.project.services.items()}
    host.scripts, host.made = scripts, {}
    for service in host.project.services.values():
        host.tags.setdefault(service.image, f"sha256:{service.image}")
    routes = {route for service in host.project.services.values() for route in service.policy.routes}
    return planner.make_plan(
        project=host.project,
        containers=[machine.seen() for machine in host.machines.values()],
        facts=plan.Facts(
            hashes=host.hashes,
            images={service.image: host.tags[service.image] for service in host.project.services.values()},
            committed={s.name: s.config for s in host.before.project.services.values()} if host.before else {},
            upstreams={route: host.upstreams.get(route) for route in routes},
            **facts,
        ),
        remove_orphans=True,
    )


def carry_out(host: Host, made: plan.Plan, extras: rollout.Extras = _NO_EXTRAS) -> outcome.Outcome:
    """One run of the real driver on the simulated host, by a process of its own."""
    host.signals = Signals()
    if host.before:
        hooks = {s.name: lifecycle.Hooks(s.post_start, s.pre_stop) for s in host.before.project.services.values()}
        needs = {s.name: frozenset(s.depends_on) for s in host.before.project.services.values()}
        policies = {s.name: s.policy for s in host.before.project.services.values()}
        extras = replace(extras, hooks_before=hooks, needs_before=needs, policies_before=policies)
    return rollout.Rollout(
        plan=made,
        host=rollout.Host(
            engine=host,
            compose=host,
            compose_before=host.before,
            clock=host,
            checker=host,
            router=host,
            interrupts=host.signals,
        ),
        extras=extras,
        redact=lambda text: text,
        commit=host.commit,
    ).run()


def roll_out(
    host: Host,
    definition: Mapping[str, Any],
    scripts: Mapping[str, Sequence[Script]] | None = None,
    extras: rollout.Extras = _NO_EXTRAS,
) -> outcome.Outcome:
    """Plan and carry out. `scripts` are the lives of the containers made in this run, in turn, by service."""
    return carry_out(host, plan_for(host, definition, scripts or {}), extras)
