# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Route by nginx: write the upstream file, let every container of the proxy test it, reload, follow its workers."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from . import nginx, proxy
from .clock import Clock
from .engine import Engine
from .errors import EngineError, EngineUnreachable, ProxyError
from .observe import Container
from .policy import Hook, Route
from .proxy import Switched
from .route_spec import host_directory
from .spec import Project, Service

# What nginx may take to answer a command, and to start workers after a reload. Seconds.
_ANSWER = 30.0
_RELOAD = 10.0
# What a container of the proxy may take from its start until its nginx can be told by its title. Seconds.
_STARTING = 5.0
_ASK_AGAIN = 0.05
# What a worker may take to learn a name's address: it asks as it starts, and Docker's DNS is on this host. Seconds.
_NAME_KNOWN = 1.0


class NginxRouter:
    """proxy.Router for a project's nginx services, whose upstream files this host's directories hold."""

    def __init__(self, engine: Engine, project: Project, clock: Clock) -> None:
        self._engine = engine
        self._project = project
        self._clock = clock

    def examine(self, service: Service, route: Route) -> nginx.Findings:
        """Look for what keeps the route from working, before anything is changed.

        What only a running proxy tells is asked of one that runs and has its upstream file.
        """
        proxies = _proxies(self._engine.containers(self._project.name), route)
        try:
            _check_directory(self._directory(route), mounted=bool(proxies))
            text = self.current(route)
        except ProxyError as error:
            return nginx.Findings(problems=(str(error),))
        problems: list[str] = []
        warnings: list[str] = []
        # Without the file nginx may refuse its configuration, rightly.
        for container in proxies if text is not None else ():
            try:
                found = self._look(container, route, service.policy.drain_timeout)
            except EngineUnreachable:
                raise
            except EngineError as error:
                problems.append(str(error))
            else:
                problems.extend(found.problems)
                warnings.extend(found.warnings)
        return nginx.Findings(tuple(problems), tuple(warnings))

    def current(self, route: Route) -> str | None:
        path = self._file(route)
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ProxyError(f"{path}: {error}") from error

    def switch(self, route: Route, text: str) -> Switched:
        path, before = self._file(route), self.current(route)
        containers = self._engine.containers(self._project.name)
        proxies = _proxies(containers, route)
        stopped = {container.name for container in containers if not container.running}
        reloaded: list[Container] = []
        try:
            between = proxy.bridge(before or "", text, stopped) if proxies else None
            if between is not None:
                self._load(route, between, proxies, reloaded)
                self._clock.sleep(_NAME_KNOWN)
            return self._load(route, text, proxies, reloaded)
        except (EngineError, OSError) as error:
            left = self._put_back(path, before, reloaded)
            if isinstance(error, EngineUnreachable):
                raise
            raise ProxyError("; ".join((str(error), *left))) from error

    def drained(self, switched: Switched) -> int:
        return sum(len(self._serving(container_id) & set(old)) for container_id, old in switched.workers)

    def _load(self, route: Route, text: str, proxies: Sequence[Container], reloaded: list[Container]) -> Switched:
        """Write, test everywhere, reload everywhere, wait for new workers. Enters in `reloaded` what took it up."""
        _write(self._file(route), text)
        for container in proxies:
            configuration = self._test(container)
            if configuration is not None and not nginx.reads(configuration, _inside(route)):
                raise ProxyError(f"the configuration of {container.name} does not read {_inside(route)}")
        # The workers of before all reloads: none of them may be among those of after.
        old = {container.id: self._workers(container.id) for container in proxies}
        for container in proxies:
            reloaded.append(container)
            self._reload(container)
        for container in proxies:
            self._wait_for_new_workers(container, old[container.id])
        return Switched(tuple((number, tuple(sorted(each.active | each.leaving))) for number, each in old.items()))

    def _wait_for_new_workers(self, container: Container, old: nginx.Workers) -> None:
        deadline = self._clock.now() + _RELOAD
        while True:
            active = self._workers(container.id).active
            # Old ones that have not been told yet still take new connections.
            if active and not active & old.active:
                return
            if self._clock.now() >= deadline:
                raise ProxyError(f"nginx in {container.name} started no new workers within {_RELOAD:.0f} s of a reload")
            self._clock.sleep(_ASK_AGAIN)

    def _put_back(self, path: Path, before: str | None, reloaded: Sequence[Container]) -> list[str]:
        """Bring the file of before back, and what read the other one to read it again. Gives what did not succeed."""
        left = []
        try:
            if before is None:
                path.unlink(missing_ok=True)
            else:
                _write(path, before)
        except OSError as error:
            return [f"the file of before could not be put back: {error}"]
        # Without a file of before nginx keeps what it has loaded, for it may refuse to be without one.
        for container in dict.fromkeys(reloaded) if before is not None else ():
            try:
                self._reload(container)
            except EngineError as error:
                left.append(f"the file of before is back, but not read: {error}")
        return left

    def _look(self, container: Container, route: Route, drain_timeout: float) -> nginx.Findings:
        output = self._run(container, "-v", refused=f"nginx in {container.name} does not tell its version")
        old = nginx.too_old(container.name, output)
        configuration = None if old else self._test(container)
        if configuration is None:
            return nginx.Findings(problems=(old,) if old else ())
        return nginx.findings(configuration, container.name, _inside(route), drain_timeout)

    def _test(self, container: Container) -> str | None:
        """Let nginx read its configuration and give it, None where it is too long; ProxyError when it refuses it."""
        output = self._run(container, "-q", "-T", refused=f"nginx in {container.name} refuses its configuration")
        return nginx.configuration(output)

    def _reload(self, container: Container) -> None:
        self._run(container, "-s", "reload", refused=f"nginx in {container.name} could not be reloaded")

    def _run(self, container: Container, *options: str, refused: str) -> str:
        command = self._command(container)
        ended = self._engine.execute(container.id, Hook((*command, *options)), _ANSWER)
        if ended.exit_code is None:
            raise ProxyError(f"{refused}: it did not answer within {_ANSWER:.0f} s")
        if ended.exit_code:
            raise ProxyError(f"{refused}: {nginx.refusal(ended.output)}")
        return ended.output

    def _command(self, container: Container) -> tuple[str, ...]:
        """Give the nginx of a container as it was started. One that has just been started takes a moment to say."""
        deadline = self._clock.now() + _STARTING
        while True:
            command = nginx.command(self._engine.processes(container.id))
            if command is not None:
                return command
            if self._clock.now() >= deadline:
                raise ProxyError(f"{container.name} runs no nginx; x-rollout.proxy.service has to be one")
            self._clock.sleep(_ASK_AGAIN)

    def _workers(self, container_id: str) -> nginx.Workers:
        return nginx.workers(self._engine.processes(container_id))

    def _serving(self, container_id: str) -> frozenset[int]:
        try:
            workers = self._workers(container_id)
        except EngineUnreachable:
            raise
        except EngineError:
            container = self._engine.inspect(container_id)
            if container is not None and container.running:
                raise
            # What it served went with it.
            return frozenset()
        return workers.active | workers.leaving

    def _directory(self, route: Route) -> Path:
        source = host_directory(self._project.services[route.proxy].config, route.directory)
        if not source:
            raise ProxyError(
                f"services.{route.proxy}.volumes: no directory of this host is mounted at {route.directory}, where "
                f"x-rollout.proxy has {route.upstream}.conf; add one, as in ./upstreams:{route.directory}:ro"
            )
        return Path(source)

    def _file(self, route: Route) -> Path:
        return self._directory(route) / f"{route.upstream}.conf"


def _proxies(containers: Sequence[Container], route: Route) -> list[Container]:
    return [each for each in containers if each.service == route.proxy and each.status == "running"]


def _inside(route: Route) -> str:
    """Give the upstream file's path in the proxy's containers."""
    return posixpath.join(posixpath.normpath(route.directory), f"{route.upstream}.conf")


def _check_directory(directory: Path, mounted: bool) -> None:
    """Raise ProxyError where upstream files cannot be written to a directory. One that is not there will be made.

    `mounted`: a running proxy has it, and would not see another one made in its place.
    """
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    purpose = "for upstream files of x-rollout.proxy"
    if mounted and nearest != directory:
        raise ProxyError(f"{directory}, {purpose}, was removed; make it, and the containers of the proxy anew")
    if not nearest.is_dir():
        raise ProxyError(f"{directory}, {purpose}, has to be a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ProxyError(f"{directory}, {purpose}, cannot be written to")


def _write(path: Path, text: str) -> None:
    """Replace a file: a reader sees the old content or the new, and so does the host after a crash."""
    # No name that an `include *.conf` would take.
    unfinished = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        # nginx may run without root.
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
