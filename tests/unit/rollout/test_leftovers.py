# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another tool left half-changed has a name, a cause, and one command that mends it."""

from __future__ import annotations

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import leftovers

from .samples import container

_OLD = container(name="shop-web-1")
_NEW = container("created", name="f3ba4d771b59_shop-web-1")


def test_a_sound_project_has_none() -> None:
    sound = [_OLD, container("exited", name="shop-db-1"), container("restarting", name="f3ba4d771b5_shop-web-1")]
    assert leftovers.problems(sound) == ()


def test_the_new_container_of_an_interrupted_compose_goes_while_the_old_one_is_there() -> None:
    (problem,) = leftovers.problems([_OLD, _NEW])
    assert "was to take the place of shop-web-1" in problem
    assert "`docker rm --force f3ba4d771b59_shop-web-1`" in problem


def test_it_gets_its_name_when_the_old_one_is_gone() -> None:
    (problem,) = leftovers.problems([_NEW])
    assert "`docker rename f3ba4d771b59_shop-web-1 shop-web-1`" in problem


def test_what_the_engine_has_not_finished_removing_is_removed() -> None:
    stuck = [container(name="shop-db-1", status="removing"), container(name="shop-db-2", status="dead")]
    first, second = leftovers.problems([*stuck, _OLD])
    assert "`docker rm --force shop-db-1`" in first
    assert "removing" in first
    assert "`docker rm --force shop-db-2`" in second
    assert "dead" in second


def test_all_are_told_at_once() -> None:
    assert len(leftovers.problems([_OLD, _NEW, container(name="shop-db-1", status="dead")])) == 2
