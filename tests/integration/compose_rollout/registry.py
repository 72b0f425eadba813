# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry on this machine, and repositories of a project in it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from . import debian
from .project import PATIENCE

_CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True)
class Registry:
    """What answers at `address`, host and port."""

    address: str
    engine: docker.DockerClient

    def publish(self, name: str, level: str) -> str:
        """Let the tag 1 of a repository name a new image, on the registry alone; gives the reference."""
        repository = f"{self.address}/{name}"
        reference = f"{repository}:1"
        known = self._id_of(reference)
        source = self.engine.api.create_container(debian.IMAGE)["Id"]
        try:
            self.engine.api.commit(source, repository=repository, tag="1", changes=[f"ENV LEVEL={level}"])
        finally:
            self.engine.api.remove_container(source)
        for line in self.engine.images.push(repository, "1", stream=True, decode=True):
            assert "error" not in line, line
        self.engine.images.remove(reference, noprune=True)
        if known:
            self.engine.api.tag(known, repository, "1")
        return reference

    def _id_of(self, reference: str) -> str | None:
        try:
            return str(self.engine.images.get(reference).id)
        except docker.errors.ImageNotFound:
            return None

    def forget(self) -> None:
        """Leave no image of this registry on the engine."""
        for image in self.engine.images.list(all=True):
            names = [*image.tags, *image.attrs["RepoDigests"]]
            if any(name.startswith(self.address) for name in names):
                self.engine.images.remove(image.id, force=True)


@contextmanager
def running(engine: docker.DockerClient, cache: Path, folder: Path) -> Iterator[Registry]:
    """Run Debian's registry, unpacked and not installed."""
    binary = debian.unpacked("docker-registry", cache) / "usr/bin/docker-registry"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(directory=folder / "registry", port=port), encoding="utf-8")
    process = subprocess.Popen(
        [str(binary), "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    made = Registry(f"127.0.0.1:{port}", engine)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(port):
            assert process.poll() is None, "the registry does not start"
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.1)
        yield made
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)
        made.forget()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
