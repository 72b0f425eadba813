# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real signals to this very process: heard once, and between two effects where there is something to lose."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import Interrupted
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.interrupts import SignalInterrupts

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def interrupts() -> Iterator[SignalInterrupts]:
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    yield SignalInterrupts()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", _SIGNALS)
def test_while_nothing_was_changed_a_signal_ends_the_run_at_once(
    interrupts: SignalInterrupts, number: signal.Signals
) -> None:
    with pytest.raises(Interrupted, match=f"interrupted by {number.name}"):
        send(number)


def test_an_effect_that_has_begun_is_finished_first(interrupts: SignalInterrupts) -> None:
    done = []
    interrupts.defer()
    send(signal.SIGTERM)
    done.append("effect")
    with pytest.raises(Interrupted):
        interrupts.check()
    assert done == ["effect"]


def test_a_second_signal_is_not_heard(interrupts: SignalInterrupts) -> None:
    interrupts.defer()
    send(signal.SIGTERM)
    with pytest.raises(Interrupted):
        interrupts.check()
    send(signal.SIGINT)
    interrupts.check()


def test_on_the_way_back_no_signal_is_heard(interrupts: SignalInterrupts) -> None:
    interrupts.defer()
    send(signal.SIGHUP)
    interrupts.ignore()
    send(signal.SIGTERM)
    interrupts.check()


def test_without_a_signal_the_run_goes_on(interrupts: SignalInterrupts) -> None:
    interrupts.check()
    interrupts.defer()
    interrupts.check()
