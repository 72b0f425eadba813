# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves on the host, in real files and under a real lock."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import release
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.clock import MonotonicClock
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.contents import Contents, FileContent
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import PlanError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.release import Committed, Timing

FOUND = Contents("key", {"web": (FileContent("file", "", "/etc/a", "file ./a", "digest", (1, 2)),)}, {"TOKEN": "é"})

# Holds the lock as another run does, or hands it on to a child and dies, as a killed run with Compose at work does.
_OTHER_RUN = """
import fcntl, os, subprocess, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(lock, b"4711")
if sys.argv[2] == "hand on":
    subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=[lock])
    print("held", flush=True)
    os._exit(1)
print("held", flush=True)
input()
"""


class Clock:
    """Time that passes only by sleeping, and what is to happen meanwhile."""

    def __init__(self, meanwhile: object = None) -> None:
        self.time = 0.0
        self.meanwhile = meanwhile

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if callable(self.meanwhile):
            self.meanwhile()


@pytest.fixture
def store(tmp_path: Path) -> release.Store:
    return release.Store(str(tmp_path / "state" / "shop"))


def other_run(store: release.Store, manner: str) -> subprocess.Popen[str]:
    Path(store.root).mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER_RUN, f"{store.root}/lock", manner],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_kept_out_and_told_by_whom(store: release.Store) -> None:
    with other_run(store, "hold") as process:
        clock = Clock()
        with pytest.raises(PlanError, match=r"at work \(process 4711\)"), store.lock(1.0, clock):
            pass
        assert clock.time == pytest.approx(1.0)
        process.communicate("\n")
    with store.lock(0.0, MonotonicClock()):
        assert (Path(store.root) / "lock").read_text() == f"{os.getpid()}\n"


def test_a_second_run_waits_its_turn(store: release.Store) -> None:
    with other_run(store, "hold") as process, store.lock(60.0, Clock(process.communicate)):
        assert process.returncode is not None


def test_a_killed_run_s_lock_lives_as_long_as_the_child_that_inherited_it(store: release.Store) -> None:
    with other_run(store, "hand on") as process:
        process.wait()
        with pytest.raises(PlanError), store.lock(0.0, Clock()):
            pass
        assert process.stdin is not None
        process.stdin.close()
        assert process.stdout is not None
        process.stdout.read()
    with store.lock(10.0, MonotonicClock()):
        pass


def test_two_runs_of_one_kind_keep_each_other_out(store: release.Store) -> None:
    with store.lock(0.0, Clock()), pytest.raises(PlanError), store.lock(0.0, Clock()):
        pass


def test_the_lock_is_free_after_its_block_even_after_an_error(store: release.Store) -> None:
    for _again in range(2):
        with pytest.raises(RuntimeError), store.lock(0.0, Clock()):
            raise RuntimeError


def commit(store: release.Store, config: str, found: Contents = FOUND, **timings: Timing) -> None:
    with store.lock(0.0, Clock()):
        store.commit(config, found, timings)


def test_nothing_is_committed_before_the_first_commit(store: release.Store) -> None:
    assert store.committed() == Committed()
    assert store.committed().services == {}


def test_the_last_commit_is_given_back(store: release.Store) -> None:
    commit(store, "services: {web: {image: old}}", replace(FOUND, values={}), web=Timing(1.0, 0.0))
    commit(store, "services: {web: {image: new}}", FOUND, db=Timing(2.5, 1.5))
    assert store.committed() == Committed(
        config={"services": {"web": {"image": "new"}}},
        contents=FOUND,
        timings={"web": Timing(1.0, 0.0), "db": Timing(2.5, 1.5)},
        path=f"{store.root}/committed.yaml",
    )
    assert store.committed().services == {"web": {"image": "new"}}


def test_a_host_deployed_by_the_version_before_has_a_configuration_and_nothing_else(store: release.Store) -> None:
    commit(store, "services: {web: {image: old}}")
    (Path(store.root) / "committed.json").unlink()
    assert store.committed() == Committed({"services": {"web": {"image": "old"}}}, path=f"{store.root}/committed.yaml")


@pytest.mark.parametrize("text", ["a: [", "- no", "services: 7", "\x00"])
def test_a_damaged_configuration_costs_only_what_is_told_of_it(store: release.Store, text: str) -> None:
    commit(store, text)
    assert store.committed() == Committed(contents=FOUND)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "7",
        "[]",
        '{"format": 1}',
        '{"format": 1, "contents": {}, "timings": {}}',
        '{"format": 1, "contents": {"key": "k", "files": {"web": [[1]]}, "values": {}}, "timings": {}}',
        '{"format": 1, "contents": {"key": "k", "files": [], "values": {}}, "timings": {}}',
        '{"format": 1, "contents": {"key": "k", "files": {}, "values": {}}, "timings": {"web": 7}}',
        '{"format": 2, "contents": {"key": "k", "files": {}, "values": {}}, "timings": {}}',
    ],
)
def test_a_damaged_record_or_one_of_another_format_is_as_none(store: release.Store, text: str) -> None:
    commit(store, "services: {web: {}}")
    (Path(store.root) / "committed.json").write_text(text)
    assert store.committed() == Committed({"services": {"web": {}}}, path=f"{store.root}/committed.yaml")


@pytest.mark.parametrize("name", ["committed.json", "committed.yaml"])
def test_a_commit_that_has_no_room_for_one_of_its_files_leaves_all_as_it_was(
    store: release.Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    commit(store, "services: {web: {image: old}}")
    whole, before = tempfile.mkstemp, {path.name: path.read_bytes() for path in Path(store.root).iterdir()}

    def full_disk(dir: Path, prefix: str) -> tuple[int, str]:  # noqa: A002  the name that mkstemp has for it
        if prefix == f".{name}.":
            raise OSError(28, "No space left on device")
        return whole(dir=dir, prefix=prefix)

    monkeypatch.setattr(tempfile, "mkstemp", full_disk)
    with pytest.raises(OSError, match="No space"):
        commit(store, "services: {web: {image: new}}", replace(FOUND, files={}))
    assert {path.name: path.read_bytes() for path in Path(store.root).iterdir()} == before


def test_a_staged_file_is_put_in_place_only_when_all_went_well(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), release.staged(path, "new", 0o640):
        raise OSError("full")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]
    with release.staged(path, "new", 0o640):
        assert path.read_text() == "old"
    assert [each.read_text() for each in tmp_path.iterdir()] == ["new"]


def test_a_commit_of_the_same_writes_nothing(store: release.Store) -> None:
    commit(store, "services: {web: {}}", web=Timing(1.0, 0.0))
    paths = [Path(store.root) / name for name in ("committed.yaml", "committed.json")]
    before = [path.stat().st_ino for path in paths]
    commit(store, "services: {web: {}}")
    assert [path.stat().st_ino for path in paths] == before
    commit(store, "services: {web: {}}", web=Timing(2.0, 0.0))
    assert paths[1].stat().st_ino != before[1]


def test_the_key_is_made_once_and_again_only_where_it_is_damaged(store: release.Store) -> None:
    assert store.key() is None
    with store.lock(0.0, Clock()):
        key = store.make_key()
        assert (store.make_key(), store.key()) == (key, key)
        (Path(store.root) / "key").write_text("no key")
        assert store.key() is None
        assert store.make_key() not in (key, None)
    assert len(key) == 32


def test_only_its_owner_can_read_what_is_kept(store: release.Store) -> None:
    old_mask = os.umask(0)
    try:
        with store.lock(0.0, Clock()):
            store.make_key()
            store.commit("services: {}", FOUND, {})
            staged = Path(store.stage("services: {}"))
    finally:
        os.umask(old_mask)
    modes = {str(path.relative_to(store.root)): path.stat().st_mode & 0o777 for path in Path(store.root).rglob("*")}
    assert Path(store.root).stat().st_mode & 0o777 == 0o700
    assert {modes[name] for name in ("committed.yaml", "committed.json", "key", "lock")} == {0o600}
    assert (staged.stat().st_mode & 0o777, staged.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_staged_file_lies_under_the_digest_of_its_content(store: release.Store) -> None:
    first, second = store.stage("a: 1"), store.stage("a: 2")
    assert store.stage("a: 1") == first
    assert first != second
    assert (Path(first).read_text(), Path(second).read_text()) == ("a: 1", "a: 2")


def test_other_releases_are_forgotten(store: release.Store) -> None:
    first, second = store.stage("a: 1"), store.stage("a: 2")
    store.forget_releases_but(second)
    assert (Path(first).exists(), Path(second).exists()) == (False, True)


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("old")
    before = path.stat().st_ino
    release.write_atomically(path, "new é", 0o640)
    assert (path.read_text("utf-8"), path.stat().st_mode & 0o777) == ("new é", 0o640)
    assert path.stat().st_ino != before


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        release.write_atomically(path, "\udc00", 0o640)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("compose.yaml", "old")]
