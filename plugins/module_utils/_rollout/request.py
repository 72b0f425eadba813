# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task asks of a rollout: the module's parameters, checked, as one value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import check_spec, core_yaml
from .checks import Check
from .errors import Problems, SpecError
from .policy import Overrides


@dataclass(frozen=True)
class Request:
    """The task. Paths are absolute; `definition` is the text of a Compose file, None where the project has its own.

    `services` empty means all of them. Times in seconds.
    """

    project_src: str
    project_name: str
    definition: str | None = field(repr=False)
    files: tuple[str, ...]
    env_files: tuple[str, ...]
    profiles: tuple[str, ...]
    services: tuple[str, ...]
    pull: str
    build: str
    remove_orphans: bool
    overrides: Overrides
    final_checks: tuple[Check, ...] = field(repr=False)
    lock_timeout: float
    log_lines: int
    state_dir: str
    docker_cli: str
    check_mode: bool

    @property
    def installed(self) -> Path:
        """Where the definition is installed once it is rolled out."""
        return Path(self.project_src) / "compose.yaml"


def read(params: Mapping[str, Any], check_mode: bool, problems: Problems) -> Request:
    """Read the module's parameters. One that is wrong is a problem, and reads as if it were not given.

    Raises SpecError, with all problems, where the project cannot even be looked at.
    """
    source = params["project_src"]
    fatal = Problems()
    if not Path(source).is_dir() and not (check_mode and params["definition"]):
        fatal.add(f"project_src: {source} is no directory on this host")
    request = Request(
        project_src=source,
        project_name=params["project_name"] or "",
        definition=_definition(params["definition"], fatal),
        files=_files(params, "files", fatal),
        env_files=_files(params, "env_files", fatal),
        profiles=tuple(params["profiles"] or ()),
        services=tuple(dict.fromkeys(params["services"] or ())),
        pull=params["pull"],
        build=params["build"],
        remove_orphans=params["remove_orphans"],
        overrides=_overrides(params, problems),
        final_checks=_final_checks(params["final_checks"], problems),
        lock_timeout=_number(params, "lock_timeout", problems) or 0.0,
        log_lines=_number(params, "log_lines", problems) or 0,
        state_dir=params["state_dir"],
        docker_cli=params["docker_cli"] or "",
        check_mode=check_mode,
    )
    if fatal:
        problems.take(fatal)
        problems.settle(SpecError)
    return request


def _definition(definition: Any, problems: Problems) -> str | None:
    if definition is None or isinstance(definition, str):
        return definition
    if not isinstance(definition, dict):
        problems.add("definition: must be a dictionary, or the text of a Compose file")
        return None
    return core_yaml.dump(definition)


def _files(params: Mapping[str, Any], name: str, problems: Problems) -> tuple[str, ...]:
    paths = [Path(params["project_src"]) / path for path in params[name] or ()]
    for path in paths:
        # A named pipe, such as a shell's <(...), is as good as a file.
        if not path.exists() or path.is_dir():
            problems.add(f"{name}: {path} is no file on this host")
    return tuple(str(path) for path in paths)


def _overrides(params: Mapping[str, Any], problems: Problems) -> Overrides:
    names = ("parallelism", "timeout", "stable", "canary", "canary_time")
    numbers = {name: _number(params, name, problems) for name in names}
    if numbers["canary_time"] and not numbers["canary"]:
        problems.add(
            "canary_time: says how long the containers of canary serve; allowed together with canary: 1 or more"
        )
    return Overrides(order=params["order"], **numbers)


def _number(params: Mapping[str, Any], name: str, problems: Problems) -> Any:
    value = params[name]
    if value is None or 0 <= value < math.inf:
        return value
    problems.add(f"{name}: {value} is no count or time; allowed: 0 or more")
    return None


def _final_checks(raw: Any, problems: Problems) -> tuple[Check, ...]:
    try:
        return check_spec.final_checks(raw)
    except SpecError as error:
        problems.add(str(error))
        return ()
