# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to run, as Compose says, and all that is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, target
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import ComposeError, Problems, SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Overrides
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.request import Request

PROJECT = {"name": "shop", "services": {"db": {"image": "db:1"}, "web": {"image": "web:1", "depends_on": {"db": {}}}}}


class Compose:
    """Answers with a project, or refuses it."""

    def __init__(self, project: Any = None, refusal: str = "", version: tuple[int, ...] = (2, 26, 1)) -> None:
        self._project, self._refusal, self._version = project or PROJECT, refusal, version

    def config(self) -> str:
        if self._refusal:
            raise ComposeError(self._refusal)
        return core_yaml.dump(self._project)

    def version(self) -> tuple[int, ...]:
        if self._version < (2, 24):
            raise ComposeError("Docker Compose is too old")
        return self._version

    def declared_services(self) -> set[str]:
        return {*self._project["services"], "debugger"}

    def hashes(self, _config: str) -> dict[str, str]:
        return {name: f"hash of {name}" for name in self._project["services"]}


def read(compose: Compose, *services: str, problems: Problems | None = None) -> target.Target:
    asked = Request(
        project_src="/srv/shop",
        project_name="",
        definition=None,
        files=(),
        env_files=(),
        profiles=(),
        services=services,
        pull="policy",
        build="policy",
        remove_orphans=False,
        overrides=Overrides(stable=1.0),
        final_checks=(),
        lock_timeout=0.0,
        log_lines=0,
        state_dir="/var/lib",
        docker_cli="",
        check_mode=False,
    )
    return target.read(asked, compose, problems or Problems())  # type: ignore[arg-type]


def test_the_whole_project_is_selected_where_no_services_are_named() -> None:
    wanted = read(Compose())
    assert wanted.selected == {"db", "web"}
    assert [service.name for service in wanted.services] == ["db", "web"]
    assert wanted.project.services["web"].policy.stable == 1.0
    assert wanted.hashes["web"] == "hash of web"


def test_a_part_is_what_was_named_and_what_it_needs() -> None:
    assert read(Compose(), "db").selected == {"db"}
    assert [service.name for service in read(Compose(), "web").services] == ["db", "web"]


def test_what_is_wrong_is_told_together_with_what_was_wrong_before() -> None:
    problems = Problems()
    problems.add("stable: -1")
    with pytest.raises(SpecError) as refused:
        read(Compose({"name": "shop", "services": {"web": {"x-rollout": {"stabel": 1}}}}), problems=problems)
    assert str(refused.value).startswith("stable: -1; services.web.x-rollout.stabel")
    with pytest.raises(SpecError, match="no service wbe"):
        read(Compose(), "wbe")


def test_a_file_that_compose_refuses_is_refused_in_its_words_and_explained() -> None:
    words = "services.web Additional property models is not allowed"
    with pytest.raises(SpecError) as refused:
        read(Compose(refusal=words))
    assert str(refused.value) == f"{words} (models needs Docker Compose 2.38 or later; this host's is 2.26.1)"


def test_a_compose_that_is_too_old_is_said_to_be() -> None:
    with pytest.raises(ComposeError, match="too old"):
        read(Compose(refusal="unknown flag", version=(2, 1)))
