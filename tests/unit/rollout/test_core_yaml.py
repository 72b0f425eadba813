# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose's YAML means to us what it means to Compose."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml

from . import samples

_TEXT = st.one_of(
    st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufeff"), max_size=12),
    # What some YAML takes for something else.
    st.from_regex(r"[-+.0-9xoeE_:~=<>yYnNtTfF]{1,8}", fullmatch=True),
    st.sampled_from(["on", "No", "yes", "null", "~", "=", "<<", "2026-01-01", "0899", "0o17", "1e3", ".inf", "1_0"]),
)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _TEXT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


def _without_extensions(config: dict[str, Any]) -> dict[str, Any]:
    services = {
        name: {key: value for key, value in service.items() if not key.startswith("x-")}
        for name, service in config["services"].items()
    }
    return {**config, "services": services}


def _as_in_json(value: Any) -> Any:
    """Compose's JSON writes what is empty as null, its YAML leaves it out."""
    if isinstance(value, dict):
        return {key: _as_in_json(item) for key, item in value.items() if item not in (None, {}, [])}
    return [_as_in_json(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ["shop", "traps"])
def test_compose_says_the_same_in_yaml_and_in_json(name: str) -> None:
    from_yaml = core_yaml.load(samples.text(f"{name}.config"))
    from_json = json.loads(samples.text(f"{name}.json"))
    # A service's extensions are in the YAML only, which is why that is what is read.
    assert _as_in_json(_without_extensions(from_yaml)) == _as_in_json(_without_extensions(from_json))


@given(_JSON)
def test_what_is_written_is_read_again(data: Any) -> None:
    assert core_yaml.load(core_yaml.dump(data)) == data


@given(_JSON)
def test_json_is_yaml(data: Any) -> None:
    assert core_yaml.load(json.dumps(data, ensure_ascii=False)) == data


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("=", "="),
        ("<<", "<<"),
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("0899", 899),
        ("0440", 440),
        ("0o17", 15),
        ("0x1F", 31),
        ("+1", 1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("TRUE", True),
        ("Null", None),
        ("", None),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(written: str, meant: Any) -> None:
    read = core_yaml.load(f"key: {written}")["key"]
    assert (type(read), read) == (type(meant), meant)


def test_a_merge_sign_is_a_key_like_any_other() -> None:
    assert core_yaml.load("{<<: {a: 1}, =: 2}") == {"<<": {"a": 1}, "=": 2}


@pytest.mark.parametrize("text", ["0899", "0o17", "1e3", "1_000", "on", "2026-01-01", "12:30:45", "~", "=", ""])
def test_text_that_some_yaml_takes_for_something_else_is_written_in_quotes(text: str) -> None:
    assert core_yaml.dump({"key": text}) == f"key: '{text}'\n"


def test_keys_keep_their_order() -> None:
    assert core_yaml.dump({"z": 1, "a": 2}) == "z: 1\na: 2\n"


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "{[1]: 2}", "a: !!python/object/apply:os.getcwd []"])
def test_what_is_no_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not valid YAML"):
        core_yaml.load(text)
