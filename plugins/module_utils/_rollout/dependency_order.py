# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which order services are rolled out: what a service needs first, and a proxied service before its proxy."""

from __future__ import annotations

from collections.abc import Mapping, Set

from .errors import Problems


def all_needed(needs: Mapping[str, Set[str]], service: str) -> set[str]:
    """Give all that a service needs, directly or not. Names that are no service need nothing and are left out."""
    found: set[str] = set()
    pending = list(needs.get(service, ()))
    while pending:
        name = pending.pop()
        if name not in found and name in needs:
            found.add(name)
            pending.extend(needs[name])
    return found


def dependency_order(needs: Mapping[str, Set[str]], routed_by: Mapping[str, Set[str]], problems: Problems) -> list[str]:
    """Give the services in order; alphabetical where neither has to wait for the other.

    `needs`: what each service depends on; `routed_by`: the proxies of each service. Names that are no service are
    passed over. Each circle is a problem, named as the way around it, and its services are left out.
    """
    waits_for = {name: {other for other in needs[name] if other in needs} for name in sorted(needs)}
    for name, proxies in routed_by.items():
        for proxy in proxies:
            if proxy in waits_for and proxy != name:
                waits_for[proxy].add(name)
    ordered: list[str] = []
    while waits_for:
        ready = next((name for name, others in waits_for.items() if not others & waits_for.keys()), None)
        if ready is not None:
            ordered.append(ready)
            del waits_for[ready]
            continue
        circle = _circle(waits_for)
        _refuse(circle, needs, problems)
        for name in circle:
            del waits_for[name]
    return ordered


def _circle(waits_for: Mapping[str, Set[str]]) -> list[str]:
    """Follow what each waits for, which each does, until one comes again."""
    way = [next(iter(waits_for))]
    while True:
        following = min(waits_for[way[-1]] & waits_for.keys())
        if following in way:
            return way[way.index(following) :]
        way.append(following)


def _refuse(circle: list[str], needs: Mapping[str, Set[str]], problems: Problems) -> None:
    around = " -> ".join([*circle, circle[0]])
    steps = zip(circle, [*circle[1:], circle[0]])
    routes = [(proxy, name) for proxy, name in steps if name not in needs[proxy]]
    if not routes:
        problems.add(f"depends_on goes in a circle: {around}")
        return
    why = "; ".join(f"{proxy} is rolled out after {name}, which it routes to" for proxy, name in routes)
    problems.add(f"depends_on and x-rollout.proxy go in a circle: {around} ({why})")
