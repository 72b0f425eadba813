# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module parameters become one value, and everything that is wrong with them is told at once."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import request
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import HttpCheck, TcpCheck
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import Problems, SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Overrides

_MODULE = Path(__file__).parents[3] / "plugins" / "modules" / "compose_rollout.py"


def _defaults() -> dict[str, Any]:
    """The parameters as Ansible fills them in when a task gives none."""
    for node in ast.walk(ast.parse(_MODULE.read_text("utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "argument_spec":
            spec = ast.literal_eval(node.value)
            return {name: option.get("default") for name, option in spec.items()}
    raise AssertionError("the module has no argument_spec")


def read(source: Path | str, check_mode: bool = False, **params: Any) -> tuple[request.Request, list[str]]:
    problems = Problems()
    made = request.read({**_defaults(), "project_src": str(source), **params}, check_mode, problems)
    try:
        problems.settle(SpecError)
    except SpecError as error:
        return made, str(error).split("; ")
    return made, []


def test_nothing_but_the_project_is_needed(tmp_path: Path) -> None:
    made, problems = read(tmp_path)
    assert not problems
    assert made.overrides == Overrides()
    assert (made.pull, made.build, made.services, made.final_checks) == ("policy", "policy", (), ())
    assert made.definition is None
    assert made.installed == tmp_path / "compose.yaml"


def test_files_are_found_from_the_project_s_directory(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    (tmp_path / "b.env").touch()
    made, problems = read(tmp_path, files=["a.yaml"], env_files=[str(tmp_path / "b.env")])
    assert not problems
    assert made.files == (str(tmp_path / "a.yaml"),)
    assert made.env_files == (str(tmp_path / "b.env"),)


def test_a_dictionary_is_a_compose_file(tmp_path: Path) -> None:
    made, problems = read(tmp_path, definition={"services": {"web": {"image": "shop"}}})
    assert not problems
    assert made.definition == "services:\n  web:\n    image: shop\n"
    assert read(tmp_path, definition="# mine\nservices: {}\n")[0].definition == "# mine\nservices: {}\n"


def test_all_that_is_wrong_is_told_at_once_and_reads_as_if_it_were_not_given(tmp_path: Path) -> None:
    made, problems = read(
        tmp_path,
        stable=-1.0,
        timeout=float("nan"),
        parallelism=-2,
        lock_timeout=float("inf"),
        final_checks=[{"http": {"url": "nowhere"}}],
        canary_time=5.0,
    )
    assert made.overrides == Overrides(canary_time=5.0)
    assert made.final_checks == ()
    told = "\n".join(problems)
    for words in ("stable: -1.0", "timeout: nan", "parallelism: -2", "lock_timeout: inf", "final_checks[0].http.url"):
        assert words in told
    assert "canary_time: " in told
    assert "canary: 1 or more" in told


def test_what_keeps_the_project_from_being_looked_at_is_told_together_with_the_rest(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        read(tmp_path / "gone", files=["a.yaml"], env_files=["b.env"], definition=7, log_lines=-1)
    for words in ("project_src: ", "files: ", "a.yaml", "env_files: ", "b.env", "definition: ", "log_lines: -1"):
        assert words in str(refused.value)


def test_a_directory_is_no_compose_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"files: .* is no file"):
        read(tmp_path, files=["."])


def test_a_check_may_come_before_what_makes_the_directory(tmp_path: Path) -> None:
    made, problems = read(tmp_path / "later", check_mode=True, definition="services: {}")
    assert not problems
    assert made.check_mode
    with pytest.raises(SpecError, match="project_src"):
        read(tmp_path / "later", check_mode=False, definition="services: {}")


def test_final_checks_are_read(tmp_path: Path) -> None:
    made, problems = read(
        tmp_path,
        final_checks=[{"http": {"url": "http://127.0.0.1:8283/"}}, {"tcp": {"host": "127.0.0.1", "port": 5432}}],
    )
    assert not problems
    assert made.final_checks == (HttpCheck(url="http://127.0.0.1:8283/"), TcpCheck(host="127.0.0.1", port=5432))


def test_a_service_named_twice_is_one(tmp_path: Path) -> None:
    assert read(tmp_path, services=["web", "db", "web"])[0].services == ("web", "db")


@given(
    st.fixed_dictionaries(
        {
            "parallelism": st.none() | st.integers(),
            "canary": st.none() | st.integers(),
            "timeout": st.none() | st.floats(),
            "stable": st.none() | st.floats(),
            "canary_time": st.none() | st.floats(),
        }
    )
)
def test_no_number_below_zero_or_without_end_gets_through(numbers: dict[str, Any]) -> None:
    made, problems = read("/", **numbers)
    for name, value in numbers.items():
        good = value is None or 0 <= value < float("inf")
        assert getattr(made.overrides, name) == (value if good else None)
        assert good != any(problem.startswith(f"{name}: {value} ") for problem in problems)
