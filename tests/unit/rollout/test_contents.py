# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen of a change in mounted files, and what is not read to see it: on real files."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import contents
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.contents import NOTHING, Contents, FileContent
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.mounted_files import MountedFile

KEY = b"k" * 32
# So long after every write of a test that a file's times say all.
LATER = time.time_ns() + 3600 * 1_000_000_000


def bind(path: Path, **changes: Any) -> MountedFile:
    return replace(MountedFile("file", "/etc/web.conf", path=str(path)), **changes)


def config(path: Path) -> MountedFile:
    return MountedFile("config", "/web.conf", "web", path=str(path))


def inline(content: str) -> MountedFile:
    return MountedFile("config", "/page", "page", content=content)


def variable(name: str = "TOKEN", kind: str = "secret") -> MountedFile:
    return MountedFile(kind, "/run/secrets/token", "token", variable=name)


def read(root: Path, *files: MountedFile, recorded: Contents = NOTHING, **changes: Any) -> Contents:
    arguments = {"values": {}, "key": KEY, "now": LATER, **changes}
    return contents.read({"web": files}, str(root), recorded=recorded, **arguments)


def test_another_content_of_a_mounted_file_is_a_reason_that_names_the_file_and_its_target(tmp_path: Path) -> None:
    mounted, elsewhere = tmp_path / "web.conf", tmp_path / "project"
    mounted.write_text("old")
    before = read(tmp_path, bind(mounted), config(mounted))
    outside = read(elsewhere, bind(mounted))
    mounted.write_text("new")

    assert contents.changed(before, read(tmp_path, bind(mounted), config(mounted))) == {
        "web": (
            "file ./web.conf (mounted at /etc/web.conf): content changed",
            "config web (file ./web.conf): content changed",
        )
    }
    assert contents.changed(outside, read(elsewhere, bind(mounted))) == {
        "web": (f"file {mounted} (mounted at /etc/web.conf): content changed",)
    }


def test_another_value_of_an_inline_config_or_secret_is_a_reason_without_the_value(tmp_path: Path) -> None:
    before = read(tmp_path, inline("a"), variable(), values={"TOKEN": "old"})
    after = read(tmp_path, inline("b"), variable(), values={"TOKEN": "new"})

    assert contents.changed(before, after) == {
        "web": ("config page (inline): content changed", "secret token (environment TOKEN): content changed")
    }


def test_a_secret_that_comes_from_elsewhere_is_a_reason_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("same")
    before = read(tmp_path, replace(variable(), variable="", path=str(path)))
    after = read(tmp_path, variable(), values={"TOKEN": "same"})

    assert contents.changed(before, after) == {"web": ("secret token: file ./token -> environment TOKEN",)}


def test_a_file_that_was_touched_or_replaced_by_an_equal_one_is_no_change(tmp_path: Path) -> None:
    mounted, other = tmp_path / "web.conf", tmp_path / "other"
    mounted.write_text("same")
    before = read(tmp_path, bind(mounted))
    os.utime(mounted, (1, 1))
    assert contents.changed(before, read(tmp_path, bind(mounted), recorded=before)) == {}
    other.write_text("same")
    other.rename(mounted)
    assert contents.changed(before, read(tmp_path, bind(mounted), recorded=before)) == {}


def test_a_file_that_is_new_or_gone_is_no_reason_of_its_own(tmp_path: Path) -> None:
    mounted = tmp_path / "web.conf"
    mounted.write_text("a")
    none, one = read(tmp_path), read(tmp_path, bind(mounted))
    moved = read(tmp_path, bind(mounted, target="/elsewhere"))
    for before, after in ((none, one), (one, none), (one, moved)):
        assert contents.changed(before, after) == {}


def test_without_a_record_or_under_another_key_nothing_is_compared(tmp_path: Path) -> None:
    before = read(tmp_path, inline("a"))
    after = read(tmp_path, inline("b"))
    assert contents.changed(NOTHING, after) == {}
    assert contents.changed(replace(before, files={}), after) == {}
    assert contents.changed(before, read(tmp_path, inline("b"), key=b"o" * 32)) == {}
    assert contents.changed(before, read(tmp_path, inline("b"), key=None)) == {}
    assert contents.changed(before, after) != {}


def test_a_file_that_is_not_watched_is_not_compared(tmp_path: Path) -> None:
    mounted = tmp_path / "state.json"
    mounted.write_text("old")
    before = read(tmp_path, bind(mounted, watched=False))
    mounted.write_text("new")
    assert contents.changed(before, read(tmp_path, bind(mounted, watched=False))) == {}


def test_directories_sockets_pipes_and_what_the_kernel_shows_are_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = read(tmp_path, bind(tmp_path), bind(pipe), bind(Path("/proc/uptime")), bind(Path("/dev/null")))
    assert (found.files, found.unread) == ({"web": ()}, ())


def test_a_file_whose_times_are_those_of_the_record_is_not_read_again(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_text("weights")
    before = read(tmp_path, bind(model))
    (known,) = before.files["web"]
    # A digest that no reading gives: seen again, it came from the record.
    marked = replace(before, files={"db": (replace(known, digest="of the record"),)})

    assert read(tmp_path, bind(model), recorded=marked).files["web"][0].digest == "of the record"
    assert read(tmp_path, bind(model), recorded=replace(marked, key="other")).files["web"] == (known,)
    os.utime(model, (1, 1))
    assert read(tmp_path, bind(model), recorded=marked).files["web"][0].digest == known.digest


def test_a_file_of_two_services_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model.gguf"
    model.write_text("weights")
    made: list[object] = []
    real = contents.hmac.new
    monkeypatch.setattr(contents.hmac, "new", lambda *given, **named: made.append(given) or real(*given, **named))
    found = contents.read({"a": (bind(model),), "b": (bind(model),)}, str(tmp_path), {}, KEY, NOTHING, LATER)
    assert found.files["a"] == found.files["b"]
    assert len(made) == 1


def test_the_times_of_a_file_that_was_just_written_are_not_trusted(tmp_path: Path) -> None:
    mounted = tmp_path / "web.conf"
    mounted.write_text("old")
    written = mounted.stat().st_ctime_ns
    for now, remembered in ((written, False), (written + 1_900_000_000, False), (written + 2_100_000_000, True)):
        (found,) = read(tmp_path, bind(mounted), now=now).files["web"]
        assert bool(found.stat) is remembered


def test_every_file_that_is_missing_and_every_variable_that_is_not_set_is_named_at_once(tmp_path: Path) -> None:
    made_by_compose = bind(tmp_path / "made", must_exist=False)
    with pytest.raises(SpecError) as refusal:
        read(
            tmp_path,
            bind(tmp_path / "gone"),
            config(Path("/nowhere/web.conf")),
            variable("GONE"),
            variable("SET"),
            made_by_compose,
            values={"SET": ""},
            key=None,
        )
    assert str(refusal.value) == (
        "services.web.volumes: ./gone is not on this host; configs.web.file: /nowhere/web.conf is not on this host; "
        "secrets.token.environment: the variable GONE is not set; set it in the environment or in an environment file "
        "of the project"
    )
    assert read(tmp_path, made_by_compose).files == {"web": ()}


def test_a_file_that_is_awaited_may_be_missing_and_is_told(tmp_path: Path) -> None:
    told = "a run needs what is not on this host yet: services.web.volumes: ./gone, configs.web.file: /nowhere/web.conf"
    for key in (KEY, None):
        files = (bind(tmp_path / "gone"), config(Path("/nowhere/web.conf")), bind(tmp_path / "gone"))
        found = read(tmp_path, *files, awaited=True, key=key)
        assert (found.files.get("web", ()), found.unread) == ((), (told,))
    with pytest.raises(SpecError, match="the variable TOKEN is not set"):
        read(tmp_path, bind(tmp_path / "gone"), variable(), awaited=True)


def test_a_file_that_cannot_be_read_is_told_and_not_compared(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    found = read(tmp_path, bind(loop))
    assert found.files == {"web": ()}
    (told,) = found.unread
    assert told.startswith("./loop cannot be read, so a change of its content is not seen: ")


def test_a_commit_records_what_is_proven_and_keeps_what_was_recorded_of_the_rest(tmp_path: Path) -> None:
    def of(**files: str) -> Contents:
        mounted = {service: (inline(content),) for service, content in files.items()}
        return contents.read(mounted, str(tmp_path), {}, KEY, NOTHING, LATER)

    recorded, now = of(web="old", db="old", asleep="old"), of(web="new", db="new", fresh="new")
    kept = contents.of_release(recorded, now, {"web", "fresh"})

    assert contents.changed(kept, of(web="new", db="old", fresh="new", asleep="old")) == {}
    assert set(contents.changed(kept, of(web="old", db="new", fresh="old", asleep="new"))) == {*kept.files}
    assert contents.of_release(replace(recorded, key="other"), now, {"web"}).files == {"web": now.files["web"]}


_TEXT = st.text(max_size=20)
_RECORDS = st.builds(FileContent, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, st.lists(st.integers(0, 2**63)).map(tuple))


@given(st.dictionaries(_TEXT, st.lists(_RECORDS, max_size=3).map(tuple), max_size=3), st.dictionaries(_TEXT, _TEXT))
def test_what_is_recorded_is_read_back(files: dict[str, tuple[FileContent, ...]], values: dict[str, str]) -> None:
    found = Contents("key", files, values)
    assert contents.from_data(json.loads(json.dumps(contents.as_data(found)))) == found


_VERSIONS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"]), max_size=3)


@given(_VERSIONS, _VERSIONS)
def test_exactly_the_files_that_are_in_both_and_differ_are_reasons(old: dict[str, str], new: dict[str, str]) -> None:
    def of(version: dict[str, str]) -> Contents:
        mounted = [MountedFile("config", f"/{name}", name, content=content) for name, content in version.items()]
        return read(Path("/srv"), *mounted)

    expected = {f"config {name} (inline): content changed" for name in {*old} & {*new} if old[name] != new[name]}
    assert set(contents.changed(of(old), of(new)).get("web", ())) == expected
