# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configs and secrets that are given inline, as an archive to be unpacked into a new container.

Compose up to 2.37.2 delivers them when it creates a container, later ones when Compose itself starts it, which a
rollout does not (https://github.com/docker/compose/releases/tag/v2.37.3). Delivered here between the two, they are
there with every version, and belong to whom the file says: Compose's copy belongs to the container's user instead.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .mounted_files import Files, MountedFile


@dataclass(frozen=True)
class InlineFile:
    """One file in a container: absolute path, bytes, numeric owner, permission bits."""

    target: str
    content: bytes
    uid: int
    gid: int
    mode: int


def of_service(mounted: Iterable[MountedFile], values: Mapping[str, str]) -> tuple[InlineFile, ...]:
    """Give the inline files of one service; `values` holds the variables by name."""
    return tuple(
        InlineFile(file.target, file.read_inline(values), file.uid, file.gid, file.mode)
        for file in mounted
        if file.inline
    )


def archive_for(mounted: Iterable[MountedFile], values: Mapping[str, str]) -> bytes | None:
    """Give the archive for one service's new containers, to be unpacked over their root; None where it has none."""
    files = of_service(mounted, values)
    return archive(files) if files else None


def archives(files: Files, values: Mapping[str, str]) -> dict[str, bytes]:
    """Give the archive of each service that has inline files, other than one with a variable that has no value."""
    known = {
        service: archive_for(mounted, values)
        for service, mounted in files.items()
        if all(file.variable in values for file in mounted if file.variable)
    }
    return {service: packed for service, packed in known.items() if packed is not None}


def archive(files: Iterable[InlineFile]) -> bytes:
    """Pack files; the same files always give the same bytes.

    Folders are not in it: the engine makes what is missing, as it does for Compose, and leaves the image's as they are.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            entry = tarfile.TarInfo(file.target.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(file.content), file.mode, file.uid, file.gid
            tar.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()


def secret_values(files: Files, values: Mapping[str, str]) -> list[str]:
    """Give what the inline secrets hold, to be taken out of evidence."""
    secrets = (file for mounted in files.values() for file in mounted if file.kind == "secret" and file.inline)
    return sorted({file.read_inline(values).decode("utf-8") for file in secrets})
