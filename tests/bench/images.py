# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that the benches run: nginx as the stack has it, and the tests' web application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import docker

ROOT = Path(__file__).resolve().parents[2]
WEB = "agentfleet-test/web:1"
_NGINX = ("agentfleet/nginx:1.30", "nginx:1.30")
# Made here where no registry answers, else Docker Hub's.
_DEBIAN = ("agentfleet/debian:trixie", "debian:trixie-slim")

_PLAY = [
    {
        "name": "Bring the images of the stack",
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [{"name": "Bring them", "ansible.builtin.include_role": {"name": "agentfleet.letta.letta_images"}}],
    }
]


def ensure(engine: docker.DockerClient, scratch: Path) -> dict[str, str]:
    """Put the images on the engine where they are missing. Gives their references: web, nginx."""
    if not _first(engine, _NGINX):
        print("bringing the images of the stack (minutes, once)", flush=True)
        play = scratch / "images.yml"
        play.write_text(json.dumps(_PLAY), encoding="utf-8")
        # The inventory of this machine, which says how images are built here.
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), str(play)]
        subprocess.run(argv, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, check=True)
    # An unchanged recipe costs nothing: each step comes from the engine's cache.
    engine.images.build(
        path=str(ROOT / "tests" / "hosts" / "images" / "web"),
        tag=WEB,
        rm=True,
        buildargs={"BASE": _first(engine, _DEBIAN) or _DEBIAN[-1]},
    )
    return {"web": WEB, "nginx": _first(engine, _NGINX) or _NGINX[-1]}


def _first(engine: docker.DockerClient, references: tuple[str, ...]) -> str:
    for reference in references:
        try:
            engine.images.get(reference)
        except docker.errors.ImageNotFound:
            continue
        return reference
    return ""
