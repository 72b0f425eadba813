# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for each built image: who it runs as, what it says of itself, and what is not in it."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import docker

USERS = {"server": "10001:10001", "db": "999:999", "redis": "999:999", "nginx": "101:101", "app_server": "10001:10001"}
STOP_SIGNALS = {"server": None, "db": "SIGINT", "redis": None, "nginx": "SIGQUIT", "app_server": None}
HEALTH_CHECKED = {"db", "redis", "app_server"}
MEGABYTES = {"server": 1200, "db": 300, "redis": 120, "nginx": 120, "app_server": 700}
SERVICES = sorted(USERS)


@pytest.mark.parametrize("service", SERVICES)
def test_runs_as_a_numeric_user(engine: docker.DockerClient, every_image: dict[str, str], service: str) -> None:
    assert engine.images.get(every_image[service]).attrs["Config"]["User"] == USERS[service]


@pytest.mark.parametrize("service", SERVICES)
def test_stops_and_is_checked_as_its_service_needs(
    engine: docker.DockerClient, every_image: dict[str, str], service: str
) -> None:
    config = engine.images.get(every_image[service]).attrs["Config"]
    assert config.get("StopSignal") == STOP_SIGNALS[service]
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
def test_no_layer_keeps_what_the_build_needed(
    engine: docker.DockerClient, every_image: dict[str, str], service: str, tmp_path: Path
) -> None:
    """Looks into each layer, for a file that a later layer removes is still in the image."""
    archive = tmp_path / "image.tar"
    with archive.open("wb") as file:
        for chunk in engine.images.get(every_image[service]).save():
            file.write(chunk)

    unwanted = []
    files = 0
    with tarfile.open(archive) as image:
        for layer in (member for member in image if member.name.endswith("layer.tar") and member.isfile()):
            content = image.extractfile(layer)
            assert content is not None
            with tarfile.open(fileobj=content) as tree:
                for member in tree:
                    files += 1
                    path = member.name.lstrip("./")
                    if (
                        path.startswith(("build/", "usr/local/share/ca-certificates/", "root/.cache/", "root/.config/"))
                        or path.endswith(("/ca.crt", "/trusted.crt", "/pip.conf", "/uv.toml"))
                        or (path.startswith(("var/lib/apt/lists/", "var/cache/apt/")) and member.size > 0)
                    ):
                        unwanted.append(path)
    assert files > 1000
    assert unwanted == []


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
