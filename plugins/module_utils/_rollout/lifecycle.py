# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Begin and end a container's life as its service's words say: hooks, restart policy, time to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import evidence, gate
from .engine import Engine
from .errors import EngineError
from .evidence import Halt
from .observe import Container
from .policy import Hook, Policy


@dataclass(frozen=True)
class Hooks:
    """The commands of one service that are run in each of its containers."""

    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()


_NO_HOOKS = Hooks()


@dataclass
class Lifecycle:
    """Starts and stops the containers of one run.

    `hooks` and `policies` by service; `hooks_before` are those of the committed configuration, by which the containers
    live that this run did not make.
    """

    engine: Engine
    redact: evidence.Redact
    hooks: Mapping[str, Hooks]
    hooks_before: Mapping[str, Hooks]
    policies: Mapping[str, Policy]
    made: set[str] = field(default_factory=set)
    # On the way back a hook that fails is told, and stops nothing: that an old one is not right is a problem, that one
    # which goes took no leave is not.
    forgiving: bool = False
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def start(self, container: Container) -> None:
        """Start a container and run its post_start hooks; Halt when the engine or a hook refuses."""
        try:
            self.engine.start(container.id)
        except EngineError as error:
            raise Halt(
                evidence.of_container(container, "create", f"could not be started: {error}", (), self.redact)
            ) from error
        for hook in self._of(container).post_start:
            self._run(container, "post_start", hook, self.problems if self.forgiving else None)

    def stop(self, container: Container, failed: bool = False) -> None:
        """Run its pre_stop hooks and stop a container for good: nothing but a start by us brings it back.

        Of one that has `failed` no more is expected: a hook that fails, too, is told.
        """
        if container.status == "running":
            for hook in self._of(container).pre_stop:
                self._run(container, "pre_stop", hook, self.notes if failed or self.forgiving else None)
        # With `always` it would come back when the engine restarts before the commit.
        try:
            self.engine.set_restart_policy(container.id, ("no", 0))
        except EngineError:
            # The engine refuses to update a container that dies at that moment, as one in a crash loop does.
            self.engine.stop(container.id, container.stop_timeout)
            self.engine.set_restart_policy(container.id, ("no", 0))
        self.engine.stop(container.id, container.stop_timeout)

    def bring_back(self, container: Container) -> None:
        """Start a container that was stopped for good, under the restart policy that it had."""
        self.engine.set_restart_policy(container.id, container.restart_policy)
        found = self.engine.inspect(container.id)
        if found is None:
            raise EngineError(f"{container.name} was removed by somebody else")
        if not found.running:
            self.start(container)

    def _of(self, container: Container) -> Hooks:
        hooks = self.hooks if container.id in self.made else self.hooks_before
        return hooks.get(container.service, _NO_HOOKS)

    def _run(self, container: Container, name: str, hook: Hook, told: list[str] | None) -> None:
        """Run one hook; a failure is entered in `told`, and is a Halt where there is none."""
        timeout = gate.patience(self.policies.get(container.service, Policy()), container, one_shot=False)
        command = " ".join(hook.command)
        try:
            done = self.engine.execute(container.id, hook, timeout)
        except EngineError as error:
            found = self.engine.inspect(container.id)
            if found is None or found.status != "running":
                # It died meanwhile; its gate says why.
                return
            detail = f"its {name} hook could not be run: {error}"
        else:
            if done.exit_code == 0:
                return
            words = done.output.strip().splitlines()
            ended = (
                f"exited with code {done.exit_code}" if done.exit_code is not None else f"ran for over {timeout:g} s"
            )
            detail = f"its {name} hook `{command}` {ended}{': ' + words[-1][:200] if words else ''}"
        failure = evidence.of_container(container, "hook", detail, (), self.redact)
        if told is None:
            raise Halt(failure)
        told.append(failure.sentence())
