# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests take from Debian: busybox for the image of every test service, and an older Docker Compose.

Nothing is installed. Packages come from the mirror that this machine's own apt uses, through an apt configuration of
their own below the cache folder, and are unpacked there.
"""

from __future__ import annotations

import fcntl
import io
import platform
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

SUITE = "trixie"
# Debian trixie's; the oldest Compose that a supported distribution brings.
OLD_COMPOSE = "2.26.1"
IMAGE = "agentfleet-test/rollout-busybox:1"
_APPLETS = ("cat", "echo", "env", "false", "grep", "httpd", "ls", "mkdir", "nc", "rm", "sh", "sleep", "test", "touch")


def _run(*argv: str, cwd: Path | None = None) -> str:
    finished = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"{' '.join(argv)} failed: {finished.stderr.strip()}")
    return finished.stdout


def _mirror() -> str:
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    uris = _run(
        "apt-get", "indextargets", "--format", "$(REPO_URI)",
        "Identifier: Packages", "Component: main", f"Release: {release}",
    ).split()  # fmt: skip
    if not uris:
        raise RuntimeError(f"apt has no source for {release} main, so there is no mirror to take {SUITE} from")
    return uris[0]


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Keep other processes out: tests run side by side, and would fetch the same."""
    with (cache / "debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def unpacked(package: str, cache: Path) -> Path:
    """Give the folder with the files of one package of `SUITE`, fetched on first use."""
    target = cache / SUITE / package
    with _alone(cache):
        if not target.is_dir():
            _fetch(package, target, cache / SUITE / "apt")
    return target


def _fetch(package: str, target: Path, apt: Path) -> None:
    (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "sources.list").write_text(f"deb [signed-by={keyring}] {_mirror()} {SUITE} main\n", encoding="utf-8")
    (apt / "status").touch()
    options = {
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": apt,
        "Dir::State::Status": apt / "status",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    argv = ["apt-get", "--quiet", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
    _run(*argv, "update")
    for stale in apt.glob(f"{package}_*.deb"):
        stale.unlink()
    _run(*argv, "download", package, cwd=apt)
    (deb,) = apt.glob(f"{package}_*.deb")
    partial = target.with_name(f"{package}.partial")
    _run("dpkg-deb", "--extract", str(deb), str(partial))
    partial.rename(target)


def old_compose(cache: Path) -> Path:
    """Give a Docker configuration folder whose `docker compose` is `OLD_COMPOSE`."""
    plugin = unpacked("docker-compose", cache) / "usr/libexec/docker/cli-plugins/docker-compose"
    plugins = cache / f"docker-config-compose-{OLD_COMPOSE}" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    link = plugins / "docker-compose"
    with _alone(cache):
        if not link.is_symlink():
            link.symlink_to(plugin)
    return plugins.parent


def ensure_image(engine: docker.DockerClient, cache: Path) -> None:
    """Put the busybox image on the engine unless it is there."""
    if engine.images.list(IMAGE):
        return
    package = unpacked("busybox-static", cache)
    repository, _colon, tag = IMAGE.partition(":")
    with _alone(cache):
        if not engine.images.list(IMAGE):
            engine.api.import_image_from_data(
                _root_filesystem(package),
                repository,
                tag,
                changes=['ENV PATH="/bin"', 'CMD ["sleep", "1000"]'],
            )


def _root_filesystem(package: Path) -> bytes:
    (busybox,) = (path for path in package.glob("**/bin/busybox") if path.is_file())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(busybox, "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for folder in ("tmp", "proc", "sys", "dev", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
    return buffer.getvalue()
