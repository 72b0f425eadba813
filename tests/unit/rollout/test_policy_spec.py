# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a service is replaced, from update_config, rollback_config, x-rollout and the caller's arguments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Overrides, Policy, WayBack

from . import samples


def read(config: dict[str, Any], overrides: Overrides = samples.NOTHING_ASKED) -> Policy:
    return samples.service(overrides, **config).policy


def test_nothing_said_gives_the_defaults() -> None:
    assert read({}) == Policy()
    assert read({"deploy": {"update_config": None, "rollback_config": None}, "x-rollout": None}) == Policy()


def test_everything_of_update_config_is_read() -> None:
    update = {
        "parallelism": 0,
        "delay": "1m30s",
        "failure_action": "continue",
        "monitor": "10s",
        "max_failure_ratio": 0.25,
        "order": "stop-first",
    }
    assert read({"deploy": {"update_config": update}}) == Policy(
        parallelism=0,
        delay=90.0,
        failure_action="continue",
        monitor=10.0,
        max_failure_ratio=0.25,
        order="stop_first",
    )


def test_everything_of_rollback_config_is_read() -> None:
    rollback = {
        "parallelism": 2,
        "delay": "1s",
        "failure_action": "pause",
        "monitor": "3s",
        "max_failure_ratio": 0,
        "order": "start-first",
    }
    assert read({"deploy": {"rollback_config": rollback}}).back == WayBack(
        parallelism=2, delay=1.0, failure_action="pause", monitor=3.0, order="start_first"
    )


def test_a_way_back_tolerates_no_failure() -> None:
    with pytest.raises(SpecError, match=r"rollback_config\.max_failure_ratio: 0\.5; allowed: 0"):
        read({"deploy": {"rollback_config": {"max_failure_ratio": 0.5}}})


def test_extensions_of_the_specification_s_own_mappings_are_passed_over() -> None:
    assert read({"deploy": {"update_config": {"x-note": 1}, "rollback_config": {"x-note": 1}}}) == Policy()


def test_what_may_stand_side_by_side_is_known_by_its_clean_path() -> None:
    volumes = [{"type": "volume", "source": "v", "target": "/data/"}]
    service = samples.service(volumes=volumes, **{"x-rollout": {"shared": ["/data/", "/srv//x"]}})
    assert service.policy.shared == {"/data", "/srv/x"}
    assert service.exclusive == ()


def test_dollar_signs_that_compose_doubled_are_single_again() -> None:
    policy = read({"x-rollout": {"shared": ["/pri$$e"], "checks": [{"exec": {"command": ["echo", "$$HOME"]}}]}})
    assert policy.shared == {"/pri$e"}
    assert policy.checks[0].command == ("echo", "$HOME")  # type: ignore[union-attr]


_SECONDS = st.none() | st.integers(0, 10_000).map(float)
_COUNT = st.none() | st.integers(0, 100)


@given(
    st.builds(
        Overrides,
        order=st.sampled_from([None, "auto", "start_first", "stop_first"]),
        parallelism=_COUNT,
        timeout=_SECONDS,
        stable=_SECONDS,
        canary=_COUNT,
        canary_time=_SECONDS,
    ),
    st.fixed_dictionaries(
        {}, optional={"order": st.sampled_from(["start-first", "stop-first"]), "parallelism": _COUNT}
    ),
    st.fixed_dictionaries({}, optional={"timeout": _SECONDS, "stable": _SECONDS}),
)
def test_an_argument_goes_before_the_file_and_the_file_before_the_default(
    overrides: Overrides, update: dict[str, Any], rollout: dict[str, Any]
) -> None:
    policy = read({"deploy": {"update_config": update}, "x-rollout": rollout}, overrides)
    written = {**update, **rollout}
    if "order" in written:
        written["order"] = written["order"].replace("-", "_")
    for name in ("order", "parallelism", "timeout", "stable", "canary", "canary_time"):
        asked, in_file = getattr(overrides, name), written.get(name)
        expected = asked if asked is not None else in_file if in_file is not None else getattr(Policy(), name)
        assert getattr(policy, name) == expected


@pytest.mark.parametrize(
    ("update", "problem"),
    [
        ({"order": "sideways"}, "order: 'sideways'; allowed: start-first, stop-first"),
        ({"order": "start_first"}, "order: 'start_first'; allowed: start-first, stop-first"),
        ({"parallelism": -1}, "parallelism: -1; allowed: 0 (all at once) or more"),
        ({"parallelism": True}, "parallelism: True; allowed: 0 (all at once) or more"),
        ({"parallelism": "two"}, "parallelism: 'two'; allowed: 0 (all at once) or more"),
        ({"delay": "soon"}, "delay: 'soon' is no duration; write it like 90s or 1m30s"),
        ({"monitor": "5 sec"}, "monitor: '5 sec' is no duration; write it like 90s or 1m30s"),
        ({"max_failure_ratio": 1.5}, "max_failure_ratio: 1.5; allowed: 0 to 1"),
        ({"max_failure_ratio": -0.1}, "max_failure_ratio: -0.1; allowed: 0 to 1"),
        ({"max_failure_ratio": "half"}, "max_failure_ratio: 'half'; allowed: 0 to 1"),
        ({"paralelism": 2}, "paralelism: unknown, perhaps parallelism is meant; allowed: parallelism, delay, "),
        ([], "must be a mapping with the keys parallelism, delay, "),
    ],
)
@pytest.mark.parametrize("section", ["update_config", "rollback_config"])
def test_a_wrong_update_policy_is_refused_by_its_field(section: str, update: Any, problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        read({"deploy": {section: update}})
    assert f"services.web.deploy.{section}" in str(refused.value)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("section", "action", "allowed"),
    [("update_config", "panic", "rollback, pause, continue"), ("rollback_config", "rollback", "pause, continue")],
)
def test_each_direction_has_its_own_failure_actions(section: str, action: str, allowed: str) -> None:
    with pytest.raises(SpecError, match=rf"{section}\.failure_action: '{action}'; allowed: {allowed}$"):
        read({"deploy": {section: {"failure_action": action}}})


@pytest.mark.parametrize(
    ("rollout", "problem"),
    [
        ({"tmeout": "5s"}, ".tmeout: unknown, perhaps timeout is meant; allowed: timeout, stable, no_healthcheck, "),
        ({"zzz": 1}, ".zzz: unknown; allowed: timeout, "),
        ({1: 1}, ".1: unknown; allowed: timeout, "),
        ({"x-note": 1}, ".x-note: unknown"),
        ({"timeout": "soon"}, ".timeout: 'soon' is no duration; write it like 90s or 1m30s"),
        ({"timeout": -5}, ".timeout: -5 is no duration; it has to be finite and not negative"),
        ({"stable": "5x"}, ".stable: '5x' is no duration"),
        ({"drain_timeout": [10]}, ".drain_timeout: [10] is no duration"),
        ({"no_healthcheck": "hope"}, ".no_healthcheck: 'hope'; allowed: running, fail"),
        ({"anonymous_volumes": "keep"}, ".anonymous_volumes: 'keep'; allowed: discard"),
        ({"dns": True}, ".dns: True; allowed: warn, strict"),
        ({"shared": "/data"}, ".shared: must be a list of mount targets, each an absolute path"),
        ({"shared": ["data"]}, ".shared: must be a list of mount targets, each an absolute path"),
        (["stable"], ": must be a mapping with the keys timeout, stable, "),
        ("5s", ": must be a mapping with the keys timeout, stable, "),
    ],
)
def test_a_wrong_x_rollout_is_refused_by_its_field(rollout: Any, problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        read({"x-rollout": rollout})
    assert f"services.web.x-rollout{problem}" in str(refused.value)
