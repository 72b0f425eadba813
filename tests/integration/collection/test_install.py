# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built tarball, installed by ansible-galaxy on the oldest and the newest ansible-core that we support.

Each ansible-core lies in an environment of its own below .cache/, made from requirements/core.txt, whose pin depends on
the Python. community.docker comes from the ansible package of .venv: no Galaxy is asked.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py"))
ROLES = sorted(path.parents[1].name for path in (ROOT / "roles").glob("*/meta/main.yml"))


def run(command: list, **options) -> str:
    """The command's output; its errors are the failure's message."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def usable(python: str) -> bool:
    """Whether it runs (a version manager's shim may not) and can make an environment."""
    return subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0


def newest_python(minors: range) -> str:
    """The newest of these Pythons, on PATH or among pyenv's, switched on or not."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in reversed(minors):
        name = f"python3.{minor}"
        for python in [shutil.which(name), *map(str, pyenv.glob(f"3.{minor}.*/bin/{name}"))]:
            if python and usable(python):
                return python
    pytest.skip(f"no Python of 3.{minors.start} to 3.{minors.stop - 1} runs here")


@pytest.fixture(scope="session")
def tarball(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("built")
    run(["ansible-galaxy", "collection", "build", "--output-path", output], cwd=ROOT)
    (built,) = output.glob("agentfleet-letta-*.tar.gz")
    return built


@pytest.fixture(scope="session", params=[("2.19", range(11, 12)), ("2.21", range(12, 15))], ids=lambda param: param[0])
def core(request) -> Path:
    """The bin folder of an environment with that ansible-core and nothing else."""
    version, minors = request.param
    lock = ROOT / "requirements" / "core.txt"
    environment = ROOT / ".cache" / f"ansible-core-{version}"
    stamp = environment / "stamp"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != lock.read_text(encoding="utf-8"):
        run([newest_python(minors), "-m", "venv", "--clear", environment])
        run([environment / "bin" / "pip", "install", "-qq", "--require-hashes", "--requirement", lock])
        stamp.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")
    assert f"[core {version}." in run([environment / "bin" / "ansible", "--version"])
    return environment / "bin"


@pytest.fixture(scope="session")
def controller(core, tarball, tmp_path_factory):
    """Runs a program of ansible-core where the tarball is installed and the checkout is out of sight."""
    home = tmp_path_factory.mktemp("controller")
    ansible_package = importlib.util.find_spec("ansible_collections.community.docker").submodule_search_locations[0]
    environment = {
        "HOME": str(home),
        "PATH": f"{core}:/usr/bin:/bin",
        "ANSIBLE_COLLECTIONS_PATH": f"{home}:{Path(ansible_package).parents[2]}",
        "ANSIBLE_NOCOLOR": "true",
    }

    def program(name: str, *arguments: object) -> str:
        return run([core / name, *arguments], cwd=home, env=environment)

    program("ansible-galaxy", "collection", "install", "--offline", "--collections-path", home, tarball)
    return program


def test_the_tarball_holds_what_a_controller_uses_and_nothing_else(tarball):
    with tarfile.open(tarball) as archive:
        top = {name.split("/")[0] for name in archive.getnames()}
    allowed = {
        "CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md",
        "changelogs", "docs", "files", "inventories", "meta", "playbooks", "plugins", "requirements.yml", "roles",
    }  # fmt: skip
    assert top <= allowed, sorted(top - allowed)
    assert {"LICENSE", "MANIFEST.json", "README.md", "meta", "plugins", "roles", "playbooks"} <= top


def test_modules_are_documented(controller):
    names = [f"agentfleet.letta.{name}" for name in MODULES]
    assert names
    documents = json.loads(controller("ansible-doc", "--json", "--type", "module", *names))
    assert sorted(documents) == names


def test_roles_are_described(controller):
    listed = json.loads(controller("ansible-doc", "--json", "--type", "role", "--list"))
    assert {f"agentfleet.letta.{name}" for name in ROLES} <= set(listed)


def test_roles_and_modules_are_found_by_their_full_names(controller, tmp_path):
    play = {
        "name": "Everything by its full name",
        "hosts": "all",
        "roles": [{"role": f"agentfleet.letta.{name}"} for name in ROLES],
        "tasks": [{"name": name, f"agentfleet.letta.{name}": {}} for name in MODULES],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    controller("ansible-playbook", "--inventory", "host,", "--syntax-check", playbook)


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_playbooks_run_by_their_full_names(controller, playbook):
    controller("ansible-playbook", "--inventory", "host,", "--syntax-check", f"agentfleet.letta.{playbook}")
