# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of sources go on a real engine, but for those of the release before and of others."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
PLAY = """
- name: Prune
  hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Prune
      ansible.builtin.include_role:
        name: agentfleet.letta.letta_stack
        tasks_from: prune
"""


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
    play = tmp_path / "play.yml"
    play.write_text(PLAY, encoding="utf-8")
    variables = {
        "letta_stack_project": images["project"],
        "__letta_stack_engine": {"containers": [{"ImageID": images["before"]}]},
    }
    run = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-e", json.dumps(variables), play],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    left = {tag for image in docker.from_env().images.list(name=images["project"]) for tag in image.tags}
    assert left == {f"{images['project']}:{tag}" for tag in ("before", "used", "other")}
