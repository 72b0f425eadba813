# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images serve as they are: those that are asked for, and built ones that are as good."""

from __future__ import annotations

import pytest


@pytest.fixture
def present(render):
    """Give what serves of an engine that has the built image of a service, and no other."""

    def function(service: str, **settings):
        recipe = render("letta_images", "{{ __letta_images_recipes }}")[service]
        given = {"letta_images_services": [service], **settings}
        contexts = render("letta_images", "{{ __letta_images_contexts }}", **given)
        labels = {"agentfleet.letta.context": contexts[recipe["context"]]}
        image = {"RepoTags": [recipe["name"]], "RepoDigests": [], "Config": {"Labels": labels}}
        return render("letta_images", "{{ __letta_images_present }}", __letta_images_info={"images": [image]}, **given)

    return function


@pytest.mark.parametrize("source", ["auto", "build", "load"])
def test_a_built_image_stands_in_for_upstream_s(present, source):
    assert present("redis", letta_images_source=source) == {"redis": "agentfleet/redis:8"}


@pytest.mark.parametrize("source", ["auto", "build", "load"])
def test_vllm_without_cuda_stands_in_for_nothing(present, source):
    cpu = "agentfleet/vllm-cpu:0.32.0"
    assert present("vllm", letta_images_source=source) == {}
    assert present("vllm", letta_images_source=source, letta_images_vllm=cpu) == {"vllm": cpu}
