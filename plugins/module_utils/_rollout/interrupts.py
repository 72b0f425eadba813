# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals that ask a run to end: raised at once while nothing was changed, at safe points from then on."""

from __future__ import annotations

import signal
from typing import Any, Protocol

from .errors import Interrupted

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interrupts(Protocol):
    """Where a rollout asks, between two effects, whether it is to go on."""

    def check(self) -> None:
        """Raise Interrupted when a signal came."""

    def ignore(self) -> None:
        """Ignore signals from here on: the way back is not cut short."""


class SignalInterrupts:
    """Interrupts by SIGTERM, SIGINT and SIGHUP."""

    def __init__(self) -> None:
        self._deferred = False
        self._pending: str | None = None
        for number in _SIGNALS:
            signal.signal(number, self._arrived)

    def _arrived(self, number: int, _frame: Any) -> None:
        self.ignore()
        self._pending = f"interrupted by {signal.Signals(number).name}"
        if not self._deferred:
            self.check()

    def check(self) -> None:
        message, self._pending = self._pending, None
        if message:
            raise Interrupted(message)

    def ignore(self) -> None:
        # In this order: a signal in between would be pending again.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self._pending = None

    def defer(self) -> None:
        """From here on a signal waits for the next check: an effect that has begun is finished and recorded."""
        self._deferred = True
