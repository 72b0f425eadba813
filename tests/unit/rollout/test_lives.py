# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate's verdicts on what real engines told of real containers (tests/integration/compose_rollout/lives.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import gate, observe
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.gate import Failed, Passed, Pending, Verdict

_RECORDED = Path(__file__).parent / "recorded" / "lives"
ENGINES = sorted(path.stem for path in _RECORDED.glob("*.json"))


def life(engine: str, name: str) -> list[dict[str, Any]]:
    looks: list[dict[str, Any]] = json.loads((_RECORDED / f"{engine}.json").read_text("utf-8"))["lives"][name]
    return looks


def verdicts(looks: list[dict[str, Any]], timeout: float, stable: float, one_shot: bool = False) -> list[Verdict]:
    """Judge at each event, and once more at the end."""
    given: list[Verdict] = []
    opened = gate.Gate(deadline=timeout, stable=stable, one_shot=one_shot, began=0.0)
    for look in looks:
        opened, verdict = gate.judge(opened, observe.container(look["inspect"]), look["after"])
        given.append(verdict)
    return given


def decided(engine: str, name: str, timeout: float = 60.0, stable: float = 0.0, one_shot: bool = False) -> Verdict:
    """The first verdict that is one, or the last that is none."""
    given = verdicts(life(engine, name), timeout, stable, one_shot)
    return next((verdict for verdict in given if not isinstance(verdict, Pending)), given[-1])


def test_the_engines_are_those_that_the_tests_run_on() -> None:
    assert [engine.rpartition(".")[0] for engine in ENGINES] == ["20.10", "26.1"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["healthy", "slow"])
def test_what_becomes_healthy_passes_at_that_event(engine: str, name: str) -> None:
    looks = life(engine, name)
    passed = decided(engine, name)
    assert isinstance(passed, Passed)
    assert [look["action"] for look in looks if look["after"] == passed.seconds] == ["health_status: healthy"]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_unhealthy_on_its_way_does_not_fail_before_the_deadline(engine: str) -> None:
    assert "health_status: unhealthy" in [look["action"] for look in life(engine, "slow")]
    assert isinstance(decided(engine, "unhealthy"), Pending)
    failed = decided(engine, "unhealthy", timeout=3.0)
    assert isinstance(failed, Failed)
    assert failed.reason == "unhealthy"


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_healthcheck_it_passes_when_it_has_run_for_long_enough(engine: str) -> None:
    assert isinstance(decided(engine, "unchecked", stable=3.0), Passed)
    assert isinstance(decided(engine, "unchecked", stable=30.0), Pending)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "reasons", "detail"),
    [
        ("exits", {"exited"}, "exited with code 42"),
        ("crash-loop", {"restarting"}, "keeps restarting"),
        # Not every kernel tells the engine why it was killed.
        ("killed", {"oom", "exited"}, "out of memory"),
        ("finishes", {"exited"}, "exited with code 0"),
    ],
)
def test_what_ends_fails_at_once(engine: str, name: str, reasons: set[str], detail: str) -> None:
    failed = decided(engine, name, stable=30.0)
    assert isinstance(failed, Failed)
    assert failed.reason in reasons
    assert detail in failed.detail


@pytest.mark.parametrize("engine", ENGINES)
def test_a_one_shot_passes_when_it_has_finished(engine: str) -> None:
    assert isinstance(decided(engine, "finishes", one_shot=True), Passed)
    assert isinstance(decided(engine, "exits", one_shot=True), Failed)
