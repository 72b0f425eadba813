"""A version whose server dies at start never takes traffic and never stays."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
from collections import Counter

import pytest
import requests


@pytest.fixture(scope="module")
def attempt(stack, agent):
    """The run that tries the bad version, with what a client saw meanwhile."""
    stack.wait_until_healthy()
    before = stack.container("letta_server")
    seen, stop = Counter(), threading.Event()
    url, headers = f"{stack.url}/v1/agents/{agent.id}", {"Authorization": f"Bearer {stack.password}"}

    def poll():
        while not stop.wait(0.1):
            try:
                seen[requests.get(url, headers=headers, timeout=10).status_code] += 1
            except requests.RequestException as error:
                seen[type(error).__name__] += 1

    client = threading.Thread(target=poll)
    client.start()
    try:
        run = stack.deploy(letta_images_server="letta/letta:0.16.9")
    finally:
        stop.set()
        client.join()
    return {"run": run, "seen": seen, "before": before}


def test_the_run_fails(attempt):
    assert not attempt["run"].succeeded, attempt["run"].said


def test_it_says_what_failed_and_why(attempt):
    said = attempt["run"].said
    assert "letta_server" in said, said
    assert "this version of Letta is broken on purpose" in said, said
    assert "rolled_back" in said, said


def test_the_old_server_answered_throughout(attempt):
    assert set(attempt["seen"]) == {200}, attempt["seen"]
    assert attempt["seen"][200] > 20, attempt["seen"]


def test_the_old_server_runs_and_the_bad_one_is_gone(stack, attempt):
    assert stack.container("letta_server") == attempt["before"]
    assert stack.image("letta_server") == "letta/letta:0.16.8"
    assert "0.16.9" not in stack.host.run("docker", "ps", "--all", "--format", "{{.Image}}")
