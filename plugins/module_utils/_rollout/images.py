# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the images of a project to this host, and let their tags name the images of before when nothing comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from .compose_cli import Compose
from .engine import Engine
from .errors import ComposeError, EngineError, ImageError
from .spec import Service

# What pull_policy says in other words. With an interval ("daily", "every_12h") only a registry knows what is new.
_MISSING = ("missing", "if_not_present")
_LOCAL = ("never", "build")


@dataclass(frozen=True)
class Needs:
    """Services whose images are pulled, and whose are built, before anything is planned.

    One that stands in `pull` and in `or_build` is built where its image cannot be pulled.
    """

    pull: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    or_build: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether there is anything to be pulled or built."""
        return bool(self.pull or self.build)


def needs(services: Iterable[Service], pull: str, build: str, present: Mapping[str, str | None]) -> Needs:
    """Decide what to pull and what to build for these services, as Compose would.

    `pull` is always, missing, never or policy; `build` always, never or policy. `present`: image ids by reference,
    None where this host has none.
    """
    to_pull, to_build, or_build = [], [], set()
    for service in services:
        if not service.replicas:
            continue
        missing = present.get(service.image) is None
        buildable = bool(service.config.get("build")) and build != "never"
        policy = service.pull_policy if pull == "policy" else pull
        named = bool(service.config.get("image"))
        if buildable and (build == "always" or service.pull_policy == "build"):
            to_build.append(service.name)
        elif named and policy not in _LOCAL and (missing or policy not in _MISSING):
            to_pull.append(service.name)
            if buildable:
                or_build.add(service.name)
        elif buildable and missing:
            to_build.append(service.name)
    return Needs(tuple(to_pull), tuple(to_build), frozenset(or_build))


def uncertain(services: Iterable[Service], coming: Needs, present: Mapping[str, str | None]) -> tuple[str, ...]:
    """Say of which services a plan cannot know yet whether they get another image."""
    names = [s.name for s in services if s.name in (*coming.pull, *coming.build) and present.get(s.image)]
    if not names:
        return ()
    return (f"whether {', '.join(names)} gets another image is known only when that was pulled or built",)


class Images:
    """The images of one run. Knows which tags it moved."""

    def __init__(self, engine: Engine, compose: Compose, services: Iterable[Service]) -> None:
        self._engine = engine
        self._compose = compose
        self._services = {service.name: service for service in services}
        self._before = self._now()
        self._brought: dict[str, str] = {}

    @property
    def present(self) -> Mapping[str, str | None]:
        """Image ids by reference as they were before anything was brought, None where there was none."""
        return self._before

    @property
    def changed(self) -> bool:
        """Whether an image came, or a tag names another one."""
        return bool(self._brought)

    def bring(self, wanted: Needs) -> None:
        """Pull and build. Raises ImageError for the first service whose image cannot be had."""
        try:
            to_build = [*wanted.build, *self._pull(wanted)]
            # One by one: of several at once Compose does not say which one failed.
            for name in to_build:
                self._build(self._services[name])
        finally:
            self._note_what_came()

    @contextmanager
    def put_back_on_failure(self, warn: Callable[[str], None]) -> Iterator[None]:
        """Put the tags back where what follows raises anything; `warn` is told what cannot be."""
        try:
            yield
        except BaseException:
            for problem in self.put_back():
                warn(problem)
            raise

    def put_back(self) -> tuple[str, ...]:
        """Let each tag that this run moved, and nobody since, name its image of before.

        Gives what could not be put back, a sentence each. An image that came new stays: no container is made of it
        without being asked for.
        """
        problems = []
        for reference, image_id in self._brought.items():
            before = self._before[reference]
            try:
                if before and "@" not in reference and self._engine.image_id(reference) == image_id:
                    self._engine.tag(before, reference)
            except EngineError as error:
                problems.append(f"image {reference} does not name {before} again: {error}")
        self._brought.clear()
        return tuple(problems)

    def _now(self) -> dict[str, str | None]:
        return {service.image: self._engine.image_id(service.image) for service in self._services.values()}

    def _note_what_came(self) -> None:
        came = {reference: image_id for reference, image_id in self._now().items() if image_id}
        self._brought = {name: image_id for name, image_id in came.items() if image_id != self._before[name]}

    def _pull(self, wanted: Needs) -> list[str]:
        """Pull; gives the services that have to be built instead."""
        self._pull_together([name for name in wanted.pull if name not in wanted.or_build])
        to_build = []
        for name in wanted.pull:
            if name in wanted.or_build:
                try:
                    self._compose.pull([name])
                except ComposeError:
                    to_build.append(name)
        return to_build

    def _pull_together(self, names: list[str]) -> None:
        try:
            if names:
                self._compose.pull(names)
        except ComposeError:
            # Which of the images it was, only one at a time tells.
            for name in names:
                self._pull_one(self._services[name])

    def _pull_one(self, service: Service) -> None:
        try:
            self._compose.pull([service.name])
        except ComposeError as error:
            raise ImageError(service.name, "pull", f"image {service.image} cannot be pulled: {error}") from error

    def _build(self, service: Service) -> None:
        try:
            self._compose.build(service.name)
        except ComposeError as error:
            raise ImageError(service.name, "build", f"image {service.image} cannot be built: {error}") from error
