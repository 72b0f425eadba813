# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Send traffic to containers that passed their gate, and wait until those that leave have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import duration, proxy
from .clock import Clock
from .proxy import Router, Switched
from .record import Record

# How often a proxy is asked whether it is done with what it served before. Seconds.
_ASK_AGAIN = 0.2


@dataclass
class Routing:
    """The proxies of one run."""

    router: Router
    clock: Clock

    def serve(self, record: Record, settled: bool = False) -> tuple[Switched, ...]:
        """Let the proxies name what serves now. With nothing that serves they keep what they name until the end.

        `settled`: the service's own name stands behind the containers', for the time between rollouts.
        """
        service = record.step.service
        names = [container.name for container in sorted(record.serving, key=lambda container: container.number)]
        switched = []
        for route in service.policy.routes if names or settled else ():
            text = proxy.render(route, service.name, names, settled)
            current = self.router.current(route)
            if current != text:
                record.upstreams.setdefault(route, current)
                switched.append(self.router.switch(route, text))
        return tuple(switched)

    def close(self, record: Record) -> None:
        """Let the proxies name nothing by which what is about to start could be reached before it has proven itself.

        That is neither the service's own name nor a name that it takes over. Where nothing serves, what runs at least
        is named; without that, nobody.
        """
        service, step = record.step.service, record.step
        if record.serving:
            self.serve(record)
            return
        ids = {container.id for container in (*record.stopped, *record.restarted, *record.removed, *record.kept)}
        present = sorted((*step.keep, *step.watch, *step.restart, *step.retire), key=lambda container: container.number)
        names = [container.name for container in present if container.running and container.id not in ids]
        for route in service.policy.routes:
            text = proxy.render(route, service.name, names, settled=False)
            current = self.router.current(route)
            # A proxy that has no file yet reads none.
            if current is not None and current != text:
                record.upstreams.setdefault(route, current)
                self.router.switch(route, text)

    def put_back(self, record: Record) -> tuple[Switched, ...]:
        """Let the proxies name what they named before this run."""
        return tuple(
            self.router.switch(route, text)
            for route, text in record.upstreams.items()
            if text is not None and self.router.current(route) != text
        )

    def drain(
        self, record: Record, switched: tuple[Switched, ...], look: Callable[[], None], until: float | None = None
    ) -> None:
        """Wait until all is answered that was asked before the switch; `look` is called between two questions.

        It ends after the policy's time, or at `until`; where that is over already, the drain before this one said so.
        """
        timeout = record.step.service.policy.drain_timeout
        deadline = self.clock.now() + timeout if until is None else until
        if until is not None and self.clock.now() > until:
            return
        while True:
            busy = sum(self.router.drained(each) for each in switched)
            if not busy:
                return
            if self.clock.now() >= deadline:
                workers = f"{busy} worker{'s' if busy > 1 else ''} of the proxy"
                record.notes.append(
                    f"{record.step.service.name}: {workers} still served old connections after "
                    f"{duration.text(timeout)} (x-rollout.drain_timeout); those end with the old container"
                )
                return
            self.clock.sleep(_ASK_AGAIN)
            look()
