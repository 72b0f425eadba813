# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inline configs and secrets as the archive that is unpacked into a new container."""

from __future__ import annotations

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import inline_files
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.inline_files import InlineFile
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.mounted_files import MountedFile

MOUNTED = (
    MountedFile("file", "/etc/nginx/nginx.conf", path="/srv/nginx.conf"),
    MountedFile("config", "/page", "page", content="é\n", uid=9, mode=0o640),
    MountedFile("secret", "/run/secrets/token", "token", variable="TOKEN", gid=34, mode=0o400),
    MountedFile("secret", "/run/secrets/password", "password", path="/srv/password"),
)

_NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=120)
_TARGETS = st.lists(_NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
_OWNERS = st.integers(0, 999_999_999)
_FILES = st.builds(InlineFile, _TARGETS, st.binary(max_size=2000), _OWNERS, _OWNERS, st.integers(0, 0o7777))


def unpacked(archive: bytes) -> list[InlineFile]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return [
            InlineFile(f"/{entry.name}", tar.extractfile(entry).read(), entry.uid, entry.gid, entry.mode)  # type: ignore[union-attr]
            for entry in tar.getmembers()
        ]


def test_what_is_mounted_is_not_copied_and_what_is_inline_is() -> None:
    archive = inline_files.archive_for(MOUNTED, {"TOKEN": "t0ken"})
    assert archive is not None
    assert unpacked(archive) == [
        InlineFile("/page", "é\n".encode(), 9, 0, 0o640),
        InlineFile("/run/secrets/token", b"t0ken", 0, 34, 0o400),
    ]


def test_a_service_without_inline_files_needs_no_archive() -> None:
    assert inline_files.archive_for(MOUNTED[:1], {}) is None
    assert inline_files.archive_for((), {}) is None


def test_a_service_with_a_variable_whose_value_is_not_known_has_no_archive_and_others_have() -> None:
    files = {"web": MOUNTED, "page": MOUNTED[:2], "plain": MOUNTED[:1]}
    assert set(inline_files.archives(files, {})) == {"page"}
    assert inline_files.archives(files, {"TOKEN": "t0ken"}) == {
        "web": inline_files.archive_for(MOUNTED, {"TOKEN": "t0ken"}),
        "page": inline_files.archive_for(MOUNTED[:2], {}),
    }


def test_an_empty_inline_file_is_a_file_all_the_same() -> None:
    archive = inline_files.archive_for([MountedFile("config", "/empty", "empty", content="")], {})
    assert archive is not None
    assert unpacked(archive) == [InlineFile("/empty", b"", 0, 0, 0o444)]


@given(st.lists(_FILES, min_size=1, max_size=4, unique_by=lambda file: file.target))
def test_an_archive_gives_back_every_byte_owner_and_mode_and_is_always_the_same(files: list[InlineFile]) -> None:
    archive = inline_files.archive(files)
    assert unpacked(archive) == files
    assert inline_files.archive(files) == archive


def test_the_values_of_inline_secrets_are_to_be_taken_out_of_evidence_and_configs_are_not() -> None:
    assert inline_files.secret_values({"web": MOUNTED, "db": MOUNTED}, {"TOKEN": "t0ken"}) == ["t0ken"]
