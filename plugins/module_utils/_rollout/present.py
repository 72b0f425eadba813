# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`state: present` from module parameters to module result: join the parts, keep others out, report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import (
    compose_cli,
    contents,
    core_yaml,
    evidence,
    hook_spec,
    inline_files,
    lifecycle,
    mounted_files,
    nginx_router,
    outcome,
    plan,
    planner,
    policy,
    probe,
    release,
    report,
    resources,
    rollout,
    spec,
)
from .clock import MonotonicClock
from .engine import Engine
from .errors import ComposeError, EngineError, Interrupted, PlanError, Problems, SpecError
from .interrupts import SignalInterrupts


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


def _hooks(services: Mapping[str, Any]) -> dict[str, lifecycle.Hooks]:
    """Read the hooks of a committed configuration: they were read without a problem when it was rolled out."""
    ignored = Problems()
    return {
        name: lifecycle.Hooks(
            hook_spec.hooks(config, "post_start", name, ignored), hook_spec.hooks(config, "pre_stop", name, ignored)
        )
        for name, config in services.items()
    }


class _Present:
    def __init__(self, module: Any, interrupts: SignalInterrupts, connecting: Future[Engine]) -> None:
        self._module = module
        self._connecting = connecting
        self._interrupts = interrupts
        self._params = module.params
        self._clock = MonotonicClock()
        self._lock: int | None = None
        self._overrides = self._read_overrides()
        source = self._params["project_src"]
        if not Path(source).is_dir() and not (module.check_mode and self._params["definition"]):
            raise SpecError(f"project_src: {source} is no directory on this host")

    def run(self) -> dict[str, Any]:
        """Plan, and unless in check mode, carry it out."""
        definition = self._definition()
        draft = self._scratch_file(definition)
        files = (draft,) if draft else tuple(self._absolute(self._params["files"]))
        compose = self._compose(files)
        config = self._config(compose)
        project = spec.parse(config, self._overrides)
        hashes = compose.hashes(config)
        store = release.Store(str(Path(self._params["state_dir"]) / project.name))
        docker_engine = self._connecting.result()
        if self._module.check_mode:
            found = self._contents(compose, project, store, store.key())
            made = self._plan(compose, docker_engine, project, hashes, store, found)
            return self._planned(made, store, definition)
        with store.lock(self._params["lock_timeout"], self._clock) as self._lock:
            if definition is not None:
                compose = self._compose((store.stage(definition),))
            found = self._contents(compose, project, store, store.make_key())
            pulled = self._pull(compose, project, docker_engine)
            made = self._plan(compose, docker_engine, project, hashes, store, found)
            due = self._install_is_due(definition)

            def commit(timings: Mapping[str, release.Timing], incomplete: frozenset[str]) -> None:
                proven = set(project.services) - incomplete
                store.commit(config, contents.of_release(store.committed().contents, found, proven), timings)
                # Last: what was not installed needs no way back.
                if definition is not None and due:
                    release.write_atomically(self._installed, definition, 0o640)

            # Told before the commit, after which nothing differs.
            result = self._result(made, store)
            mounted = mounted_files.of_project(project)
            archives = {name: inline_files.archive_for(each, found.values) for name, each in mounted.items()}
            run = rollout.Rollout(
                plan=made,
                host=rollout.Host(
                    engine=docker_engine,
                    compose=compose,
                    compose_before=self._compose_before(store),
                    clock=self._clock,
                    checker=probe.HostChecker(docker_engine),
                    router=nginx_router.NginxRouter(docker_engine, project, self._clock),
                    interrupts=self._interrupts,
                ),
                extras=rollout.Extras(
                    hooks_before=_hooks(store.committed().services),
                    archives={name: archive for name, archive in archives.items() if archive is not None},
                    log_lines=self._params["log_lines"],
                ),
                redact=evidence.redactor(self._secrets(project, found.values)),
                commit=commit,
            )
            result.update(self._carry_out(run))
            result["changed"] = made.changes or pulled or due
            if definition is not None and not result.get("failed"):
                store.forget_releases_but(compose.files[0])
            return result

    def _config(self, compose: compose_cli.ComposeCli) -> str:
        try:
            return compose.config()
        except ComposeError:
            # Where Compose is missing or too old, this says it better.
            compose.version()
            raise

    def _planned(self, made: plan.Plan, store: release.Store, definition: str | None) -> dict[str, Any]:
        result = self._result(made, store)
        result["changed"] = made.changes or self._install_is_due(definition)
        result["services"] = [outcome.describe(step) for step in made.services]
        return result

    def _contents(
        self, compose: compose_cli.ComposeCli, project: spec.Project, store: release.Store, key: bytes | None
    ) -> contents.Contents:
        """Read the files that containers have mounted; SpecError where one is missing."""
        files = mounted_files.of_project(project)
        values = compose.variables(mounted_files.variables(files))
        recorded = store.committed().contents
        found = contents.read(files, self._params["project_src"], values, key, recorded, time.time_ns())
        for problem in found.unread:
            self._module.warn(problem)
        return found

    def _carry_out(self, run: rollout.Rollout) -> dict[str, Any]:
        # Until the process ends: what is proven is also recorded and installed.
        self._interrupts.defer()
        ended = run.run()
        result: dict[str, Any] = {"outcome": ended.outcome, "seconds": round(ended.seconds, 2)}
        result["services"] = list(ended.services)
        for told in (*ended.problems, *ended.notes):
            self._module.warn(told)
        if ended.failure:
            result.update(failed=True, msg=ended.message(), failure=asdict(ended.failure))
            result.update(serving=list(ended.serving), problems=list(ended.problems))
        return result

    def _plan(
        self,
        compose: compose_cli.ComposeCli,
        docker_engine: Engine,
        project: spec.Project,
        hashes: Mapping[str, str],
        store: release.Store,
        found: contents.Contents,
    ) -> plan.Plan:
        conflicts = resources.conflicts(project, docker_engine.network, docker_engine.volume)
        if conflicts:
            raise PlanError("; ".join(conflicts))
        containers = docker_engine.containers(project.name)
        if any(container.service not in project.services for container in containers):
            # Services of profiles that are not active are no orphans; Compose leaves their containers alone, too.
            inactive = compose.declared_services() - set(project.services)
            containers = [container for container in containers if container.service not in inactive]
        router = nginx_router.NginxRouter(docker_engine, project, self._clock)
        committed = store.committed()
        routes = {route: service for service in project.services.values() for route in service.policy.routes}
        made = planner.make_plan(
            project=project,
            containers=containers,
            facts=plan.Facts(
                hashes=hashes,
                images={service.image: docker_engine.image_id(service.image) for service in project.services.values()},
                committed=committed.services,
                committed_hashes=self._committed_hashes(project, store),
                changed_files=contents.changed(committed.contents, found),
                upstreams={route: router.current(route) for route in routes},
            ),
            remove_orphans=self._params["remove_orphans"],
        )
        self._examine_routes(made, router)
        missing = sorted({step.service.image for step in made.services if step.create and step.image_id is None})
        if missing and (self._params["pull"] == "never" or not self._module.check_mode):
            raise PlanError(f"image {', '.join(missing)} is not on this host, and was not to be pulled")
        if made.changes:
            # What has nothing to do need not wait for this.
            compose.version()
        for warning in made.warnings:
            self._module.warn(warning)
        return made

    def _examine_routes(self, made: plan.Plan, router: nginx_router.NginxRouter) -> None:
        problems: list[str] = []
        for step in made.services if made.changes else ():
            for route in step.service.policy.routes if step.action not in ("none", "wait") else ():
                found = router.examine(step.service, route)
                problems += found.problems
                for warning in found.warnings:
                    self._module.warn(warning)
        if problems:
            raise PlanError("; ".join(problems))

    def _compose_before(self, store: release.Store) -> compose_cli.ComposeCli | None:
        path = store.committed().path
        return self._compose((path,)) if path else None

    def _committed_hashes(self, project: spec.Project, store: release.Store) -> Mapping[str, str]:
        """Give the hashes of what was committed, where something would have to be made again from it."""
        before = self._compose_before(store)
        if before is None or not any(service.container_name for service in project.services.values()):
            return {}
        return before.hashes(Path(store.committed().path).read_text("utf-8"))

    def _pull(self, compose: compose_cli.ComposeCli, project: spec.Project, docker_engine: Engine) -> bool:
        """Pull what the policy says; gives whether an image came or changed."""
        wanted = []
        before = {}
        for service in project.services.values():
            how = self._params["pull"] if self._params["pull"] != "policy" else service.pull_policy
            before[service.image] = docker_engine.image_id(service.image)
            if how == "always" or (how != "never" and before[service.image] is None):
                wanted.append(service.name)
        if wanted:
            try:
                compose.pull(wanted)
            except ComposeError as error:
                # A registry that cannot be reached is all that Compose's own words may name.
                images = sorted({project.services[name].image for name in wanted})
                raise ComposeError(f"{', '.join(images)} cannot be pulled: {error}") from error
        return any(docker_engine.image_id(image) != image_id for image, image_id in before.items())

    def _result(self, made: plan.Plan, store: release.Store) -> dict[str, Any]:
        result: dict[str, Any] = {"plan": report.lines(made)}
        if self._module._diff:
            result["diff"] = [{"prepared": report.text(made)}, report.diff(made, store.committed().services)]
        return result

    def _compose(self, files: tuple[str, ...]) -> compose_cli.ComposeCli:
        return compose_cli.ComposeCli(
            run=self._run_command,
            docker=self._params["docker_cli"] or self._module.get_bin_path("docker", required=True),
            project_src=self._params["project_src"],
            project_name=self._params["project_name"] or "",
            files=files,
            env_files=tuple(self._absolute(self._params["env_files"])),
            profiles=tuple(self._params["profiles"] or ()),
            scratch=self._module.tmpdir,
        )

    def _run_command(self, argv: list[str]) -> tuple[int, str, str]:
        # Compose inherits the lock: should this process be killed, the project stays locked until Compose is done.
        inherited = () if self._lock is None else (self._lock,)
        # Paths are what they are: a dollar sign in one is no variable.
        try:
            rc, out, err = self._module.run_command(
                argv, pass_fds=inherited, expand_user_and_vars=False, handle_exceptions=False
            )
        except OSError as error:
            raise ComposeError(f"{argv[0]} cannot be run: {error}") from error
        return rc, out, err

    def _absolute(self, paths: list[str] | None) -> list[str]:
        return [str(Path(self._params["project_src"]) / path) for path in paths or ()]

    def _read_overrides(self) -> policy.Overrides:
        names = ("order", "parallelism", "timeout", "stable")
        for name in names[1:]:
            if self._params[name] is not None and self._params[name] < 0:
                raise SpecError(f"{name}: {self._params[name]} is negative; allowed: 0 or more")
        return policy.Overrides(**{name: self._params[name] for name in names})

    def _definition(self) -> str | None:
        definition = self._params["definition"]
        if definition is None or isinstance(definition, str):
            return definition
        if not isinstance(definition, dict):
            raise SpecError("definition: must be a dictionary, or the text of a Compose file")
        return core_yaml.dump(definition)

    def _scratch_file(self, definition: str | None) -> str | None:
        if definition is None:
            return None
        path = Path(self._module.tmpdir) / "compose.yaml"
        release.write_atomically(path, definition, 0o600)
        return str(path)

    def _install_is_due(self, definition: str | None) -> bool:
        if definition is None:
            return False
        try:
            return self._installed.read_text("utf-8") != definition
        except FileNotFoundError:
            return True

    @property
    def _installed(self) -> Path:
        return Path(self._params["project_src"]) / "compose.yaml"

    def _secrets(self, project: spec.Project, delivered: Mapping[str, str]) -> list[str]:
        """Give every value that must not be seen in evidence: secrets' contents, secret-named variables."""
        values = inline_files.secret_values(mounted_files.of_project(project), delivered)
        for path in project.secret_files:
            try:
                values.append(Path(path).read_text("utf-8", errors="replace"))
            except OSError as error:
                self._module.warn(f"secret file {path} cannot be read, so it is not taken out of logs: {error}")
        for service in project.services.values():
            environment = service.config.get("environment") or {}
            # Compose doubles each dollar sign in what it normalises.
            pairs = (f"{name}={value}".replace("$$", "$") for name, value in environment.items())
            values += evidence.secret_values(pairs)
        return values
