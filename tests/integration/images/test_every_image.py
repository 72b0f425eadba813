# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for each built image: who it runs as, what it says of itself, and what is not in it."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker

USERS = {
    "server": "10001:10001",
    "db": "999:999",
    "redis": "999:999",
    "nginx": "101:101",
    "app_server": "10001:10001",
    "vllm": "2000:0",
}
STOP_SIGNALS = {"db": "SIGINT", "nginx": "SIGQUIT"}
HEALTH_CHECKED = {"db", "redis", "app_server"}
MEGABYTES = {"server": 1200, "db": 300, "redis": 120, "nginx": 120, "app_server": 700, "vllm": 2800}
SERVICES = sorted(USERS)
# Saving it takes minutes and its size on the disk: what is looked at is the files that a container sees.
TOO_LARGE_TO_SAVE = {"vllm"}


def files_of_layers(engine: docker.DockerClient, reference: str, archive: Path) -> Iterator[tuple[str, int]]:
    """Give paths and sizes of each layer's files, for a file that a later layer removes is still in the image."""
    with archive.open("wb") as file:
        for chunk in engine.images.get(reference).save():
            file.write(chunk)
    with tarfile.open(archive) as image:
        for layer in (member for member in image if member.name.endswith("layer.tar") and member.isfile()):
            content = image.extractfile(layer)
            assert content is not None
            with tarfile.open(fileobj=content) as tree:
                yield from ((member.name.lstrip("./"), member.size) for member in tree)


def files_of_container(engine: docker.DockerClient, reference: str) -> Iterator[tuple[str, int]]:
    """Give paths and sizes of the files that a container has."""
    command = ["/", "-xdev", "!", "-type", "d", "-printf", r"%s %P\n"]
    output = engine.containers.run(
        reference, command, entrypoint=["find"], user="0:0", remove=True, network_disabled=True
    )
    for line in output.decode().splitlines():
        size, _blank, path = line.partition(" ")
        yield path, int(size)


def is_of_the_build(path: str, size: int) -> bool:
    return (
        path.startswith(("build/", "usr/local/share/ca-certificates/", "root/.cache/", "root/.config/"))
        or path.endswith(("/ca.crt", "/trusted.crt", "/pip.conf", "/uv.toml"))
        or "/site-packages/pip/" in path
        or (path.startswith(("var/lib/apt/lists/", "var/cache/apt/")) and size > 0)
    )


@pytest.mark.parametrize("service", SERVICES)
def test_runs_as_a_numeric_user(engine: docker.DockerClient, every_image: dict[str, str], service: str) -> None:
    assert engine.images.get(every_image[service]).attrs["Config"]["User"] == USERS[service]


@pytest.mark.parametrize("service", SERVICES)
def test_stops_and_is_checked_as_its_service_needs(
    engine: docker.DockerClient, every_image: dict[str, str], service: str
) -> None:
    config = engine.images.get(every_image[service]).attrs["Config"]
    assert config.get("StopSignal") == STOP_SIGNALS.get(service)
    assert ("Healthcheck" in config and bool(config["Healthcheck"])) == (service in HEALTH_CHECKED)


@pytest.mark.parametrize("service", SERVICES)
def test_says_what_it_is(engine: docker.DockerClient, every_image: dict[str, str], service: str) -> None:
    labels = engine.images.get(every_image[service]).attrs["Config"]["Labels"]
    for name in ("title", "description", "version", "licenses"):
        assert labels[f"org.opencontainers.image.{name}"]
    assert every_image[service].endswith(f":{labels['org.opencontainers.image.version']}")
    assert "agentfleet.letta.stage" not in labels


@pytest.mark.parametrize("service", SERVICES)
def test_is_small(engine: docker.DockerClient, every_image: dict[str, str], service: str) -> None:
    assert engine.images.get(every_image[service]).attrs["Size"] / 1e6 < MEGABYTES[service]


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_is_left_of_what_the_build_needed(
    engine: docker.DockerClient, every_image: dict[str, str], service: str, tmp_path: Path
) -> None:
    if service in TOO_LARGE_TO_SAVE:
        files = list(files_of_container(engine, every_image[service]))
    else:
        files = list(files_of_layers(engine, every_image[service], tmp_path / "image.tar"))
    assert len(files) > 1000
    assert [path for path, size in files if is_of_the_build(path, size)] == []


@pytest.mark.parametrize("service", SERVICES)
def test_trusts_no_certificate_that_debian_does_not_ship(
    engine: docker.DockerClient, every_image: dict[str, str], service: str
) -> None:
    """Every certificate in the bundle is, byte for byte, a file of Debian's package, and nothing brings its own."""
    script = """
    set -e
    find / -xdev -name cacert.pem -type f
    bundle=/etc/ssl/certs/ca-certificates.crt
    [ -e "$bundle" ] || { echo 'no bundle'; exit 0; }
    cat /usr/share/ca-certificates/mozilla/*.crt | grep -v CERTIFICATE | sort -u >/tmp/shipped
    grep -v CERTIFICATE "$bundle" | sort -u >/tmp/trusted
    comm -13 /tmp/shipped /tmp/trusted
    """
    output = engine.containers.run(
        every_image[service], ["-c", script], entrypoint=["sh"], user="0:0", remove=True, network_disabled=True
    )
    assert output.decode().strip() in ("", "no bundle")
