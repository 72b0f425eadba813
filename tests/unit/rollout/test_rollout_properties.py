# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout promises whatever the project, the policy and the accident: old or new, never neither, never both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Overrides

from .machines import GOOD, GOOD_ONE_SHOT, Machine, Script
from .simulation import Host, Killed, carry_out, plan_for, roll_out

_SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow])

_BAD = st.sampled_from(
    [
        Script(crashes_after=0.3),
        Script(crashes_after=2.5, exit_code=137),
        Script(crashes_after=9.0),
        Script(healthy_after=None),
        Script(healthy_after=200.0),
        Script(starts=False),
        Script(answers_after=None),
        Script(fails_hook="prepare"),
    ]
)
_BAD_ONE_SHOT = st.sampled_from([Script(crashes_after=0.3), Script(healthy_after=None), Script(starts=False)])


@dataclass(frozen=True)
class Case:
    """Two versions of a project, and what the containers of the second one do in turn."""

    old: dict[str, Any]
    new: dict[str, Any]
    scripts: dict[str, list[Script]]


@st.composite
def _service(
    draw: st.DrawFn, name: str, needs: list[str], one_shots: set[str], sharable: bool, reactions: list[str]
) -> dict[str, Any]:
    needed = [need for need in needs if draw(st.booleans())]
    lasting = [need for need in needed if need not in one_shots]
    config: dict[str, Any] = {
        "image": "shop:1",
        "depends_on": {
            need: {"condition": "service_completed_successfully"}
            if need in one_shots
            else {"condition": "service_started", "restart": draw(st.booleans())}
            for need in needed
        },
        "restart": draw(st.sampled_from(["no", "always", "unless-stopped", "on-failure:3"])),
        "deploy": {
            "update_config": {
                "parallelism": draw(st.integers(0, 2)),
                "delay": draw(st.sampled_from(["0s", "3s"])),
                "monitor": draw(st.sampled_from(["0s", "4s"])),
                "failure_action": draw(st.sampled_from(reactions)),
                "max_failure_ratio": draw(st.sampled_from([0.0, 0.0, 0.4])) if len(reactions) > 1 else 0.0,
            },
            "rollback_config": {
                "parallelism": draw(st.integers(0, 2)),
                "delay": draw(st.sampled_from(["0s", "1s"])),
                "monitor": draw(st.sampled_from(["0s", "2s"])),
            },
        },
        "x-rollout": {"stable": draw(st.sampled_from([0, 2])), "timeout": draw(st.sampled_from([20, 90]))},
    }
    if draw(st.booleans()):
        config["healthcheck"] = {"test": ["CMD", "true"]}
    if draw(st.booleans()):
        config["post_start"] = [{"command": ["prepare"]}]
        config["pre_stop"] = [{"command": ["farewell"]}]
    if draw(st.booleans()):
        config["x-rollout"]["checks"] = [{"http": {"port": 80}}]
    if draw(st.booleans()):
        config["x-rollout"]["proxy"] = {"service": "edge", "upstream": name, "port": 80}
    special = draw(st.sampled_from(range(6)))
    if special == 0 and lasting:
        config["network_mode"] = f"service:{lasting[0]}"
        config["x-rollout"].pop("proxy", None)
        config["depends_on"][lasting[0]]["restart"] = True
    elif special == 1:
        config["container_name"] = f"the-{name}"
    elif special == 2:
        config["ports"] = [{"target": 80, "published": f"80{ord(name)}"}]
    if not sharable:
        config["volumes"] = [{"type": "volume", "source": f"{name}-data", "target": "/data"}]
    elif not {"network_mode", "container_name", "ports"} & config.keys() and draw(st.booleans()):
        config["deploy"]["update_config"]["order"] = draw(st.sampled_from(["start-first", "stop-first"]))
    return config


@st.composite
def _cases(
    draw: st.DrawFn,
    scripts_of: Callable[[bool], st.SearchStrategy[list[Script]]],
    reactions: tuple[str, ...] = ("rollback",),
) -> Case:
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    one_shots = {names[0]} if len(names) > 1 and draw(st.booleans()) else set()
    old, new, scripts = {}, {}, {}
    for index, name in enumerate(names):
        config = draw(_service(name, names[:index], one_shots, draw(st.booleans()), list(reactions)))
        if name in one_shots:
            config.update(restart="no", deploy={}, volumes=[])
            for key in ("healthcheck", "container_name", "ports", "post_start", "pre_stop"):
                config.pop(key, None)
            config["x-rollout"] = {"timeout": 20}
        elif index == 1 and one_shots:
            config["depends_on"][names[0]] = {"condition": "service_completed_successfully"}

        def version(of: str, is_one_shot: bool, config: dict[str, Any] = config) -> dict[str, Any]:
            most = 1 if "container_name" in config or "ports" in config else 3
            deploy = config["deploy"] if is_one_shot else {**config["deploy"], "replicas": draw(st.integers(0, most))}
            return {**config, "deploy": deploy, "environment": {"VERSION": of}}

        old[name] = version("1", name in one_shots)
        new[name] = version(draw(st.sampled_from(["1", "2", "2"])), name in one_shots)
        scripts[name] = draw(scripts_of(name in one_shots))
    last, fate = names[-1], draw(st.integers(0, 5))
    # What is one-shot is so by its dependants, so those stay in both.
    if len(names) > 1 and not one_shots and fate == 0:
        draw(st.sampled_from([old, new])).pop(last)
    elif fate < 3:
        # Called otherwise it is another service, which wants the data, the port and the name of the first, an orphan.
        new["z"], scripts["z"] = new.pop(last), [_crashes_early_if_at_all(script) for script in scripts[last]]
        for config in (old[last], new["z"]):
            config["deploy"]["replicas"] = max(config["deploy"]["replicas"], 1)
            config["x-rollout"]["stable"] = 2
    edge = {
        "image": "shop:1",
        "ports": [{"target": 80, "published": "80"}],
        "volumes": [{"type": "bind", "source": "/upstreams", "target": "/etc/nginx/upstreams", "read_only": True}],
    }
    for version in (old, new):
        for config in list(version.values()):
            owner = version.get(config.get("network_mode", "").partition(":")[2])
            if owner:
                # Compose creates nothing that is bound to a container that there is not.
                owner["deploy"]["replicas"] = max(owner["deploy"]["replicas"], 1)
        version["edge"] = {**edge, "environment": {"VERSION": draw(st.sampled_from(["1", "1", "2"]))}}
    scripts["edge"] = [GOOD]
    return Case({"name": "shop", "services": old}, {"name": "shop", "services": new}, scripts)


def _crashes_early_if_at_all(script: Script) -> Script:
    """What crashes while the orphan goes that it follows has been proven, and is for the run after that."""
    return script if script.crashes_after is None else replace(script, crashes_after=0.3)


def _only_good(one_shot: bool) -> st.SearchStrategy[list[Script]]:
    return st.just([GOOD_ONE_SHOT if one_shot else GOOD])


def _perhaps_bad(one_shot: bool) -> st.SearchStrategy[list[Script]]:
    bad, good = (_BAD_ONE_SHOT, GOOD_ONE_SHOT) if one_shot else (_BAD, GOOD)
    return st.lists(st.one_of(st.just(good), st.just(good), bad), min_size=1, max_size=3)


# The first call subscribes to the events: when that fails nothing has begun, and the error is the caller's.
_faults = st.dictionaries(st.integers(2, 90), st.sampled_from(["refuse", "lose", "signal"]), min_size=0, max_size=1)


class Snapshot:
    """What there was at one time, to compare with."""

    def __init__(self, host: Host) -> None:
        self.machines = set(host.machines)
        self.running = host.running()
        self.fixed = _made_again(host)
        self.tags = dict(host.tags)
        # Made again it is another container, of the same configuration.
        self.described = _described(host, self.fixed)
        self.upstreams = {route: host.named(route) for route in host.upstreams}
        self.names = {machine.id: machine.name for machine in host.machines.values() if machine.id not in self.fixed}

    def assert_same(self, host: Host) -> None:
        """All that was there is there again, and nothing else."""
        again = _made_again(host)
        assert _described(host, again) == self.described
        assert set(host.machines) - again == self.machines - self.fixed
        assert {i: p for i, p in host.running().items() if i not in again} == {
            i: p for i, p in self.running.items() if i not in self.fixed
        }
        assert {i: host.machines[i].name for i in self.names} == self.names
        assert host.tags == self.tags
        assert {route: host.named(route) for route in self.upstreams} == self.upstreams


def _made_again(host: Host) -> set[str]:
    """What has a fixed name, or is bound to such a one, cannot be kept while it is replaced: only made again."""
    named = {machine.id for machine in host.machines.values() if machine.name.startswith("the-")}
    while True:
        bound = {machine.id for machine in host.machines.values() if machine.bound_to & named}
        if bound <= named:
            return named
        named |= bound


def _described(host: Host, ids: set[str]) -> list[tuple[str, str, str]]:
    return sorted((m.service, m.config_hash, m.status) for m in host.machines.values() if m.id in ids)


def _settled(case: Case) -> Host:
    """A host on which the old version runs, rolled out by the same driver."""
    host = Host()
    outcome = roll_out(host, case.old)
    assert outcome.failure is None, outcome.message()
    _runs_exactly(host)
    return host


def _runs_exactly(host: Host) -> None:
    """Just what the project wants is there, and the plan from here is empty."""
    assert host.project is not None
    for service in host.project.services.values():
        machines = host.of(service.name)
        assert not service.container_name or {machine.name for machine in machines} <= {service.container_name}
        assert {machine.config_hash for machine in machines} <= {host.hashes[service.name]}
        if service.one_shot:
            assert [(machine.status, machine.exit_code) for machine in machines] == [("exited", 0)]
        else:
            assert [machine.status for machine in machines] == ["running"] * service.replicas
            assert {machine.restart_policy for machine in machines} <= {service.restart_policy}
            assert all(machine.serving_since is not None for machine in machines)
    assert {machine.service for machine in host.machines.values()} <= set(host.project.services)


def _crash_no_more(host: Host) -> None:
    """What has passed its gate and crashes during a later run that leaves it alone is for the run after that."""
    for machine in host.machines.values():
        machine.script = replace(machine.script, crashes_after=None)


def _plans_nothing(host: Host, definition: dict[str, Any]) -> None:
    made = plan_for(host, definition, {})
    assert [step.action for step in made.services] == ["none"] * len(made.services)
    assert not made.orphans


def _forbid_two_owners(host: Host) -> None:
    """From now on, no exclusive service may run two versions at once, and no volume may have two owners."""

    def watch() -> None:
        assert host.project is not None
        for service in host.project.services.values():
            if service.exclusive:
                owners = {m.config_hash for m in host.of(service.name) if m.status in ("running", "restarting")}
                assert len(owners) <= 1, f"two versions of {service.name} at once"
        writers: dict[tuple[str, ...], set[tuple[str, str]]] = {}
        for machine in host.machines.values():
            for thing in machine.holds if machine.status in ("running", "restarting") else ():
                if thing[0] == "volume":
                    writers.setdefault(thing, set()).add((machine.service, machine.config_hash))
        assert all(len(owners) <= 1 for owners in writers.values()), writers

    host.watchers.append(watch)


def _forbid_fewer(host: Host, case: Case) -> None:
    """From now on, start-first services may not serve by fewer proven containers than before (or than are wanted).

    Left out are the services whose new containers crash by themselves: nobody can promise anything for those.
    """
    assert host.project is not None
    before = {name: [m.id for m in host.of(name)] for name in host.project.services}

    def proven(machine: Machine) -> bool:
        assert host.project is not None
        if machine.serving_since is None or machine.status != "running":
            return False
        stable = host.project.services[machine.service].policy.stable
        return machine.id in before[machine.service] or host.time - machine.serving_since >= stable - 1e-6

    def watch() -> None:
        assert host.project is not None
        for service in host.project.services.values():
            crashes = any(script.crashes_after for script in case.scripts[service.name])
            bound = any(service.name in other.bound_to for other in host.project.services.values())
            restarts = service.restarts_with
            stops = service.exclusive or service.policy.order == "stop_first" or bound or restarts
            if service.one_shot or stops or crashes:
                continue
            least = min(len(before[service.name]), service.replicas)
            assert sum(map(proven, host.of(service.name))) >= least, f"too few of {service.name} serve"

    host.watchers.append(watch)


def _orphans_that_run(host: Host) -> dict[str, Machine]:
    """Those that no service of the project has, by their names."""
    assert host.project is not None
    running = (machine for machine in host.machines.values() if machine.status == "running")
    return {machine.name: machine for machine in running if machine.service not in host.project.services}


def _needed(machine: Machine) -> bool:
    """Whether it has what only one can have."""
    return bool(machine.holds) or machine.name.startswith("the-")


def _forbid_orphans_to_stop_without_need(host: Host) -> None:
    """From now on, until the commit, an orphan may stop only for what it has, or because of what it is bound to."""
    orphans = [orphan for orphan in _orphans_that_run(host).values() if not orphan.bound_to and not _needed(orphan)]
    host.done_at_commit = None

    def watch() -> None:
        if host.done_at_commit is None:
            assert all(orphan.status == "running" for orphan in orphans)

    host.watchers.append(watch)


def _the_orphans_serve(host: Host, orphans: dict[str, Machine]) -> None:
    """Each of them runs under its name, or a new one that runs has what only one of them can have."""
    for name, orphan in orphans.items():
        others = [m for m in host.machines.values() if m.status == "running" and m not in orphans.values()]
        replaced = any(machine.holds & orphan.holds or machine.name == name for machine in others)
        assert replaced or (orphan.status, orphan.name) == ("running", name), orphan


def _serves_in_full(host: Host) -> None:
    """Whatever of it is old or new: as many serve as are wanted, or were there."""
    assert host.project is not None
    for service in host.project.services.values():
        for machine in host.of(service.name):
            assert machine.status in ("running", "exited"), machine
            assert not machine.name.startswith("zz-") or machine.status == "exited"
        for route in service.policy.routes:
            # A container may still crash by itself after the commit, while what it replaced is removed. An orphan
            # serves on where a service with another name takes its place and was not reached.
            others = set(host.project.services) - {service.name}
            there = [m for m in host.machines.values() if m.status == "running" or m.script.crashes_after is not None]
            mine = {name for m in there if m.service not in others for name in (m.service, m.name)}
            assert set(host.named(route)) <= {service.name, *mine}


def _forbid_more(host: Host) -> None:
    """From now on no more containers of a service run than are wanted or were there, and one batch.

    On the way back the batch that failed runs beside one that comes back: nothing waits for it to stop.
    """
    assert host.project is not None
    before = {name: len(host.of(name)) for name in host.project.services}

    def watch() -> None:
        assert host.project is not None
        for service in host.project.services.values():
            policy, most = service.policy, max(before[service.name], service.replicas)
            batch = max(policy.parallelism, policy.canary) if policy.parallelism else service.replicas
            if host.signals.ignored or policy.failure_action != "rollback":
                batch += policy.back.parallelism or before[service.name]
            running = [m for m in host.of(service.name) if m.status == "running"]
            assert len(running) <= most + batch, f"too many of {service.name}"

    host.watchers.append(watch)


def _forbid_traffic_to_the_unproven(host: Host) -> None:
    """From now on no upstream file may name a new container before that is healthy, nor its service."""
    before = set(host.machines)

    def watch() -> None:
        assert host.project is not None
        for service in host.project.services.values():
            named = {name for route in service.policy.routes for name in host.named(route)}
            for machine in host.of(service.name):
                new = machine.id not in before and machine.config_hash == host.hashes[service.name]
                first = machine.status == "running" and not machine.restarts
                if new and first and machine.serving_since is None:
                    assert not named & {machine.name, service.name}, f"{machine.name} gets traffic"

    host.watchers.append(watch)


@_SETTINGS
@given(case=_cases(_perhaps_bad), faults=_faults)
def test_a_run_ends_with_exactly_the_new_or_exactly_the_old(case: Case, faults: dict[int, str]) -> None:
    host = _settled(case)
    before = Snapshot(host)
    made = plan_for(host, case.new, case.scripts)
    host.calls, host.faults = 0, faults
    outcome = carry_out(host, made)
    event(outcome.outcome)
    if outcome.failure is None:
        if not outcome.problems:
            _runs_exactly(host)
            _plans_nothing(host, case.new)
    else:
        assert outcome.outcome == "rolled_back", outcome.message()
        before.assert_same(host)


@_SETTINGS
@given(case=_cases(_perhaps_bad), faults=_faults)
def test_data_has_one_owner_and_start_first_never_serves_by_fewer(case: Case, faults: dict[int, str]) -> None:
    host = _settled(case)
    made = plan_for(host, case.new, case.scripts)
    _forbid_two_owners(host)
    _forbid_fewer(host, case)
    _forbid_orphans_to_stop_without_need(host)
    host.calls, host.faults = 0, faults
    event(carry_out(host, made).outcome)


_ANY_REACTION = ("rollback", "pause", "continue")


@_SETTINGS
@given(case=_cases(_perhaps_bad, _ANY_REACTION), canary=st.integers(0, 2))
def test_after_any_reaction_to_a_failure_the_next_good_run_reaches_the_new_version(case: Case, canary: int) -> None:
    host = _settled(case)
    before = Snapshot(host)
    made = plan_for(host, case.new, case.scripts, Overrides(canary=canary, canary_time=3.0))
    _forbid_two_owners(host)
    _forbid_fewer(host, case)
    _forbid_more(host)
    _forbid_traffic_to_the_unproven(host)
    orphans = _orphans_that_run(host)
    outcome = carry_out(host, made)
    event(outcome.outcome)
    if outcome.outcome == "rolled_back":
        before.assert_same(host)
    else:
        assert outcome.outcome in ("deployed", "unchanged", "paused", "partial"), outcome.message()
        _serves_in_full(host)
        if outcome.failure is not None:
            event(f"{len(orphans)} orphans")
            _the_orphans_serve(host, orphans)
    _crash_no_more(host)
    outcome = roll_out(host, case.new)
    assert outcome.failure is None, outcome.message()
    _runs_exactly(host)
    _plans_nothing(host, case.new)


@_SETTINGS
@given(case=_cases(_perhaps_bad, _ANY_REACTION), faults=_faults)
def test_after_any_failure_and_any_accident_the_old_version_can_be_reached(case: Case, faults: dict[int, str]) -> None:
    host = _settled(case)
    made = plan_for(host, case.new, case.scripts)
    _forbid_two_owners(host)
    _forbid_traffic_to_the_unproven(host)
    host.calls, host.faults = 0, faults
    event(carry_out(host, made).outcome)
    host.faults = {}
    outcome = roll_out(host, case.old)
    assert outcome.failure is None, outcome.message()
    _runs_exactly(host)
    _plans_nothing(host, case.old)


@_SETTINGS
@given(case=_cases(_only_good), call=st.integers(2, 60), forwards=st.booleans())
def test_after_a_killed_run_the_next_one_reaches_either_version(case: Case, call: int, forwards: bool) -> None:
    host = _settled(case)
    made = plan_for(host, case.new, case.scripts)
    _forbid_two_owners(host)
    host.calls, host.faults = 0, {call: "kill"}
    try:
        carry_out(host, made)
        event("ended before it was killed")
    except Killed:
        event("killed")
    host.faults = {}
    target = case.new if forwards else case.old
    outcome = roll_out(host, target)
    assert outcome.failure is None, outcome.message()
    _runs_exactly(host)
    _plans_nothing(host, target)
