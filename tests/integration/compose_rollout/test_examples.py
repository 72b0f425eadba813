# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each example of the module's documentation does on a project that fits it what its name says, and then nothing."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT
from .debian import IMAGE
from .project import MODULE, Project, Result, healthcheck, service
from .registry import Registry, running

EXAMPLES: list[dict[str, Any]] = yaml.safe_load(importlib.import_module(MODULE).EXAMPLES)
NAME = "agentfleet.letta.compose_rollout"


@pytest.fixture
def registry(project: Project, engine: Any, cache: Path, tmp_path: Path) -> Iterator[Registry]:
    with running(engine, cache, tmp_path) as registry:
        yield registry
        # Images go after the containers that were made of them.
        project.remove()


@pytest.fixture
def shop(project: Project, registry: Registry, nginx: str, free_port: int, tmp_path: Path) -> dict[str, str]:
    """A project that every example fits; gives what stands in its place in the examples."""
    image = registry.publish("web", "1")
    pages = "mkdir /tmp/www; echo ok > /tmp/www/index.html; cd /tmp/www; httpd -f -p 8080"
    web = {**service(pages, ports=[f"127.0.0.1:{free_port}:8080"], depends_on=["db"]), "image": image}
    web["build"] = {"context": "."}
    db = {**becomes_healthy_soon(), "image": image}
    project.write({"web": web, "db": db})
    project.write({"web": {"environment": {"STAGE": "production"}}}, file="compose.production.yaml")
    (project.directory / "Dockerfile").write_text(f"FROM {IMAGE}\nENV LEVEL=2\n", encoding="utf-8")
    (project.directory / "upstreams").mkdir()
    shutil.copy(ROOT / "docs/examples/website/nginx.conf", project.directory)
    template = tmp_path / "play" / "templates" / "compose.yaml.j2"
    template.parent.mkdir(parents=True)
    shutil.copy(project.directory / "compose.yaml", template)
    return {
        "/srv/shop": str(project.directory),
        "127.0.0.1:8080": f"127.0.0.1:{free_port}",
        "shop/web:2": an_application(project),
        "nginx:1.30": nginx,
    }


def becomes_healthy_soon() -> dict[str, Any]:
    return service("touch /tmp/ready; sleep 1000", healthcheck=healthcheck())


def an_application(project: Project) -> str:
    """Make an image that answers at /health, and that has the wget which its healthcheck calls."""
    files = 'ln -s busybox /bin/wget; mkdir /www; echo \'{"status": "ok"}\' > /www/health'
    source = project.engine.containers.create(IMAGE, ["sh", "-c", files.replace("ln", "busybox ln")])
    try:
        source.start()
        assert source.wait()["StatusCode"] == 0
        source.commit(project.name, "web", changes=['CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]'])
    finally:
        source.remove()
    return f"{project.name}:web"


def carry_out(project: Project, example: dict[str, Any], places: dict[str, str], folder: Path) -> Result:
    """Run the example as a task of a play; only places and names are others."""
    text = json.dumps({**example, "register": "result"})
    for written, here in places.items():
        text = text.replace(written, here)
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    keep = {"ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(answer)}, "check_mode": False}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "module_defaults": {
            NAME: {"project_name": project.name, "state_dir": str(project.state), "stable": 0, "lock_timeout": 10}
        },
        "tasks": [json.loads(text), keep],
    }
    path = folder / "play.yml"
    path.write_text(json.dumps([play]), encoding="utf-8")
    argv = ["ansible-playbook", "--inventory", "localhost,", str(path)]
    finished = subprocess.run(argv, env=project.environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return Result(json.loads(answer.read_text("utf-8")), finished.stdout)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["name"]))
def test_an_example_works_as_it_stands(
    project: Project, shop: dict[str, str], example: dict[str, Any], tmp_path: Path
) -> None:
    only_planned = example.get("check_mode", False)

    first = carry_out(project, example, shop, tmp_path / "play")

    assert first["changed"] is True
    assert first["plan"]
    assert bool(project.containers()) is not only_planned
    if not only_planned:
        assert first["outcome"] == "deployed"
        before = project.ids()
        again = carry_out(project, example, shop, tmp_path / "play")
        assert again["outcome"] == "unchanged"
        assert again["changed"] is False
        assert project.ids() == before


def test_every_argument_that_an_example_uses_is_one_of_the_module_s() -> None:
    options = yaml.safe_load(importlib.import_module(MODULE).DOCUMENTATION)["options"]
    for example in EXAMPLES:
        assert set(example[NAME]) <= set(options)
