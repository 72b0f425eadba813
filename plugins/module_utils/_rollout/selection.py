# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A part of a project: the services that were asked for, and what has to go with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from . import core_yaml
from .errors import SpecError
from .spec import Project

# Everything in a normalised configuration that its services refer to by name.
_RESOURCES = ("networks", "volumes", "configs", "secrets")


def select(project: Project, names: Sequence[str], declared: Callable[[], Collection[str]]) -> frozenset[str]:
    """Give these services, all that they depend on, and all that is bound to any of them; every service for no names.

    A container that is bound to another one (a shared namespace, or volumes_from) is useless once that one is
    replaced. `declared` gives the names of all services in the project's files. Raises SpecError for unknown names.
    """
    unknown = [name for name in names if name not in project.services]
    if unknown:
        raise SpecError("; ".join(_unknown(name, project, declared()) for name in unknown))
    selected: set[str] = set()
    pending = list(names or project.services)
    while pending:
        name = pending.pop()
        if name not in selected:
            selected.add(name)
            pending += project.dependencies(name)
            pending += [service.name for service in project.services.values() if name in service.bound_to]
    return frozenset(selected)


def left_behind(project: Project, selected: Collection[str]) -> tuple[str, ...]:
    """Warn of services outside the selection that would have been restarted together with one inside it."""
    return tuple(
        f"{service.name} is not among services, so it is not restarted should {dependency} get a new container, as its "
        "depends_on asks for"
        for service in project.services.values()
        if service.name not in selected
        for dependency in sorted(service.restarts_with & frozenset(selected))
    )


def in_force(config: str, committed: Mapping[str, Any], proven: Collection[str]) -> str:
    """Give the normalised configuration that a commit records when only the services in `proven` were rolled out.

    They stand there as in `config`; every other one as `committed` last, or not at all. What needs one that does not
    stand there needs it no more, for Compose refuses a project with such a need.
    """
    wanted = core_yaml.load(config)
    services = dict(committed.get("services") or {})
    services.update((name, wanted["services"][name]) for name in wanted["services"] if name in proven)
    services = {name: _without_needs_but(services, config) for name, config in services.items()}
    # What a service of before refers to has to be there, too.
    resources = {key: {**(committed.get(key) or {}), **(wanted.get(key) or {})} for key in _RESOURCES}
    return core_yaml.dump({**wanted, "services": services, **{key: found for key, found in resources.items() if found}})


def _without_needs_but(there: Collection[str], config: Mapping[str, Any]) -> Mapping[str, Any]:
    needs = {name: need for name, need in (config.get("depends_on") or {}).items() if name in there}
    links = [link for link in config.get("links") or () if link.partition(":")[0] in there]
    kept = {key: value for key, value in config.items() if key not in ("depends_on", "links")}
    return {**kept, **({"depends_on": needs} if needs else {}), **({"links": links} if links else {})}


def _unknown(name: str, project: Project, declared: Collection[str]) -> str:
    if name in declared:
        return f"services: {name} belongs to no active profile; name one of its profiles in profiles"
    return f"services: the project has no service {name}; allowed: {', '.join(sorted(project.services))}"
