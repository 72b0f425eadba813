"""The stack does without a model of its own for a while, and gets it back: its agents are there throughout."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

# An operator takes the model out of the inventory.
WITHOUT = {"letta_stack_variant": "production", "letta_stack_vllm_model": ""}


def test_production_keeps_the_agents(stack, oak):
    database = stack.container("letta_db")
    run = stack.deploy(**WITHOUT)
    assert run.succeeded, run.said
    assert set(stack.containers()) == {"letta_db", "redis", "letta_server", "nginx"}
    assert stack.container("letta_db") == database
    assert oak in [agent.id for agent in stack.client.agents.list()]


def test_the_model_comes_back_and_the_agent_answers(stack, oak):
    run = stack.deploy()
    assert run.succeeded, run.said
    assert stack.handles() == {"vllm/oak"}
    before = stack.completions("oak")
    assert stack.answer(oak)
    assert stack.completions("oak") > before
