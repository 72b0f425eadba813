# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`state: present` from module parameters to module result: join the parts, keep others out, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import contents, core_yaml, evidence, images, outcome, release, report, request, selection, target
from .clock import MonotonicClock
from .commands import Commands
from .compose_cli import ComposeCli
from .contents import Contents
from .engine import Engine
from .errors import ComposeError, EngineError, ImageError, Interrupted, PlanError, Problems, SpecError
from .interrupts import SignalInterrupts
from .nginx_router import NginxRouter
from .plan import Plan
from .survey import Survey

if TYPE_CHECKING:
    from .rollout import Rollout


def run(module: Any) -> None:
    """Carry the module out. Ends in exit_json or fail_json."""
    if not core_yaml.available():
        _fail_without(module, "PyYAML", "python3-yaml")
    interrupts = SignalInterrupts()
    try:
        with ThreadPoolExecutor(max_workers=1) as background:
            result = _Present(module, interrupts, background.submit(_connect)).run()
    except ImportError as error:
        _fail_without(module, f"docker ({error})", "python3-docker")
    except (SpecError, PlanError, ComposeError, EngineError, Interrupted, OSError) as error:
        module.fail_json(msg=f"{error}. No container was changed.")
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def _fail_without(module: Any, library: str, package: str) -> None:
    module.fail_json(
        msg=f"the Python library {library} is missing on this host (package {package} on Debian and Ubuntu)"
    )


def _connect() -> Engine:
    """Connect to the engine. Loading the SDK takes longer than Compose needs to say what the project is."""
    from .docker_engine import DockerEngine  # noqa: PLC0415  in the background, while Compose is at work

    return DockerEngine()


class _Present:
    def __init__(self, module: Any, interrupts: SignalInterrupts, connecting: Future[Engine]) -> None:
        self._module = module
        self._connecting = connecting
        self._interrupts = interrupts
        self._clock = MonotonicClock()
        self._commands = Commands()
        # All that is wrong before anything is changed, so that it is told at once.
        self._problems = Problems()
        self._asked = request.read(module.params, module.check_mode, self._problems)

    def run(self) -> dict[str, Any]:
        """Plan, and unless in check mode, carry it out."""
        draft = self._draft()
        compose = self._compose((draft,) if draft else self._asked.files)
        wanted = target.read(self._asked, compose, self._problems)
        store = release.Store(str(Path(self._asked.state_dir) / wanted.project.name))
        engine = self._connecting.result()
        if self._asked.check_mode or self._problems:
            return self._planned(self._survey(wanted, compose, engine, store), store)
        with store.lock(self._asked.lock_timeout, self._clock) as lock:
            # Compose keeps it: should this process be killed, the project stays locked until Compose is done.
            self._commands.inherited = lock
            if self._asked.definition is not None:
                compose = self._compose((store.stage(self._asked.definition),))
            result = self._rolled_out(self._survey(wanted, compose, engine, store), store)
            if self._asked.definition is not None and not result.get("failed"):
                store.forget_releases_but(compose.files[0])
            return result

    def _planned(self, survey: Survey, store: release.Store) -> dict[str, Any]:
        """Say what would be done."""
        # Who gives a definition writes the files, too, by tasks that have written nothing in check mode.
        awaited = self._asked.check_mode and self._asked.definition is not None
        found = survey.contents(store.key(), self._problems, awaited=awaited)
        present = survey.images()
        coming = images.needs(survey.target.services, self._asked.pull, self._asked.build, present)
        made = survey.plan(found, self._problems, coming)
        self._warn(*found.unread, *made.warnings, *images.uncertain(survey.target.services, coming, present))
        result = self._told(made, survey)
        result["changed"] = made.changes or self._install_is_due()
        result["services"] = [outcome.describe(step) for step in made.services]
        return result

    def _rolled_out(self, survey: Survey, store: release.Store) -> dict[str, Any]:
        began = self._clock.now()
        found = survey.contents(store.make_key(), self._problems)
        self._problems.settle(SpecError)
        brought = images.Images(survey.engine, survey.compose, survey.target.services)
        coming = images.needs(survey.target.services, self._asked.pull, self._asked.build, brought.present)
        with brought.put_back_on_failure(self._module.warn):
            if coming:
                # What is refused anyway is refused before anything is fetched.
                first = survey.plan(found, self._problems, coming)
                try:
                    brought.bring(coming)
                except ImageError as error:
                    self._warn(*brought.put_back())
                    return self._without_image(error, first, found, survey, began)
            made = survey.plan(found, self._problems)
            self._warn(*found.unread, *made.warnings)
            # Told before the commit, after which nothing differs.
            result = self._told(made, survey)
            result["changed"] = made.changes or brought.changed or self._install_is_due()
            commit = self._commit(found, survey, store)
            # Until the process ends: what is proven is also recorded and installed.
            self._interrupts.defer()
            if made.at_rest and not self._asked.final_checks:
                planned = self._clock.now()
                commit({}, frozenset())
                return {**result, **self._ended(outcome.unchanged(made, self._clock.now() - planned))}
            run = self._run_of(made, found, survey, commit)
        ended = run.run()
        if ended.outcome in ("rolled_back", "dirty"):
            self._warn(*brought.put_back())
        return {**result, **self._ended(ended)}

    def _commit(self, found: Contents, survey: Survey, store: release.Store) -> release.Commit:
        before = survey.committed

        def commit(timings: Mapping[str, release.Timing], incomplete: frozenset[str]) -> None:
            proven = survey.target.selected - incomplete
            config = survey.target.config
            if proven != set(survey.target.project.services):
                config = selection.in_force(config, before.config, proven)
            # Put in place last, but written first: a commit that fails leaves the record of before, which leads back.
            with self._installing():
                store.commit(config, contents.of_release(before.contents, found, proven), timings)

        return commit

    def _run_of(self, made: Plan, found: Contents, survey: Survey, commit: release.Commit) -> Rollout:
        # Half of the code. A run that finds nothing to do is quicker without.
        from . import assembly, redaction, rollout  # noqa: PLC0415

        return rollout.Rollout(
            plan=made,
            host=assembly.host(survey, self._clock, self._interrupts),
            extras=assembly.extras(made.project, found, survey.committed, self._asked),
            redact=redaction.redactor(made.project, found.values, self._module.warn),
            commit=commit,
        )

    def _without_image(
        self, error: ImageError, made: Plan, found: Contents, survey: Survey, began: float
    ) -> dict[str, Any]:
        """Say that an image cannot be had, and what serves without it."""
        from . import redaction  # noqa: PLC0415  as in _run_of

        # What a build says holds its arguments.
        words = redaction.redactor(made.project, found.values, self._module.warn)(str(error))
        present = survey.engine.containers(made.project.name)
        return {
            **self._told(made, survey),
            **self._ended(
                outcome.Outcome(
                    outcome="rolled_back",
                    services=tuple(outcome.describe(step) for step in made.services),
                    seconds=self._clock.now() - began,
                    failure=evidence.Failure(error.service, "", error.reason, words),
                    serving=tuple(sorted(c.name for c in present if c.serving and c.service == error.service)),
                    acted=False,
                )
            ),
            "changed": False,
        }

    def _ended(self, ended: outcome.Outcome) -> dict[str, Any]:
        result: dict[str, Any] = {"outcome": ended.outcome, "seconds": round(ended.seconds, 2)}
        result["services"] = list(ended.services)
        self._warn(*ended.problems, *ended.notes)
        if ended.failure:
            result.update(failed=True, msg=ended.message(), failure=asdict(ended.failure))
            result.update(serving=list(ended.serving), problems=list(ended.problems))
        return result

    def _told(self, made: Plan, survey: Survey) -> dict[str, Any]:
        result: dict[str, Any] = {"plan": report.lines(made, survey.committed.timings)}
        if self._module._diff:
            result["diff"] = [
                {"prepared": report.text(made, survey.committed.timings)},
                report.diff(made, survey.committed.services),
            ]
        return result

    def _warn(self, *warnings: str) -> None:
        for warning in warnings:
            self._module.warn(warning)

    def _survey(self, wanted: target.Target, compose: ComposeCli, engine: Engine, store: release.Store) -> Survey:
        committed = store.committed()
        return Survey(
            target=wanted,
            project_src=self._asked.project_src,
            remove_orphans=self._asked.remove_orphans,
            committed=committed,
            engine=engine,
            compose=compose,
            compose_before=self._compose((committed.path,)) if committed.path else None,
            router=NginxRouter(engine, wanted.project, self._clock),
        )

    def _compose(self, files: tuple[str, ...]) -> ComposeCli:
        return ComposeCli(
            run=self._commands.run,
            docker=self._asked.docker_cli or self._module.get_bin_path("docker", required=True),
            project_src=self._asked.project_src,
            project_name=self._asked.project_name,
            files=files,
            env_files=self._asked.env_files,
            profiles=self._asked.profiles,
            scratch=self._module.tmpdir,
        )

    def _draft(self) -> str | None:
        """Write the definition where nobody else reads it, and where it is gone with this run."""
        if self._asked.definition is None:
            return None
        path = Path(self._module.tmpdir) / "compose.yaml"
        release.write_atomically(path, self._asked.definition, 0o600)
        return str(path)

    @contextmanager
    def _installing(self) -> Iterator[None]:
        if self._asked.definition is None or not self._install_is_due():
            yield
            return
        with release.staged(self._asked.installed, self._asked.definition, 0o640):
            yield

    def _install_is_due(self) -> bool:
        if self._asked.definition is None:
            return False
        try:
            return self._asked.installed.read_text("utf-8") != self._asked.definition
        except FileNotFoundError:
            return True
