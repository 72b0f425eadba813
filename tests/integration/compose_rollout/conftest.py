# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""compose_rollout on the real engine: the module by itself, and by Ansible tasks on a local connection."""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import docker
import pytest

from . import debian
from .containers import Containers
from .project import Project, environment

ROOT = Path(__file__).resolve().parents[3]
INSTALLED = "installed"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "every_compose: runs with each Docker Compose version, not the installed one only"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "compose_version" in metafunc.fixturenames:
        every = metafunc.definition.get_closest_marker("every_compose")
        versions = [INSTALLED, debian.OLD_COMPOSE] if every else [INSTALLED]
        metafunc.parametrize("compose_version", versions, scope="session", ids="compose-{}".format)


@pytest.fixture(scope="session")
def cache() -> Path:
    path = ROOT / ".cache" / "integration"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place where Ansible, and Python, find this checkout as the collection."""
    path = tmp_path_factory.mktemp("collections")
    (path / "ansible_collections" / "agentfleet").mkdir(parents=True)
    (path / "ansible_collections" / "agentfleet" / "letta").symlink_to(ROOT)
    return path


@pytest.fixture(scope="session")
def engine(cache: Path) -> Iterator[docker.DockerClient]:
    with_image = docker.from_env()
    debian.ensure_image(with_image, cache)
    yield with_image
    with_image.close()


@pytest.fixture(scope="session")
def task_environment(compose_version: str, cache: Path, collections: Path) -> dict[str, str]:
    """The environment in which `docker compose` is the version under test."""
    docker_config = debian.old_compose(cache) if compose_version == debian.OLD_COMPOSE else None
    chosen = environment(ROOT, collections, docker_config)
    if docker_config:
        version = subprocess.run(
            ["docker", "compose", "version", "--short"], env=chosen, capture_output=True, text=True, check=True
        )
        assert version.stdout.strip().startswith(compose_version)
    return chosen


@pytest.fixture(scope="session")
def old_compose_environment(cache: Path, collections: Path) -> dict[str, str]:
    """The environment in which `docker compose` is the older version, whatever the test's own is."""
    return environment(ROOT, collections, debian.old_compose(cache))


@pytest.fixture(scope="session")
def new_project(
    engine: docker.DockerClient, task_environment: dict[str, str]
) -> Callable[[Path], AbstractContextManager[Project]]:
    """Gives an empty project in a folder, under a name of its own; nothing of it is left on the engine."""

    @contextmanager
    def new(folder: Path) -> Iterator[Project]:
        directory = folder / "project"
        directory.mkdir()
        made = Project(
            name=f"rollout-test-{secrets.token_hex(4)}",
            directory=directory,
            state=folder / "state",
            engine=engine,
            environment=task_environment,
        )
        try:
            yield made
        finally:
            made.remove()

    return new


@pytest.fixture
def project(new_project: Callable[[Path], AbstractContextManager[Project]], tmp_path: Path) -> Iterator[Project]:
    """An empty project of the test's own."""
    with new_project(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def nginx(bring: Callable[..., dict[str, str]]) -> str:
    """The image of the stack's nginx."""
    return bring("nginx")["nginx"]


@pytest.fixture
def containers(engine: docker.DockerClient) -> Iterator[Containers]:
    """Makes single containers; nothing of them is left on the engine."""
    made = Containers(engine)
    yield made
    made.remove()


@pytest.fixture
def free_port() -> int:
    """A port of this host that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
