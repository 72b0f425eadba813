# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands in a project: it is read, or refused in words; nothing else happens."""

from __future__ import annotations

import contextlib
import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import SpecError

from . import samples

_RECORDED = [
    core_yaml.load(samples.text(name))
    for name in ("front/2.40.3.config", "front/2.26.1.config", "shop.config", "implicit.config", "traps.config")
]
_WORDS = st.sampled_from(
    ["web", "proxy", "service:web", "service:", "on-failure:9", "80-90", "1m", "-1s", "/", "", "a '", "x-rollout", "$$"]
)
_SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 99999), st.just(10**400), st.floats(), _WORDS, st.text(max_size=3)
)
_VALUE = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.integers(), inner, max_size=3)
)
_KEYS = st.sampled_from(
    [
        "x-rollout",
        "post_start",
        "depends_on",
        "ports",
        "expose",
        "volumes",
        "deploy",
        "scale",
        "checks",
        "proxy",
        "restart",
    ]
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Each container of values in a document, with each key or index of it."""
    if not isinstance(value, (dict, list)):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


@st.composite
def _mutated(draw: st.DrawFn) -> Any:
    """A recorded project with some values replaced, taken out, or put in."""
    data = copy.deepcopy(draw(st.sampled_from(_RECORDED)))
    for _time in range(draw(st.integers(1, 3))):
        places = _places(data)
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["replace", "replace", "take out", "put in"]))
        if how == "take out":
            del holder[key]
        elif how == "put in" and isinstance(holder, dict):
            holder[draw(_KEYS | _WORDS | st.integers())] = draw(_VALUE)
        else:
            holder[key] = draw(_VALUE)
    return data


@given(_mutated())
def test_a_project_is_read_or_refused_in_words(data: Any) -> None:
    with contextlib.suppress(SpecError):
        project = spec.parse(core_yaml.dump(data))
        assert set(project.services) == set(data["services"])


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("name", None, "name: missing"),
        ("services.web.depends_on", ["db"], "services.web.depends_on: must be a mapping"),
        ("services.web.depends_on.db", None, "services.web.depends_on.db: must be a mapping"),
        ("services.web.ports", [8080], "services.web.ports[0]: must be a mapping"),
        ("services.web.ports", [{"target": "80"}], "services.web.ports[0].target: must be a whole number"),
        ("services.web.expose", [80], "services.web.expose[0]: must be text"),
        ("services.web.scale", True, "services.web.scale: must be a whole number"),
        ("services.web.deploy.replicas", 1.5, "services.web.deploy.replicas: must be a whole number"),
        ("services.web.read_only", "yes", "services.web.read_only: must be true or false"),
        ("services.web.volumes", ["/a:/a"], "services.web.volumes[0]: must be a mapping"),
        ("services.web.networks.front", "bridge", "services.web.networks.front: must be a mapping"),
        ("services.web.post_start", {}, "services.web.post_start: must be a list"),
        ("services.web", "nginx", "services.web: must be a mapping"),
        ("services.5", {}, "services.5: must be text as a key"),
        ("secrets.db_password.file", 5, "secrets.db_password.file: must be text"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_path(path: str, value: Any, problem: str) -> None:
    data = core_yaml.load(samples.text("shop.config"))
    *way, last = (int(key) if key.isdecimal() else key for key in path.split("."))
    holder = data
    for key in way:
        holder = holder[key]
    holder[last] = value
    with pytest.raises(SpecError, match=f"^{re.escape(problem)}$"):
        spec.parse(core_yaml.dump(data))


def test_a_key_without_a_value_is_one_that_is_not_there() -> None:
    empty = dict.fromkeys(("ports", "volumes", "deploy", "depends_on", "networks", "restart", "scale", "x-rollout"))
    assert samples.service(**empty) == samples.service()
