# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read who routes to a service (x-rollout.proxy), and see that the routes of a project fit together."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from . import core_yaml
from .errors import Problems
from .fields import Fields
from .policy import Route

_KEYS = ("service", "upstream", "port", "directory")
# As in `expose`: 8000, 8000-8010, 8000/tcp.
_TCP = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?(?:/tcp)?")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def routes(raw: Any, config: Mapping[str, Any], where: str, problems: Problems) -> tuple[Route, ...]:
    """Read x-rollout.proxy: one mapping, or a list of them. `config` is the service's, for the port it offers."""
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raw, places = [raw], [where]
    else:
        places = [f"{where}[{number}]" for number in range(len(raw))]
    found = [_route(Fields(each, place, _KEYS, problems), config) for each, place in zip(raw, places)]
    return tuple(route for route in found if route is not None)


def _route(fields: Fields, config: Mapping[str, Any]) -> Route | None:
    proxy, upstream, directory = fields.text("service"), fields.text("upstream"), fields.text("directory")
    if upstream is not None and not _FILE_NAME.fullmatch(upstream):
        fields.refuse("upstream", "letters, digits, '_', '-' and '.'")
    if directory is not None and not directory.startswith("/"):
        fields.refuse("directory", "an absolute path in the proxy's containers")
    port = fields.port("port") if "port" in fields else _only_port(fields, config)
    if not fields.require("service", "upstream") or proxy is None or upstream is None or port is None:
        return None
    return Route(proxy, upstream, port, posixpath.normpath(directory or Route.directory))


def _only_port(fields: Fields, config: Mapping[str, Any]) -> int | None:
    """Give the one TCP port that the service exposes or publishes; none, or several, is a problem."""
    published = (port for port in config.get("ports") or () if port.get("protocol", "tcp") == "tcp")
    offered = {port["target"] for port in published if port.get("target")}
    for port in config.get("expose") or ():
        exposed = _TCP.fullmatch(port)
        if exposed:
            offered.update((int(exposed["first"]), int(exposed["last"] or exposed["first"])))
    if len(offered) == 1:
        return int(offered.pop())
    why = f"the service offers {', '.join(map(str, sorted(offered)))}" if offered else "the service exposes none"
    fields.problems.add(f"{fields.where}.port: missing, and {why}; name the one that the proxy sends traffic to")
    return None


def check_together(
    routed: Mapping[str, Iterable[Route]], configs: Mapping[str, Mapping[str, Any]], problems: Problems
) -> None:
    """See that each proxy is another service of the project, can reach what it routes to, and has one owner a file.

    `routed`: the routes by service. `configs`: the normalised configuration of all services.
    """
    owners: dict[tuple[str, str], tuple[str, Route]] = {}
    for name, found in routed.items():
        where = f"services.{name}.x-rollout.proxy"
        for route in found:
            if route.proxy == name:
                problems.add(f"{where}.service: {name} cannot route to itself; allowed: another service")
                continue
            if route.proxy not in configs:
                others = ", ".join(other for other in configs if other != name) or "none, as there is no other"
                problems.add(
                    f"{where}.service: {route.proxy!r} is no service of the project, or not of its active profiles; "
                    f"allowed: {others}"
                )
                continue
            _check_networks(where, name, route, configs, problems)
            owner, of_owner = owners.setdefault(_file(route, configs[route.proxy]), (name, route))
            if of_owner is not route and (
                owner != name or of_owner.proxy == route.proxy or of_owner.port != route.port
            ):
                problems.add(
                    f"{where}.upstream: {route.directory}/{route.upstream}.conf of {route.proxy} is already that of "
                    f"services.{owner}; give each its own upstream"
                )


def host_directory(proxy: Mapping[str, Any], directory: str) -> str | None:
    """Give the host's directory that the proxy's containers have mounted at `directory`; None where there is none."""
    for mount in proxy.get("volumes") or ():
        if mount.get("type") == "bind" and posixpath.normpath(mount.get("target") or "") == directory:
            return str(core_yaml.unescaped(mount.get("source") or ""))
    return None


def _file(route: Route, proxy: Mapping[str, Any]) -> tuple[str, str]:
    """Give what tells upstream files apart: two proxies may have one directory of the host."""
    source = host_directory(proxy, route.directory)
    return (f"{route.proxy}:{route.directory}" if source is None else source, route.upstream)


def _check_networks(
    where: str, name: str, route: Route, configs: Mapping[str, Mapping[str, Any]], problems: Problems
) -> None:
    """Docker's DNS names a container on the networks that it shares with who asks."""
    if configs[name].get("network_mode"):
        problems.add(
            f"{where}: {route.proxy} finds containers by their names, which those of {name} do not have with "
            f"network_mode {configs[name]['network_mode']}; allowed: networks"
        )
    mine, its = configs[name].get("networks") or {}, configs[route.proxy].get("networks") or {}
    if mine and its and not set(mine) & set(its):
        problems.add(
            f"{where}: {name} and {route.proxy} have no network in common; put one of {', '.join(mine)} to both"
        )
