# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry a plan out: service by service to what is wanted and then commit; or everything back.

Every effect on a container is entered in its service's record as it happens, so that the way back knows exactly what
to undo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import evidence, resources, slots
from .checks import Check, Checker
from .clock import Clock
from .compose_cli import Compose
from .creator import Creator
from .engine import Engine
from .errors import ComposeError, EngineError, Interrupted, ProxyError
from .evidence import Halt
from .interrupts import Interrupts
from .lifecycle import Hooks, Lifecycle
from .orphans import Orphans
from .outcome import Outcome, told
from .plan import Plan, ServicePlan
from .policy import Policy
from .prover import Prover
from .proxy import Router
from .record import Record
from .release import Commit, Timing
from .routing import Routing
from .updater import Pause, Updater
from .way_back import WayBack, unit_of


@dataclass(frozen=True)
class Host:
    """What a run acts on and by, each behind its Protocol. `compose_before` works on the committed configuration."""

    engine: Engine
    compose: Compose
    compose_before: Compose | None
    clock: Clock
    checker: Checker
    router: Router
    interrupts: Interrupts


@dataclass(frozen=True)
class Extras:
    """What a run needs to know beside the plan, by service: see Lifecycle, Creator and Orphans."""

    hooks_before: Mapping[str, Hooks] = field(default_factory=dict)
    needs_before: Mapping[str, frozenset[str]] = field(default_factory=dict)
    policies_before: Mapping[str, Policy] = field(default_factory=dict)
    archives: Mapping[str, bytes] = field(default_factory=dict)
    archives_before: Mapping[str, bytes] = field(default_factory=dict)
    final_checks: tuple[Check, ...] = ()
    log_lines: int = 50


@dataclass
class Rollout:
    """One run of one plan."""

    plan: Plan
    host: Host
    extras: Extras
    redact: evidence.Redact
    commit: Commit

    def __post_init__(self) -> None:
        host, plan = self.host, self.plan
        self._records = {
            step.service.name: Record(step, host.clock.now()) for step in plan.services if step.action != "none"
        }
        self._at_work: Record | None = None
        self._lifecycle = Lifecycle(
            engine=host.engine,
            redact=self.redact,
            hooks={s.name: Hooks(s.post_start, s.pre_stop) for s in plan.project.services.values()},
            hooks_before=self.extras.hooks_before,
            policies={
                **self.extras.policies_before,
                **{s.name: s.policy for s in plan.project.services.values()},
            },
        )
        self._creator = Creator(
            plan=plan,
            engine=host.engine,
            compose=host.compose,
            compose_before=host.compose_before,
            lifecycle=self._lifecycle,
            archives=self.extras.archives,
            archives_before=self.extras.archives_before,
            needs_before=self.extras.needs_before,
        )
        self._routing = Routing(host.router, host.clock)
        self._prover: Prover
        self._orphans: Orphans

    def run(self) -> Outcome:
        """Roll out. Gives the outcome; a failure is in it, not raised."""
        clock = self.host.clock
        began = clock.now()
        with self.host.engine.watch(self.plan.project.name) as watch:
            # What is missing now is this run's own when it is there later.
            new_resources = resources.missing(self.plan, self.host.engine)
            self._prover = Prover(
                engine=self.host.engine,
                clock=clock,
                watch=watch,
                checker=self.host.checker,
                lifecycle=self._lifecycle,
                interrupts=self.host.interrupts,
                redact=self.redact,
                log_lines=self.extras.log_lines,
            )
            self._orphans = Orphans(
                plan=self.plan,
                engine=self.host.engine,
                lifecycle=self._lifecycle,
                prover=self._prover,
                interrupts=self.host.interrupts,
                redact=self.redact,
                policies_before=self.extras.policies_before,
            )
            failure, paused = self._go_forward()
            if failure is not None and paused:
                told = self._settle_what_was_done()
                return self._ended("paused", began, failure, self._serving_of(failure, told), tuple(told))
            if failure is not None:
                return self._roll_back(failure, began, new_resources)
        # Committed: the new ones serve, and nothing leads back. What fails now is left to the next run.
        problems = list(self._remove_replaced())
        failures = [record.failures[0] for record in self._records.values() if record.failed]
        if failures:
            serving = self._serving_of(failures[0], problems)
            return self._ended("partial", began, failures[0], serving, tuple(problems))
        return self._ended("deployed" if self.plan.changes else "unchanged", began, None, (), tuple(problems))

    def _go_forward(self) -> tuple[evidence.Failure | None, bool]:
        """Give the failure, if any, and whether the run is to be left as it is then."""
        try:
            for record in self._records.values():
                if not record.undone:
                    self._at_work = record
                    self._carry_out(record)
            self._prove_the_whole()
            self._settle_routes()
            self._commit()
        except Pause as pause:
            return pause.failure, True
        except Halt as halt:
            return halt.failure, False
        except Interrupted as signal:
            return evidence.Failure("", "", "interrupted", str(signal)), False
        except (EngineError, ComposeError) as error:
            service = self._at_work.step.service.name if self._at_work else ""
            reason = "proxy" if isinstance(error, ProxyError) else "create"
            return evidence.Failure(service, "", reason, self.redact(str(error))), False
        return None, False

    def _carry_out(self, record: Record) -> None:
        record.began = self.host.clock.now()
        updater = Updater(
            plan=self.plan,
            engine=self.host.engine,
            clock=self.host.clock,
            interrupts=self.host.interrupts,
            lifecycle=self._lifecycle,
            creator=self._creator,
            prover=self._prover,
            routing=self._routing,
            orphans=self._orphans,
            records=self._records,
        )
        try:
            updater.carry_out(record)
            if record.failures:
                self._let_orphans_back(record, record.failures[0])
        except Pause as pause:
            self._let_orphans_back(record, pause.failure)
            raise
        except Halt as halt:
            action = record.step.service.policy.failure_action
            if action == "rollback" or record.step.service.one_shot or slots.are_independent(record.step):
                raise
            # All of its containers share what only one version can have: they are one slot.
            way_back = self._way_back()
            self._lifecycle.forgiving = True
            unit = unit_of(record, self._records)
            way_back.undo(unit)
            problems = way_back.restart_bound(unit)
            self._lifecycle.forgiving = False
            if problems:
                raise EngineError("; ".join(problems)) from halt
            for each in unit:
                each.kept.extend(way_back.remaining(each))
                each.created_names.clear()
                each.undone = True
                if each is not record:
                    name, cause = each.step.service.name, record.step.service.name
                    each.notes.append(f"{name} stays as it was: it is undone together with {cause}, which failed")
            self._let_orphans_back(record, halt.failure)
            if action == "pause":
                raise Pause(halt.failure) from halt
            record.failures.append(halt.failure)
            record.failed = True
        finally:
            record.seconds = self.host.clock.now() - record.began

    def _prove_the_whole(self) -> None:
        """One that passed may have died while others were proven, and after the commit nothing leads back."""
        for record in self._records.values():
            if not record.step.service.one_shot:
                stayed = (c.id for c in (*record.step.watch, *record.step.restart, *record.kept) if c.serving)
                self._prover.prove(record.step, [*record.created, *stayed], 0.0)
        self._prover.front_door(self.extras.final_checks)

    def _settle_routes(self) -> None:
        for record in self._records.values():
            self._at_work = record
            self._routing.serve(record, settled=True)

    def _settle_what_was_done(self) -> list[str]:
        """For a run that ends before its end; gives what could not be done."""
        problems = []
        for record in self._records.values():
            try:
                self._routing.serve(record, settled=True)
            except EngineError as error:
                problems.append(f"{record.step.service.name}: {self.redact(str(error))}")
            if record is self._at_work:
                break
        return problems

    def _commit(self) -> None:
        timings = {
            name: Timing(record.seconds, record.down)
            for name, record in self._records.items()
            if (record.step.replaces or record.step.restart) and not record.undone
        }
        incomplete = frozenset(name for name, record in self._records.items() if record.kept or record.undone)
        try:
            self.commit(timings, incomplete)
        except OSError as error:
            detail = f"what is proven cannot be recorded on this host: {error}"
            raise Halt(evidence.Failure("", "", "commit", detail)) from error

    def _remove_replaced(self) -> tuple[str, ...]:
        problems = []
        kept = {container.id for record in self._records.values() for container in record.kept}
        # Where something new is missing the orphans still have work to do, and one that serves may need the others.
        orphans_go = not self._orphans.came_back and not any(record.failed for record in self._records.values())
        for orphan in self.plan.orphans if orphans_go else ():
            try:
                if orphan.running and orphan not in self._orphans.stopped:
                    self._lifecycle.stop(orphan)
            except (EngineError, Halt) as error:
                problems.append(f"{orphan.name} could not be stopped: {error}; the next run tries again")
            else:
                problems += self._remove(orphan.id, orphan.name)
        for record in self._records.values():
            for container in record.step.retire:
                if container.id not in kept:
                    problems += self._remove(container.id, container.name)
        return tuple(problems)

    def _remove(self, container_id: str, name: str) -> list[str]:
        try:
            self.host.engine.remove(container_id)
        except EngineError as error:
            return [f"{name} could not be removed: {error}; the next run tries again"]
        return []

    def _roll_back(self, failure: evidence.Failure, began: float, new: tuple[resources.Resource, ...]) -> Outcome:
        self.host.interrupts.ignore()
        self._lifecycle.forgiving = True
        touched = [record for record in self._records.values() if record.touched]
        acted = bool(touched or self._orphans.away)
        last = self._at_work
        if last is not None and last not in touched:
            # Compose may have made containers and failed to say so.
            touched = [r for r in self._records.values() if r.touched or r is last]
        problems = self._way_back().undo_all(touched, last)
        problems += self._orphans.come_back(every=True)[1]
        resources.remove(new, self.host.engine)
        serving = self._serving_of(failure, problems)
        outcome = "dirty" if problems or self._lifecycle.problems else "rolled_back"
        return self._ended(outcome, began, failure, serving, tuple(problems), acted)

    def _let_orphans_back(self, record: Record, failure: evidence.Failure) -> None:
        """Let the orphans serve again in whose place nothing is now, for a run that goes on or stands still.

        Where one does not come back the whole run is a failure, and everything goes back.
        """
        back, problems = self._orphans.come_back()
        if problems:
            raise Halt(failure)
        for orphan in back:
            serves = "serves again" if orphan.running else "has its name again"
            record.notes.append(f"{orphan.name}, an orphan, {serves}: what it made way for failed")

    def _way_back(self) -> WayBack:
        return WayBack(
            plan=self.plan,
            engine=self.host.engine,
            clock=self.host.clock,
            lifecycle=self._lifecycle,
            creator=self._creator,
            prover=self._prover,
            routing=self._routing,
            redact=self.redact,
            records=self._records,
        )

    def _serving_of(self, failure: evidence.Failure, problems: list[str]) -> tuple[str, ...]:
        """Name what serves in place of what failed; of the whole project where it has nothing that could."""
        try:
            present = self.host.engine.containers(self.plan.project.name)
        except EngineError as error:
            problems.append(f"what serves now is not known: {error}")
            return ()
        serving = sorted((c for c in present if c.serving), key=lambda container: container.name)
        its_own = tuple(container.name for container in serving if container.service == failure.service)
        return its_own or tuple(container.name for container in serving)

    def _ended(
        self,
        outcome: str,
        began: float,
        failure: evidence.Failure | None,
        serving: tuple[str, ...],
        problems: tuple[str, ...] = (),
        acted: bool = True,
    ) -> Outcome:
        records = self._records.values()
        tolerated = (
            f"{each.sentence()}. {'The old container stays' if record.kept else 'There are fewer containers now'}, as "
            "max_failure_ratio allows; the next run tries again"
            for record in records
            if not record.failed
            for each in record.failures
            if outcome in ("deployed", "partial")
        )
        return Outcome(
            outcome=outcome,
            services=tuple(self._told(step) for step in self.plan.services),
            seconds=self.host.clock.now() - began,
            failure=failure,
            serving=serving,
            problems=(*problems, *self._lifecycle.problems),
            notes=(*tolerated, *(note for record in records for note in record.notes), *self._lifecycle.notes),
            acted=acted,
        )

    def _told(self, step: ServicePlan) -> dict[str, Any]:
        record = self._records.get(step.service.name)
        if record is None:
            return told(step)
        return told(step, record.created_names.values(), record.seconds, record.down)
