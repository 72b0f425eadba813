# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files a service's containers have mounted or delivered: bind mounts, configs and secrets.

Pure: what the files hold, and whether they are there, is not asked here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import core_yaml
from .errors import Problems, SpecError
from .spec import Project

_SECRETS = "/run/secrets"
_READABLE_BY_ALL = 0o444
# What a config or secret may come from; Compose refuses external ones, when it creates the container.
_SOURCES = {"config": ("file", "environment", "content"), "secret": ("file", "environment")}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class MountedFile:
    """One file as a container sees it at `target`.

    `kind` is file (a bind mount), config or secret; `name` is the config's or the secret's. It comes from one of `path`
    (on this host), `variable` (an environment variable) and `content`. A path that `must_exist` is not made by Compose.
    Inline files get `uid`, `gid` and `mode`. `watched` is off where x-rollout.shared names the target.
    """

    kind: str
    target: str
    name: str = ""
    path: str = ""
    variable: str = ""
    content: str | None = None
    must_exist: bool = True
    watched: bool = True
    uid: int = 0
    gid: int = 0
    mode: int = _READABLE_BY_ALL

    @property
    def inline(self) -> bool:
        """Whether it is copied into the container instead of mounted."""
        return not self.path

    def read_inline(self, values: Mapping[str, str]) -> bytes:
        """Give what an inline file holds; `values` are those of variables by name."""
        text = self.content if self.content is not None else values[self.variable]
        return text.encode("utf-8")


Files = Mapping[str, "tuple[MountedFile, ...]"]


def of_project(project: Project) -> Files:
    """Give each service's files, by the service's name.

    Raises SpecError, which names each config and secret that Compose could not deliver.
    """
    problems = Problems()
    found = of_config(project.config, problems)
    problems.settle(SpecError)
    return found


def of_config(config: Mapping[str, Any], problems: Problems) -> Files:
    """Give the files of a normalised configuration, a committed one for example, without those that are a problem."""
    return {
        name: (
            *_bind_mounts(service or {}),
            *_references(config, name, service or {}, "config", problems),
            *_references(config, name, service or {}, "secret", problems),
        )
        for name, service in (config.get("services") or {}).items()
    }


def variables(files: Files) -> tuple[str, ...]:
    """Name the environment variables whose values are delivered as files."""
    return tuple(sorted({file.variable for mounted in files.values() for file in mounted if file.variable}))


def _shared(service: Mapping[str, Any]) -> frozenset[str]:
    return frozenset((service.get("x-rollout") or {}).get("shared") or ())


def _bind_mounts(service: Mapping[str, Any]) -> list[MountedFile]:
    return [
        MountedFile(
            kind="file",
            target=mount["target"],
            path=core_yaml.unescaped(mount["source"]),
            # Compose 2.26 and 2.40 alike print the key where it is true, and leave it out where it is not.
            must_exist=not (mount.get("bind") or {}).get("create_host_path"),
            watched=mount["target"] not in _shared(service),
        )
        for mount in service.get("volumes") or ()
        if mount.get("type") == "bind" and mount.get("source")
    ]


def _references(
    config: Mapping[str, Any], service_name: str, service: Mapping[str, Any], kind: str, problems: Problems
) -> list[MountedFile]:
    sources = config.get(f"{kind}s") or {}
    files = []
    for reference in service.get(f"{kind}s") or ():
        name = reference["source"]
        source = sources.get(name) or {}
        where = f"{kind}s.{name}"
        if not any(source.get(key) is not None for key in _SOURCES[kind]):
            problems.add(f"{where}: Compose cannot deliver it without a source; allowed: {', '.join(_SOURCES[kind])}")
            continue
        variable = source.get("environment") or ""
        if variable and not _VARIABLE.match(variable):
            problems.add(f"{where}.environment: {variable!r} is no name of a variable; allowed: letters, digits and _")
            continue
        target = _target(kind, name, reference)
        mine = f"services.{service_name}.{where}"
        files.append(
            MountedFile(
                kind=kind,
                name=name,
                target=target,
                path=core_yaml.unescaped(source.get("file") or ""),
                variable=variable,
                content=core_yaml.unescaped(source["content"]) if source.get("content") is not None else None,
                watched=target not in _shared(service),
                uid=_number(f"{mine}.uid", reference.get("uid"), problems),
                gid=_number(f"{mine}.gid", reference.get("gid"), problems),
                mode=_mode(f"{mine}.mode", reference.get("mode"), problems),
            )
        )
    return files


def _target(kind: str, name: str, reference: Mapping[str, Any]) -> str:
    folder = _SECRETS if kind == "secret" else "/"
    return posixpath.normpath(posixpath.join(folder, reference.get("target") or name))


def _number(where: str, value: Any, problems: Problems) -> int:
    """Read a numeric owner; nothing is root."""
    text = str(value if value is not None else "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        problems.add(f"{where}: {value!r} is no number; allowed: a numeric id, because names are the container's own")
        return 0
    return int(text)


def _mode(where: str, value: Any, problems: Problems) -> int:
    """Read a mode: Compose 2.26 prints a number in decimal (288), 2.40 text in octal ("0440")."""
    if value is None:
        return _READABLE_BY_ALL
    if isinstance(value, int) and 0 <= value <= 0o7777:
        return value
    if isinstance(value, str) and re.fullmatch(r"0*[0-7]{1,4}", value):
        return int(value, 8)
    problems.add(f"{where}: {value!r} is no file mode; allowed: octal digits, as in 0440")
    return 0
