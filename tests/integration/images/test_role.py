# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role letta_images against a real engine."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..conftest import RoleRun

REGISTRY = Path(__file__).resolve().parents[3] / ".cache/docker-registry"
REGISTRY_CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def asked_for(images: dict[str, str], **others: object) -> dict[str, object]:
    """Variables that ask for the built images under their own names, but for some."""
    return {**{f"letta_images_{service}": reference for service, reference in images.items()}, **others}


def in_one_line(run: RoleRun) -> str:
    """What the run said, without the line breaks of Ansible's output."""
    return " ".join(run.output.split())


def test_a_second_run_changes_nothing(
    run_role: Callable[..., RoleRun], images: dict[str, str], engine: docker.DockerClient, tmp_path: Path
) -> None:
    variables = {"letta_images_source": "build", "letta_images_directory": str(tmp_path)}
    recorded = run_role(**variables)
    assert recorded.rc == 0, recorded.output
    record = json.loads((tmp_path / "images.json").read_text())
    assert {service: image["reference"] for service, image in record.items()} == images
    assert record["db"]["id"] == engine.images.get(images["db"]).id

    for arguments in ((), ("--check",)):
        again = run_role(*arguments, **variables)
        assert again.rc == 0, again.output
        assert again.changed == 0
        assert again.resolved == images


def test_built_images_stand_in_where_upstream_is_asked_for(
    run_role: Callable[..., RoleRun], images: dict[str, str], engine: docker.DockerClient
) -> None:
    if engine.images.list(name="letta/letta:0.16.8"):
        pytest.skip("the upstream images are on this machine")
    run = run_role(letta_images_source="auto")
    assert run.rc == 0, run.output
    assert run.resolved == images


def test_check_mode_predicts_a_rebuild(run_role: Callable[..., RoleRun], images: dict[str, str]) -> None:
    run = run_role("--check", letta_images_source="build", letta_images_rebuild=True)
    assert run.rc == 0, run.output
    assert run.changed > 0
    assert "Would build agentfleet/redis:8" in run.output
    assert run.resolved == images


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"letta_images_source": "build", "letta_images_server": "letta/letta:0.1"}, "has no recipe for"),
        ({"letta_images_server": "letta/letta"}, "names neither a tag nor a digest"),
        ({"letta_images_source": "load"}, "names no archive on the host"),
        # Port 9 answers nothing: no registry, and no recipe to fall back on.
        ({"letta_images_redis": "127.0.0.1:9/redis:1"}, "127.0.0.1:9/redis:1 cannot be pulled"),
        ({"letta_images_source": "pull", "letta_images_redis": "127.0.0.1:9/redis:1"}, "reach the registry"),
    ],
)
def test_refuses_with_the_next_step(
    run_role: Callable[..., RoleRun], images: dict[str, str], variables: dict[str, str], message: str
) -> None:
    run = run_role(**asked_for(images, **variables))
    assert run.rc != 0
    assert message in in_one_line(run)


@pytest.fixture
def archive(engine: docker.DockerClient, images: dict[str, str], prefix: str, tmp_path: Path) -> Iterator[Path]:
    """An archive with an image that the engine does not have: PREFIX/redis:1."""
    name = f"{prefix}/redis"
    engine.images.get(images["redis"]).tag(name, "1")
    path = tmp_path / "redis.tar"
    with path.open("wb") as file:
        for chunk in engine.images.get(f"{name}:1").save(named=f"{name}:1"):
            file.write(chunk)
    engine.images.remove(f"{name}:1", noprune=True)
    yield path
    if engine.images.list(name=f"{name}:1"):
        engine.images.remove(f"{name}:1", noprune=True)


def test_loads_what_is_missing_from_archives(
    run_role: Callable[..., RoleRun], images: dict[str, str], archive: Path, prefix: str
) -> None:
    variables = asked_for(
        images,
        letta_images_source="load",
        letta_images_redis=f"{prefix}/redis:1",
        letta_images_archives=[str(archive)],
    )
    wanted = {**images, "redis": f"{prefix}/redis:1"}
    predicted = run_role("--check", **variables)
    assert predicted.rc == 0, predicted.output
    assert predicted.changed > 0
    assert predicted.resolved == wanted

    loaded = run_role(**variables)
    assert loaded.rc == 0, loaded.output
    assert loaded.changed > 0
    assert loaded.resolved == wanted

    again = run_role(**variables)
    assert again.rc == 0, again.output
    assert again.changed == 0


def test_an_archive_that_lacks_the_image_is_named(
    run_role: Callable[..., RoleRun], images: dict[str, str], archive: Path, prefix: str
) -> None:
    run = run_role(
        **asked_for(
            images,
            letta_images_source="load",
            letta_images_nginx=f"{prefix}/nginx:1",
            letta_images_archives=[str(archive)],
        )
    )
    assert run.rc != 0
    assert f"holds {prefix}/nginx:1" in in_one_line(run)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry on this machine: Debian's, unpacked and not installed."""
    binary = REGISTRY / "usr/bin/docker-registry"
    if not binary.exists():
        REGISTRY.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-q", "download", "docker-registry"], cwd=tmp_path, check=True)
        (package,) = tmp_path.glob("docker-registry_*.deb")
        subprocess.run(["dpkg-deb", "--extract", str(package), str(REGISTRY)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(REGISTRY_CONFIG.format(directory=tmp_path / "registry", port=port))
    process = subprocess.Popen([str(binary), "serve", str(config)])
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def published(engine: docker.DockerClient, images: dict[str, str], registry: str) -> Iterator[str]:
    """An image that the registry has and the engine has not, and its digest."""
    name = f"{registry}/redis"
    engine.images.get(images["redis"]).tag(name, "1")
    for line in engine.images.push(name, "1", stream=True, decode=True):
        assert "error" not in line, line
    (digest,) = (entry for entry in engine.images.get(f"{name}:1").attrs["RepoDigests"] if entry.startswith(name))
    engine.images.remove(f"{name}:1", noprune=True)
    yield str(digest)
    for image in engine.images.list(name=name):
        for reference in [*image.tags, *image.attrs["RepoDigests"]]:
            if reference.startswith(name):
                # An image's digest goes with its last tag.
                with contextlib.suppress(docker.errors.ImageNotFound):
                    engine.images.remove(reference, noprune=True)


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_pulls_what_is_missing(
    run_role: Callable[..., RoleRun], images: dict[str, str], registry: str, published: str, by: str
) -> None:
    reference = f"{registry}/redis:1" if by == "tag" else published
    variables = asked_for(images, letta_images_source="pull", letta_images_redis=reference)
    wanted = {**images, "redis": reference}
    for arguments, changes in ((("--check",), True), ((), True), ((), False), (("--check",), False)):
        run = run_role(*arguments, **variables)
        assert run.rc == 0, run.output
        assert (run.changed > 0) == changes, run.output
        assert run.resolved == wanted


def test_a_registry_that_says_no_is_not_built_around(
    run_role: Callable[..., RoleRun], images: dict[str, str], registry: str, published: str
) -> None:
    run = run_role(**asked_for(images, letta_images_redis=f"{registry}/redis:2"))
    assert run.rc != 0
    assert f"{registry}/redis:2 cannot be pulled" in in_one_line(run)
    assert "The registry answered: check letta_images_redis" in in_one_line(run)
