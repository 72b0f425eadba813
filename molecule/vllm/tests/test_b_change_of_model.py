"""The model changes there and back and there again: handles and agents of both stay usable while theirs is served."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def changed(stack, oak):
    """The stack after its model became another one, with what ran before."""
    assert stack.answer(oak)
    before = {service: stack.container(service) for service in ("letta_db", "nginx", "vllm", "letta_server")}
    deployed = stack.deploy(letta_stack_vllm_model="/srv/models/elm")
    assert deployed.succeeded, deployed.said
    return before


@pytest.fixture(scope="module")
def back(stack, changed, elm):
    """The stack after its first model came back."""
    assert stack.answer(elm)
    deployed = stack.deploy()
    assert deployed.succeeded, deployed.said


def test_vllm_and_the_server_are_replaced_and_nothing_else(stack, changed):
    assert stack.container("vllm") != changed["vllm"]
    assert stack.container("letta_server") != changed["letta_server"]
    assert stack.container("letta_db") == changed["letta_db"]
    assert stack.container("nginx") == changed["nginx"]


def test_the_other_model_is_offered_and_answers(stack, changed, elm):
    assert stack.handles() == {"vllm/elm"}
    before = stack.completions("elm")
    assert stack.answer(elm)
    assert stack.completions("elm") > before


def test_the_first_model_is_offered_again_and_its_agent_answers(stack, back, oak):
    assert stack.handles() == {"vllm/oak"}
    before = stack.completions("oak")
    assert stack.answer(oak)
    assert stack.completions("oak") > before


def test_a_new_agent_of_the_first_model_can_be_made(stack, back):
    assert stack.answer(stack.make_agent("again", "oak"))


def test_the_second_model_comes_back_too_and_an_agent_follows_a_shorter_context(stack, back, elm, oak):
    deployed = stack.deploy(letta_stack_vllm_model="/srv/models/elm", letta_stack_vllm_context=12288)
    assert deployed.succeeded, deployed.said
    assert stack.handles() == {"vllm/elm"}
    assert stack.answer(elm)
    assert stack.client.agents.retrieve(elm).llm_config.context_window == 12288
    # The other model's agent waits for its own.
    assert stack.client.agents.retrieve(oak).llm_config.context_window == 16384
