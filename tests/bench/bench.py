# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every row of the benches works with, and under which conditions it was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker
import yaml

from tests.integration.compose_rollout import debian
from tests.integration.compose_rollout.project import environment

from . import images
from .project import Project

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "bench"


@dataclass(frozen=True)
class Bench:
    """A scratch folder, the engine, the images on it, and the environment that tools run in."""

    scratch: Path
    engine: docker.DockerClient
    images: dict[str, str]
    environment: dict[str, str]

    def project(self) -> Project:
        """Give a new project, with nothing in it yet."""
        return Project.make(self.scratch, self.environment, self.engine)

    def say(self, line: str) -> None:
        print(line, flush=True)


@contextmanager
def opened() -> Iterator[Bench]:
    """Give a bench whose images are there; its scratch folder goes with it."""
    with TemporaryDirectory(prefix="bench-") as folder:
        scratch = Path(folder)
        # A proxy's user reads what is mounted from below.
        scratch.chmod(0o755)
        (scratch / "ansible_collections" / "agentfleet").mkdir(parents=True)
        (scratch / "ansible_collections" / "agentfleet" / "letta").symlink_to(ROOT)
        engine = docker.from_env(timeout=120)
        debian.ensure_image(engine, ROOT / ".cache" / "integration")
        tools = {
            **environment(ROOT, scratch, None),
            # Modules keep their bytecode, as on a host.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(CACHE / "pycache"),
        }
        yield Bench(scratch, engine, images.ensure(engine, scratch), tools)
        engine.close()


def conditions(versions: dict[str, str], runs: int) -> dict[str, Any]:
    """Say when, on what and with which versions a row is measured; before it is."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "runs": runs,
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def versions(bench: Bench) -> dict[str, str]:
    """Give the versions of all that takes part; before results are written, which change the checkout."""
    return {
        "agentfleet.letta": str(_yaml(ROOT / "galaxy.yml")["version"]),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"),
        "engine": str(bench.engine.version()["Version"]),
        "compose": _output("docker", "compose", "version", "--short"),
        "nginx": _nginx(bench),
        "ansible-core": metadata.version("ansible-core"),
        "community.docker": _community_docker(),
        "docker SDK": metadata.version("docker"),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def _output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _nginx(bench: Bench) -> str:
    said = bench.engine.containers.run(bench.images["nginx"], ["nginx", "-v"], remove=True, stderr=True)
    return str(said.decode().strip().rpartition("/")[2])


def _community_docker() -> str:
    import ansible_collections  # noqa: PLC0415  Ansible's package of collections; nothing else here needs it

    for place in ansible_collections.__path__:
        manifest = Path(place) / "community" / "docker" / "MANIFEST.json"
        if manifest.is_file():
            return str(_yaml(manifest)["collection_info"]["version"])
    return "unknown"


def _yaml(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded
