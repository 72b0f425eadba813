# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Redis image is used as the official one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker.models.volumes import Volume

    from .conftest import Box

TMPFS = {"/data": "uid=999,gid=999"}


def ask(start: Callable[..., Box], image: str, server: Box, *command: str) -> str:
    """Ask a server from another container."""
    client = start(image, ["redis-cli", "-h", str(server.container.name), *command], tmpfs=TMPFS)
    client.wait_exit()
    return client.logs().strip()


def test_answers_other_containers(start: Callable[..., Box], images: dict[str, str]) -> None:
    box = start(images["redis"], ["--save", "", "--appendonly", "no"], tmpfs=TMPFS)
    box.wait_healthy()
    assert ask(start, images["redis"], box, "SET", "key", "value") == "OK"
    assert box.output_of("redis-cli", "GET", "key") == "value"


def test_keeps_its_data_on_a_volume(start: Callable[..., Box], images: dict[str, str], volume: Volume) -> None:
    mount = {volume.name: {"bind": "/data", "mode": "rw"}}
    first = start(images["redis"], ["redis-server", "--appendonly", "yes"], volumes=mount)
    first.wait_healthy()
    first.output_of("redis-cli", "SET", "key", "kept")
    first.container.stop(timeout=20)
    assert first.wait_exit() == 0

    second = start(images["redis"], ["redis-server", "--appendonly", "yes"], volumes=mount)
    second.wait_healthy()
    assert second.output_of("redis-cli", "GET", "key") == "kept"
    assert second.output_of("sh", "-c", "find /data -type f -perm /077") == ""


def test_a_configuration_file_has_the_last_word(
    start: Callable[..., Box], images: dict[str, str], tmp_path: Path
) -> None:
    open_to_all = tmp_path / "open.conf"
    open_to_all.write_text("maxmemory 5mb\n")
    guarded = tmp_path / "guarded.conf"
    guarded.write_text("protected-mode yes\n")
    for parent in [tmp_path, *list(tmp_path.parents)[:2]]:
        parent.chmod(0o755)

    def serve(file: Path) -> Box:
        volumes = {str(file): {"bind": "/etc/own.conf", "mode": "ro"}}
        box = start(images["redis"], ["/etc/own.conf"], volumes=volumes, tmpfs=TMPFS)
        box.wait_healthy()
        return box

    assert ask(start, images["redis"], serve(open_to_all), "CONFIG", "GET", "maxmemory") == "maxmemory\n5242880"
    assert "DENIED" in ask(start, images["redis"], serve(guarded), "PING")


def test_a_server_that_answers_an_error_is_not_healthy(start: Callable[..., Box], images: dict[str, str]) -> None:
    box = start(images["redis"], ["--requirepass", "secret"], tmpfs=TMPFS)

    def checked() -> bool:
        box.container.reload()
        return bool(box.container.attrs["State"]["Health"]["Log"])

    box.wait_until(checked)
    health = box.container.attrs["State"]["Health"]
    assert health["Status"] == "starting"
    assert health["Log"][0]["ExitCode"] != 0
