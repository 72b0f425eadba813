# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host beneath the stack: prepared by the first deployment and left alone by the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

INSTALLING = "Install Docker Engine and what the collection's modules need on the host"


def test_what_the_deployment_prepared_needs_nothing_more(stack: Stack) -> None:
    run = stack.play("provision")
    assert run.succeeded, run.said
    assert INSTALLING in run.said
    assert run.changed == 0


def test_a_deployment_prepares_a_host_that_is_to_be_another_one_and_no_other(stack: Stack) -> None:
    same = stack.deploy("--check")
    assert same.succeeded, same.said
    assert INSTALLING not in same.said
    other = stack.deploy("--check", docker_host_daemon_config={"shutdown-timeout": 20})
    assert other.succeeded, other.said
    assert INSTALLING in other.said
