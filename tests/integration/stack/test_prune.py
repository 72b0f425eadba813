# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of sources go on a real engine, but for those of the release before and of others."""

from __future__ import annotations

import io
import tarfile
import uuid
from typing import TYPE_CHECKING

import docker
import pytest

from tests.integration.stack.part import run_part

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def images() -> Iterator[dict[str, str]]:
    """Ids of images without content, by name: three of a source, one of them in use by a stranger, and another's."""
    engine, project = docker.from_env(), f"agentfleet-test-{uuid.uuid4().hex[:8]}"
    made = {}
    stranger = None
    try:
        for tag in ("before", "older", "used", "other"):
            label = f"agentfleet.letta.source={project}{'-2' if tag == 'other' else ''}"
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as archive:
                archive.addfile(tarfile.TarInfo(tag))
            engine.api.import_image_from_data(content.getvalue(), project, tag, changes=[f"LABEL {label}", "CMD x"])
            made[tag] = engine.images.get(f"{project}:{tag}").id
        stranger = engine.containers.create(f"{project}:used")
        yield {"project": project, **made}
    finally:
        if stranger is not None:
            stranger.remove()
        for image in engine.images.list(name=project):
            engine.images.remove(image.id, force=True)


def test_only_images_that_nobody_wants_are_removed(images, tmp_path):
    containers = [{"ImageID": images["before"]}]
    rc, said = run_part(
        tmp_path, "prune", letta_stack_project=images["project"], __letta_stack_engine={"containers": containers}
    )
    assert rc == 0, said
    left = {tag for image in docker.from_env().images.list(name=images["project"]) for tag in image.tags}
    assert left == {f"{images['project']}:{tag}" for tag in ("before", "used", "other")}
