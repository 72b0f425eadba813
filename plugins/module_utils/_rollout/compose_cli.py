# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker Compose: what a rollout asks of it (Compose), and the `docker compose` command behind that.

Containers are created by Compose alone, so that its labels and hashes are its own and a later plain
`docker compose up -d` finds nothing to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Protocol

from . import core_yaml
from .errors import ComposeError

# (argv) -> (exit code, standard output, standard error)
Run = Callable[[list[str]], "tuple[int, str, str]"]

# The oldest that the command lines below were checked against in Compose's own release notes.
MINIMUM = (2, 24)

# How much a message tells of what a step of a build printed.
_STEP_LINES = 5


class Compose(Protocol):
    """What only Compose can do. All raise ComposeError with its own words."""

    def config(self) -> str:
        """Give the project's normalised configuration as YAML."""

    def declared_services(self) -> set[str]:
        """Give the names of all services in the project's files, those of inactive profiles too."""

    def hashes(self, config: str, *, as_it_stands: bool = False) -> dict[str, str]:
        """Give each service's configuration hash as Compose labels containers with it.

        `as_it_stands`: nothing is added to what is normalised already, and other containers may be named by their ids.
        """

    def create(self, service: str, counts: Mapping[str, int]) -> None:
        """Create containers of one service until there are `counts[service]`, and start none."""

    def pull(self, services: Sequence[str]) -> None:
        """Pull the images of these services."""

    def build(self, service: str) -> None:
        """Build the image of this service."""


@dataclass(frozen=True)
class ComposeCli:
    """Compose by `docker compose`. `scratch` is a directory for this run's secrets-bearing temporary files."""

    run: Run
    docker: str
    project_src: str
    project_name: str
    files: tuple[str, ...]
    env_files: tuple[str, ...]
    profiles: tuple[str, ...]
    scratch: str

    def version(self) -> tuple[int, ...]:
        """Give Compose's version; ComposeError where there is none, or one too old."""
        rc, out, err = self.run([self.docker, "compose", "version", "--short"])
        numbers = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", out.strip())
        if rc or not numbers:
            raise ComposeError(f"`docker compose version` fails ({(err or out).strip()}): install Compose v2")
        version = tuple(int(number or 0) for number in numbers.groups())
        if version < MINIMUM:
            raise ComposeError(f"Docker Compose {out.strip()} is too old: at least {'.'.join(map(str, MINIMUM))}")
        return version

    def config(self) -> str:
        return self._compose(self._project(self.files), "config")

    def declared_services(self) -> set[str]:
        return set(self._compose([*self._project(self.files), "--profile", "*"], "config", "--services").split())

    def hashes(self, config: str, *, as_it_stands: bool = False) -> dict[str, str]:
        # Hashed from the normalised file: from the project's own files `config --hash` forgets env_file
        # (https://github.com/docker/compose/issues/14001), and so differs from the label of every such container.
        options = ("--no-normalize", "--no-consistency") if as_it_stands else ()
        lines = self._config_of("normalised.yaml", config, *options, "--hash", "*").splitlines()
        return dict(line.split(" ", 1) for line in lines if " " in line)

    def variables(self, names: Sequence[str]) -> dict[str, str]:
        """Give those of these variables that are set, as Compose interpolates them.

        `config --environment` would tell them too, but Compose 2.26 has none, and it does not quote line breaks.
        """
        if not names:
            return {}
        asked = {
            "name": "variables",
            "services": {"none": {"image": "none"}},
            "x-set": {name: f"${{{name}+set}}" for name in names},
            "x-value": {name: f"${{{name}-}}" for name in names},
        }
        answer = core_yaml.load(self._config_of("variables.yaml", core_yaml.dump(asked)))
        return {name: core_yaml.unescaped(answer["x-value"][name]) for name in names if answer["x-set"][name]}

    def _config_of(self, name: str, text: str, *arguments: str) -> str:
        """Run `config` on a file of this text, which nobody else can read and which does not stay."""
        path = Path(self.scratch) / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        try:
            return self._compose(self._project((str(path),)), "config", *arguments)
        finally:
            path.unlink()

    def create(self, service: str, counts: Mapping[str, int]) -> None:
        # The one command that was found to touch nothing else: every dependency's count stands beside it, stopped
        # containers included, because Compose scales what it is not told about; --no-recreate leaves changed ones.
        scale = [part for name, count in counts.items() for part in ("--scale", f"{name}={count}")]
        self._compose(
            self._project(self.files), "create", "--no-recreate", "--no-build", "--pull", "never", *scale, service
        )

    def pull(self, services: Sequence[str]) -> None:
        self._compose(self._project(self.files), "pull", "--quiet", *services)

    def build(self, service: str) -> None:
        # Not --quiet: then 2.40 says no more than the failed command's exit code.
        self._compose(self._project(self.files), "build", service)

    def _project(self, files: Sequence[str]) -> list[str]:
        argv = [self.docker, "compose", "--ansi", "never", "--progress", "plain"]
        argv += ["--project-directory", self.project_src]
        argv += ["--project-name", self.project_name] if self.project_name else []
        for option, values in (("--file", files), ("--env-file", self.env_files), ("--profile", self.profiles)):
            argv += [part for value in values for part in (option, value)]
        return argv

    def _compose(self, project: list[str], *arguments: str) -> str:
        rc, out, err = self.run([*project, *arguments])
        if rc:
            said = _words_of_a_step(out) if arguments[0] == "build" else ""
            raise ComposeError(f"`docker compose {arguments[0]}` failed: {_last_words(err or out)}{said}")
        return out


def _last_words(output: str) -> str:
    """Give what Compose says of the failure: progress lines come before it, the error last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?i)error|.*\berror\b", line)]
    return (errors or lines or ["no output"])[-1]


def _words_of_a_step(output: str) -> str:
    """Give the last lines that the step of a Dockerfile printed before it failed, on one line, or nothing.

    BuildKit repeats them between two rules, each with the second at which it came; the classic builder ends with them.
    """
    lines = output.splitlines()
    rules = [number for number, line in enumerate(lines) if line.strip() == "------"]
    starts = [number for number, line in enumerate(lines) if line.lstrip().startswith("---> Running in")]
    if len(rules) > 1:
        printed = [re.sub(r"^\d+\.\d+ ", "", line) for line in lines[rules[-2] + 2 : rules[-1]]]
    else:
        printed = lines[starts[-1] + 1 :] if starts else []
    words = " | ".join([line.strip() for line in printed if line.strip()][-_STEP_LINES:])
    return f"; the step said: {words}" if words else ""
