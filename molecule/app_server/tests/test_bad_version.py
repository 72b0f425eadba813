"""A version that dies at start never gets a connection and never stays."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def attempt(stack, agent):
    """The run that tries the bad version."""
    stack.wait_until_healthy()
    before = stack.container("app_server")
    return {"run": stack.deploy(letta_images_app_server="agentfleet/letta-app-server:0.34.13"), "before": before}


def test_the_run_fails_and_says_what_failed_and_why(attempt):
    said = attempt["run"].said
    assert not attempt["run"].succeeded, said
    assert "app_server" in said, said
    assert "this version of the App Server is broken on purpose" in said, said
    assert "rolled_back" in said, said


def test_the_old_server_runs_again_and_the_bad_one_is_gone(stack, attempt):
    assert stack.container("app_server") == attempt["before"]
    assert stack.image("app_server") == "agentfleet/letta-app-server:0.34.12"
    assert "0.34.13" not in stack.host.run("docker", "ps", "--all", "--format", "{{.Image}}")


def test_a_client_finds_its_agent_as_before(stack, attempt, agent):
    assert attempt
    assert stack.healthy()
    assert agent["agent_id"] in stack.agents()
