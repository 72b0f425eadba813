# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file asks of the engine and of Compose, and what is said where these are too old (words as recorded)."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import versions

from . import samples


@pytest.mark.parametrize(
    ("config", "where", "engine", "api"),
    [
        (
            {"healthcheck": {"test": ["CMD", "true"], "start_interval": "1s"}},
            "healthcheck.start_interval",
            "25",
            (1, 44),
        ),
        ({"annotations": {"a": "b"}}, "annotations", "24", (1, 43)),
        ({"networks": {"back": {"mac_address": "02:42:ac:11:00:77"}}}, "networks.back.mac_address", "25", (1, 44)),
        ({"networks": {"back": {"gw_priority": 1}}}, "networks.back.gw_priority", "28", (1, 48)),
        ({"networks": {"back": {"interface_name": "eth7"}}}, "networks.back.interface_name", "28.1", (1, 49)),
        (
            {"volumes": [{"type": "volume", "source": "d", "target": "/d", "volume": {"subpath": "x"}}]},
            "volumes./d.volume.subpath",
            "26",
            (1, 45),
        ),
        ({"volumes": [{"type": "image", "source": "shop:1", "target": "/d"}]}, "volumes./d.type: image", "28", (1, 48)),
        (
            {"volumes": [{"type": "bind", "source": "/s", "target": "/d", "bind": {"recursive": "readonly"}}]},
            "volumes./d.bind.recursive",
            "25",
            (1, 44),
        ),
    ],
)
def test_a_key_that_needs_a_newer_engine_is_named(config: Any, where: str, engine: str, api: tuple[int, int]) -> None:
    service = samples.service(**config)
    (problem,) = versions.engine_problems([service], (1, 41))
    assert problem == (
        f"services.web.{where}: needs Docker Engine {engine} or later (API {api[0]}.{api[1]}); this host's has API 1.41"
    )
    assert versions.engine_problems([service], (api[0], api[1] - 1))
    assert not versions.engine_problems([service], api)


def test_what_every_engine_knows_needs_none_in_particular() -> None:
    service = samples.service(
        healthcheck={"test": ["CMD", "true"], "interval": "1s"},
        networks={"default": None, "back": {"aliases": ["a"]}},
        volumes=[{"type": "bind", "source": "/s", "target": "/d", "bind": {"create_host_path": True}}],
    )
    assert not versions.engine_problems([service], (1, 24))


@pytest.mark.parametrize(
    ("words", "version", "told"),
    [
        (
            "validating /srv/compose.yaml: services.web Additional property use_api_socket is not allowed",
            (2, 26, 1),
            "use_api_socket is misspelt, in the wrong place, or too new for this host's Docker Compose 2.26.1",
        ),
        (
            "validating /srv/a.yaml: services.web.networks.default Additional property interface_name is not allowed",
            (2, 26, 1),
            "interface_name needs Docker Compose 2.36 or later; this host's is 2.26.1",
        ),
        (
            "validating /srv/compose.yaml: (root) Additional property models is not allowed",
            (2, 37, 3),
            "models needs Docker Compose 2.38 or later; this host's is 2.37.3",
        ),
        (
            "validating /srv/compose.yaml: services.web additional properties 'comand' not allowed",
            (2, 40, 3),
            "comand is misspelt, in the wrong place, or too new for this host's Docker Compose 2.40.3",
        ),
        (
            "validating /srv/a.yaml: services.web.networks.default additional properties 'post_start' not allowed",
            (2, 40, 3),
            "post_start is misspelt, in the wrong place, or too new for this host's Docker Compose 2.40.3",
        ),
    ],
)
def test_a_key_that_compose_does_not_allow_is_explained(words: str, version: tuple[int, ...], told: str) -> None:
    assert versions.unknown_key(words, version) == f" ({told})"


def test_other_words_of_compose_stand_for_themselves() -> None:
    assert (
        versions.unknown_key('service "web" depends on undefined service "x": invalid compose project', (2, 26)) == ""
    )


def test_a_compose_that_was_not_tried_is_warned_of() -> None:
    assert versions.compose_warning((2, 26, 1)) is None
    assert versions.compose_warning((2, 99, 0)) is None
    assert "Docker Compose 5.0.1 is newer" in str(versions.compose_warning((5, 0, 1)))
