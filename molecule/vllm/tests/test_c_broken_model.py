"""A model that says it is healthy and cannot complete never becomes the agents' model."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def attempt(stack, elm):
    """The run that tries the broken model, with what ran before."""
    before = {service: stack.container(service) for service in ("vllm", "letta_server")}
    return {"run": stack.deploy(letta_stack_vllm_model="/srv/models/hollow"), "before": before}


def test_the_run_fails_and_says_why(attempt):
    assert not attempt["run"].succeeded, attempt["run"].said
    said = attempt["run"].said
    assert "vllm: letta-vllm-" in said, said
    assert "completion" in said, said
    assert "rolled_back" in said, said


def test_the_model_of_before_serves_and_the_server_never_stopped(stack, attempt, elm):
    assert stack.container("vllm") == attempt["before"]["vllm"]
    assert stack.container("letta_server") == attempt["before"]["letta_server"]
    assert stack.handles() == {"vllm/elm"}
    before = stack.completions("elm")
    assert stack.answer(elm)
    assert stack.completions("elm") > before


def test_a_directory_without_a_model_is_refused_before_anything_is_touched(stack, attempt):
    run = stack.deploy(letta_stack_vllm_model="/srv/models/none")
    assert not run.succeeded
    assert (
        "letta_stack_vllm_model: /srv/models/none on the host must be a directory with a model's config.json"
        in run.said
    )
    assert stack.container("vllm") == attempt["before"]["vllm"]


def test_gpus_that_the_engine_does_not_have_are_refused(stack, attempt):
    run = stack.deploy(letta_stack_vllm_gpus="all")
    assert not run.succeeded
    assert "agentfleet/vllm-cpu:0.32.0 knows no GPU" in run.said
    assert stack.container("vllm") == attempt["before"]["vllm"]
