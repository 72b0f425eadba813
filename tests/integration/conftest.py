# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack's images, built by the role where they are missing."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.play import ROOT, run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE = ROOT / ".cache" / "integration"
# The services of the production stack.
STACK = frozenset({"server", "db", "redis", "nginx"})
# vLLM for a machine without a GPU, which this collection has a recipe for: the role's default can only be pulled.
VLLM = "agentfleet/vllm-cpu:0.32.0"

# Tests run side by side, a file at a time, so the files that take minutes are not to begin last. On a new machine the
# first two build the images, which others then wait for: two that need none go with them.
FIRST = (
    "test_production.py",
    "test_every_image.py",
    "test_five_services.py",
    "test_swarm_cases.py",
    "test_ancestors.py",
    "test_role.py",
    "test_letta_source.py",
)

TASKS = [
    {"name": "Bring the images", "ansible.builtin.include_role": {"name": "agentfleet.letta.letta_images"}},
    {
        "name": "Hand over what the role says",
        "ansible.builtin.copy": {
            "content": "{{ letta_images_resolved | to_json }}",
            "dest": "{{ test_result }}",
            "mode": "0600",
        },
        "changed_when": False,
        "check_mode": False,
    },
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those files first."""
    items.sort(key=lambda item: (*FIRST, item.path.name).index(item.path.name))


@dataclasses.dataclass(frozen=True)
class RoleRun:
    """What a run of the role came to."""

    rc: int
    output: str
    resolved: dict[str, str] | None

    @property
    def changed(self) -> int:
        """How many tasks reported a change."""
        recap = self.output[self.output.rindex("PLAY RECAP") :]
        return int(recap.split("changed=")[1].split()[0])


@pytest.fixture(scope="session")
def run_role(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RoleRun]:
    """Run letta_images on this machine: run_role("--check", letta_images_source="build")."""
    directory = tmp_path_factory.mktemp("role")

    def run(*arguments: str, **variables: Any) -> RoleRun:
        result = directory / f"{uuid.uuid4().hex}.json"
        values = {
            "letta_images_directory": str(directory / "var"),
            "test_result": str(result),
            **variables,
        }
        done = run_tasks(directory, TASKS, values, *arguments)
        resolved = json.loads(result.read_text()) if result.exists() else None
        return RoleRun(done.returncode, done.stdout + done.stderr, resolved)

    return run


@pytest.fixture(scope="session")
def bring(run_role: Callable[..., RoleRun]) -> Callable[..., dict[str, str]]:
    """Have the role build these images where they are missing: bring("nginx") gives their references."""

    def brought(*services: str) -> dict[str, str]:
        CACHE.mkdir(parents=True, exist_ok=True)
        # Tests run side by side, and one build is enough. Nobody waits for another variant's, which take longest.
        with (CACHE / f"images.{'stack' if STACK.issuperset(services) else 'variants'}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run = run_role(letta_images_source="build", letta_images_services=services, letta_images_vllm=VLLM)
        assert run.rc == 0, run.output
        assert run.resolved is not None
        return run.resolved

    return brought


@pytest.fixture(scope="session")
def images(bring: Callable[..., dict[str, str]]) -> dict[str, str]:
    """References of the images of the production stack: server, db, redis, nginx."""
    return bring(*sorted(STACK))
