# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nginx says of itself: its version, its configuration, its processes. Nothing here talks to one."""

from __future__ import annotations

import fnmatch
import math
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from . import duration

# Names that are looked up again while it runs (`resolve`) are in the open source edition from here on.
OLDEST = (1, 27, 3)

_MASTER = "nginx: master process "
_WORKER = "nginx: worker process"
_LEAVING = f"{_WORKER} is shutting down"
_FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
_SAID = re.compile(r"(?:nginx: |\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )\[\w+\] [^\n]*\n")
_UPSTREAM = re.compile(r"(?:^|[;{}\s])upstream\s+\S+\s*\{([^{}]*)\}")


@dataclass(frozen=True)
class Workers:
    """The workers of one nginx, by their numbers on this host: those that take connections, and those that leave."""

    active: frozenset[int]
    leaving: frozenset[int]


@dataclass(frozen=True)
class Findings:
    """What is wrong with a proxy for a route, and what is only unfortunate."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def command(processes: Mapping[int, str]) -> tuple[str, ...] | None:
    """Give the command that reaches the nginx among a container's processes, with its errors on the output.

    None where none runs. The master's title is the command line that it was started with: where its configuration is,
    and directives that stand nowhere else.
    """
    title = next((title for title in processes.values() if title.startswith(_MASTER)), None)
    if title is None:
        return None
    program, *words = title[len(_MASTER) :].split()
    options: list[str] = []
    while words:
        word = words.pop(0)
        if word in ("-c", "-p", "-g"):
            # The title does not quote, and directives hold spaces: they last until the next option.
            value = [words.pop(0)] if words else []
            while word == "-g" and words and words[0] not in ("-c", "-p", "-e", "-q"):
                value.append(words.pop(0))
            options += [word, " ".join(value)]
    return (program, *options, "-e", "stderr")


def workers(processes: Mapping[int, str]) -> Workers:
    """Sort a container's processes (command lines by number)."""
    leaving = frozenset(number for number, title in processes.items() if title.startswith(_LEAVING))
    every = frozenset(number for number, title in processes.items() if title.startswith(_WORKER))
    return Workers(every - leaving, leaving)


def version(output: str) -> tuple[int, ...] | None:
    """Read `nginx -v`. None where the version is of another make, whose numbers mean something else."""
    line = re.search(r"nginx version: nginx/(\d+)\.(\d+)\.(\d+)(.*)", output)
    if line is None or "plus" in line[4]:
        return None
    return int(line[1]), int(line[2]), int(line[3])


def too_old(name: str, output: str) -> str:
    """Say that the nginx in the container `name` is too old by its `nginx -v`; nothing where it is not, or unknown."""
    found = version(output)
    if found is None or found >= OLDEST:
        return ""
    return (
        f"{name} is nginx {_dotted(found)}, and x-rollout.proxy needs {_dotted(OLDEST)} or later; roll a newer image "
        "out first, without x-rollout.proxy"
    )


def refusal(output: str) -> str:
    """Give the reason out of what a refused configuration makes nginx say, in its own words."""
    found = re.search(r"\[emerg\] (?:\d+#\d+: )?(.+)", output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return found[1].strip() if found else "".join(lines[-1:]) or "it said nothing"


def configuration(output: str) -> str | None:
    """Give the configuration out of what `nginx -q -T` prints. None where its beginning is lost: of a very long one.

    Errors and output come by two pipes, so a warning may stand in the middle of a line of the other.
    """
    text = _SAID.sub("", output)
    return text if _FILE.match(text) else None


def reads(configuration: str, path: str) -> bool:
    """Whether a configuration includes the file `path`."""
    return path in map(posixpath.normpath, _FILE.findall(configuration))


def findings(configuration: str, name: str, path: str, drain_timeout: float) -> Findings:
    """Judge the configuration of the container `name`, which routes by the upstream file `path`.

    The file is there. `drain_timeout` in seconds.
    """
    problems, warnings = [], []
    if not reads(configuration, path):
        directory = posixpath.dirname(path)
        problems.append(
            f"the configuration of {name} does not read {path}; put `include {path};` into its upstream "
            f"block, or correct x-rollout.proxy.upstream (the file's name) or directory ({directory})"
        )
    code = re.sub(r"#[^\n]*", "", configuration)
    block = _including(code, configuration, path)
    if block is not None and not _has(block, "zone"):
        problems.append(f"the upstream block of {name} that includes {path} has no zone; put `zone NAME 256k;` there")
    if not _has(code, "resolver"):
        problems.append(f"{name} has no resolver; put `resolver 127.0.0.11 valid=2s ipv6=off;` into its http block")
    if not _has(code, "keepalive_min_timeout"):
        warnings.append(
            f"{name} has no keepalive_min_timeout (nginx 1.27.4 or later): a reload closes idle connections, and a "
            "request that is on its way there is lost"
        )
    limit = re.search(r"(?:^|[;{}\s])worker_shutdown_timeout\s+([^;\s]+)", code)
    if limit is not None and _seconds(limit[1]) < drain_timeout:
        warnings.append(
            f"{name} cuts off after {limit[1]} (worker_shutdown_timeout) what x-rollout.drain_timeout gives "
            f"{duration.text(drain_timeout)}"
        )
    return Findings(tuple(problems), tuple(warnings))


def _has(code: str, directive: str) -> bool:
    return re.search(rf"(?:^|[;{{}}\s]){directive}\s", code) is not None


def _including(code: str, configuration: str, path: str) -> str | None:
    """Give the upstream block that includes the file `path`, None where none is seen to."""
    files = _FILE.findall(configuration)
    root = posixpath.dirname(files[0]) if files else ""
    for block in _UPSTREAM.findall(code):
        included = re.findall(r"(?:^|[;\s])include\s+['\"]?([^;'\"\s]+)", block)
        if any(fnmatch.fnmatch(path, posixpath.normpath(posixpath.join(root, pattern))) for pattern in included):
            return str(block)
    return None


def _seconds(value: str) -> float:
    """Read a time limit; 0, and what is no time, is none."""
    try:
        return duration.seconds(value) or math.inf
    except ValueError:
        return math.inf


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
