# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build context holds what is named of a source tree, and follows it; data, secrets and links stay outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

from ansible_collections.agentfleet.letta.plugins.module_utils import _build_context as build_context
from ansible_collections.agentfleet.letta.plugins.modules.build_context import EXCLUDED

ROOT = Path(__file__).resolve().parents[3]
INCLUDE = ["letta", "alembic.ini"]


@pytest.fixture
def source(tmp_path):
    """A checkout in which a database ran and secrets were kept, as the ancestors' own ways of work leave it."""
    root = tmp_path / "checkout"
    files = {
        "letta/__init__.py": "version = 1\n",
        "letta/server/app.py": "app = None\n",
        "alembic.ini": "[alembic]\n",
        ".env": "OPENAI_API_KEY=sk-1\n",
        ".persist/pgdata-test/PG_VERSION": "15\n",
        "letta/.env": "OPENAI_API_KEY=sk-2\n",
        "letta/server/tls.key": "private\n",
        "letta/server/letta.db": "rows\n",
        "letta/__pycache__/x.cpython-313.pyc": "code\n",
        "certs/localhost-key.pem": "private\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def context(tmp_path):
    return tmp_path / "context"


def sync(source, context, include=None):
    plan = build_context.plan(str(source), str(context), include or INCLUDE, EXCLUDED)
    if plan.changed:
        build_context.apply(plan, str(source), str(context))
    return plan


def held(context):
    return sorted(str(path.relative_to(context)) for path in context.rglob("*") if not path.is_dir())


def test_neither_data_nor_secrets_nor_what_python_left_get_in(source, context):
    assert sync(source, context).changed
    assert held(context) == ["alembic.ini", "letta/__init__.py", "letta/server/app.py"]


def test_a_second_time_changes_nothing(source, context):
    first = sync(source, context)
    second = sync(source, context)
    assert (second.changed, second.digest) == (False, first.digest)
    assert second.describe(before=True) == second.describe(before=False) == ""


def test_what_changes_in_the_source_changes_in_the_context_and_in_its_digest(source, context):
    before = sync(source, context)
    (source / "letta/server/app.py").write_text("app = 1\n", encoding="utf-8")
    (source / "letta/new.py").write_text("", encoding="utf-8")
    (source / "letta/__init__.py").unlink()
    plan = sync(source, context)
    assert plan.write == ("letta/new.py", "letta/server/app.py")
    assert plan.remove == ("letta/__init__.py",)
    assert plan.digest != before.digest
    assert (context / "letta/server/app.py").read_text(encoding="utf-8") == "app = 1\n"
    assert held(context) == ["alembic.ini", "letta/new.py", "letta/server/app.py"]


def test_what_changes_beside_it_changes_nothing(source, context):
    before = sync(source, context)
    (source / ".env").write_text("OPENAI_API_KEY=sk-3\n", encoding="utf-8")
    (source / ".persist/pgdata-test/base").write_text("rows\n", encoding="utf-8")
    (source / "letta/server/letta.db").write_text("more rows\n", encoding="utf-8")
    plan = sync(source, context)
    assert (plan.changed, plan.digest) == (False, before.digest)


def test_equal_trees_give_equal_digests_and_files_that_everyone_can_read(source, context):
    before = sync(source, context)
    for name in ("letta/__init__.py", "letta/server/app.py"):
        (source / name).chmod(0o600)
    (source / "letta/server").chmod(0o700)
    assert sync(source, context).digest == before.digest
    assert (context / "letta/server/app.py").stat().st_mode & 0o777 == 0o644
    assert (context / "letta/server").stat().st_mode & 0o777 == 0o755


def test_an_executable_stays_one(source, context):
    (source / "letta/run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    before = sync(source, context)
    (source / "letta/run.sh").chmod(0o700)
    plan = sync(source, context)
    assert plan.write == ("letta/run.sh",)
    assert plan.digest != before.digest
    assert (context / "letta/run.sh").stat().st_mode & 0o777 == 0o755


def test_what_changes_while_it_is_read_goes_by_no_digest_of_before(source, context):
    plan = build_context.plan(str(source), str(context), INCLUDE, EXCLUDED)
    (source / "letta/server/app.py").write_text("app = 1\n", encoding="utf-8")
    with pytest.raises(build_context.ContextError, match=r"letta/server/app\.py changed while it was copied"):
        build_context.apply(plan, str(source), str(context))
    assert "letta/server/app.py" not in held(context)
    assert sync(source, context).digest != plan.digest
    assert (context / "letta/server/app.py").read_text(encoding="utf-8") == "app = 1\n"


def test_a_hand_that_changed_the_context_is_undone(source, context):
    digest = sync(source, context).digest
    (context / "letta/server/app.py").write_text("app = 'other'\n", encoding="utf-8")
    (context / "pgdata").mkdir()
    (context / "pgdata/PG_VERSION").write_text("15\n", encoding="utf-8")
    (context / "link").symlink_to(source)
    plan = sync(source, context)
    assert plan.remove == ("link", "pgdata/PG_VERSION")
    assert plan.digest == digest
    assert held(context) == ["alembic.ini", "letta/__init__.py", "letta/server/app.py"]
    assert not (context / "pgdata").exists()
    assert (source / ".env").exists()


def test_a_directory_becomes_a_file_and_a_file_a_directory(source, context):
    sync(source, context)
    (source / "letta/server/app.py").unlink()
    (source / "letta/server/tls.key").unlink()
    (source / "letta/server/letta.db").unlink()
    (source / "letta/server").rmdir()
    (source / "letta/server").write_text("a file\n", encoding="utf-8")
    (source / "letta/__init__.py").unlink()
    (source / "letta/__init__.py").mkdir()
    (source / "letta/__init__.py/x").write_text("", encoding="utf-8")
    assert sync(source, context).changed
    assert held(context) == ["alembic.ini", "letta/__init__.py/x", "letta/server"]


@pytest.mark.parametrize("name", ["letta/__init__.py", "letta/server", "letta"])
def test_a_link_to_a_directory_in_the_context_goes_and_what_it_names_stays(source, context, name):
    outside = source.parent / "outside"
    (outside / "empty/deep").mkdir(parents=True)
    digest = sync(source, context).digest
    path = context / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(outside)
    plan = sync(source, context)
    assert name in plan.remove
    assert (plan.digest, sync(source, context).changed) == (digest, False)
    assert held(context) == ["alembic.ini", "letta/__init__.py", "letta/server/app.py"]
    assert not path.is_symlink()
    assert sorted(outside.rglob("*")) == [outside / "empty", outside / "empty/deep"]


def test_a_pipe_in_the_context_where_a_file_is_to_be_gives_way(source, context):
    sync(source, context)
    (context / "alembic.ini").unlink()
    os.mkfifo(context / "alembic.ini")
    assert sync(source, context).changed
    assert (context / "alembic.ini").read_text(encoding="utf-8") == "[alembic]\n"


def test_no_file_of_the_source_is_taken_for_an_unfinished_one(source, context):
    beside = [f"{stem}{end}" for stem in ("app.py", ".app.py") for end in (".unfinished", ".tmp", ".part", "~")]
    for name in beside:
        (source / "letta/server" / name).write_text(f"{name}\n", encoding="utf-8")

    def brought():
        plan = build_context.plan(str(source), str(context), ["letta/server"], [])
        build_context.apply(plan, str(source), str(context))

    brought()
    (source / "letta/server/app.py").write_text("app = 1\n", encoding="utf-8")
    brought()
    for name in beside:
        assert (context / "letta/server" / name).read_text(encoding="utf-8") == f"{name}\n"


def test_what_a_run_left_unfinished_is_removed(source, context, monkeypatch):
    sync(source, context)
    (source / "alembic.ini").write_text("[alembic]\nother = 1\n", encoding="utf-8")

    def interrupted(self, target):
        raise OSError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(OSError, match="the power went"):
            sync(source, context)
    assert len(held(context)) == 4
    assert sync(source, context).changed
    assert held(context) == ["alembic.ini", "letta/__init__.py", "letta/server/app.py"]


@pytest.mark.parametrize("target", ["../.env", "/etc/passwd", "nowhere"])
def test_a_link_is_refused_for_it_may_lead_to_a_secret(source, context, target):
    (source / "letta/link.py").symlink_to(target)
    with pytest.raises(build_context.ContextError, match=r"letta/link\.py is a link"):
        sync(source, context)
    assert not context.exists()


def test_what_is_missing_is_named(source, context):
    with pytest.raises(build_context.ContextError, match=r"checkout has no uv\.lock"):
        sync(source, context, [*INCLUDE, "uv.lock"])


def left_out(source, context, patterns):
    plan = build_context.plan(str(source), str(context), INCLUDE, EXCLUDED, patterns)
    if plan.changed:
        build_context.apply(plan, str(source), str(context))
    return plan.left_out


def test_what_is_left_out_is_named_and_a_directory_as_a_whole(source, context):
    (source / "letta/__pycache__/deep").mkdir()
    (source / "letta/prompts").mkdir()
    (source / "letta/prompts/README").write_text("words\n", encoding="utf-8")
    (source / "letta/prompts/a.yaml").write_text("words\n", encoding="utf-8")
    assert left_out(source, context, ["*.py"]) == (
        "letta/.env",
        "letta/__pycache__",
        "letta/prompts/README",
        "letta/prompts/a.yaml",
        "letta/server/letta.db",
        "letta/server/tls.key",
    )
    # What is named itself needs no pattern.
    assert held(context) == ["alembic.ini", "letta/__init__.py", "letta/server/app.py"]


def test_a_pattern_more_is_a_file_more(source, context):
    (source / "letta/a.yaml").write_text("words\n", encoding="utf-8")
    assert "letta/a.yaml" in left_out(source, context, ["*.py"])
    assert "letta/a.yaml" not in left_out(source, context, ["*.py", "*.yaml"])
    assert "letta/a.yaml" in held(context)
    assert "letta/a.yaml" in left_out(source, context, ["*.py"])
    assert "letta/a.yaml" not in held(context)


def test_what_is_left_out_of_one_part_may_be_named_as_another(source, context):
    plan = build_context.plan(str(source), str(context), ["letta", "letta/server/tls.key"], EXCLUDED)
    assert "letta/server/tls.key" in plan.wanted
    assert "letta/server/tls.key" not in plan.left_out


@pytest.mark.parametrize(
    "name",
    [
        *("id_rsa", "id_ed25519", "tls.p12", "tls.pfx", "tls.KEY", "tls.Pem", "key.pem.bak", "server.crt"),
        *("prod.env", "PROD.ENV", "env", "conf.yaml", "secrets.toml"),
        *("credentials.json", "Credentials.JSON", "client_secret_1.json", "service-account.json", "token.json"),
        *("dump.sql", "dump.sql.gz", "letta.db", "letta.db.bak", "data.db-wal", "LETTA.SQLITE3", "PG_VERSION", "1259"),
    ],
)
def test_neither_data_nor_secrets_get_in_with_the_patterns_of_the_role(source, context, name):
    defaults = yaml.safe_load((ROOT / "roles/letta_stack/defaults/main.yml").read_text(encoding="utf-8"))
    (source / "letta/server" / name).write_text("secret\n", encoding="utf-8")
    assert f"letta/server/{name}" in left_out(source, context, defaults["letta_stack_source_files"])
    assert held(context) == ["alembic.ini", "letta/__init__.py", "letta/server/app.py"]


@pytest.mark.parametrize("name", ["secret.py", "credentials.py", "tokenizer.json", "keys.txt", "NOTES.MD"])
def test_what_only_sounds_like_a_secret_gets_in(source, context, name):
    (source / "letta" / name).write_text("words\n", encoding="utf-8")
    left_out(source, context, ["*.py", "*.json", "*.txt", "*.md"])
    assert f"letta/{name}" in held(context)


@pytest.mark.parametrize("path", ["checkout", "checkout/build", "checkout/letta", ".", "checkout/letta/../.", "link"])
@pytest.mark.parametrize("include", [INCLUDE, []])
def test_a_context_that_would_remove_its_source_is_refused(source, tmp_path, path, include):
    (tmp_path / "link").symlink_to(source / "letta")
    with pytest.raises(build_context.ContextError, match=r"^path: .* neither in nor around the source .*/checkout$"):
        build_context.plan(str(source), str(tmp_path / path), include, EXCLUDED)


def test_a_context_beside_its_source_may_begin_with_its_name(source, tmp_path):
    assert sync(source, tmp_path / "checkout-context").changed


@pytest.mark.parametrize("name", ["../outside", "letta/../../outside", "letta/..", "/etc/hostname", ""])
def test_what_is_not_named_below_the_source_is_refused(source, context, name):
    (source.parent / "outside").write_text("secret\n", encoding="utf-8")
    with pytest.raises(build_context.ContextError, match=r"^include: must be paths relative to the source"):
        sync(source, context, [name])
    assert not context.exists()


@pytest.mark.parametrize("name", ["link/private", "letta/link/private", "letta/link/deep/private"])
def test_a_link_on_the_way_to_what_is_named_is_refused(source, context, name):
    outside = source.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    for path in (outside / "private", outside / "deep/private"):
        path.write_text("secret\n", encoding="utf-8")
    (source / "link").symlink_to(outside)
    (source / "letta/link").symlink_to(outside)
    with pytest.raises(build_context.ContextError, match=rf"^include: {name} goes by the link /.*link, which may lead"):
        sync(source, context, [name])
    assert not context.exists()


def test_a_whole_tree_can_be_named(source, context):
    assert sync(source, context, ["."]).digest == sync(source, context, ["./alembic.ini", "letta/"]).digest


def test_the_source_itself_may_be_a_link(source, context):
    (source.parent / "current").symlink_to(source)
    assert sync(source.parent / "current", context).digest == sync(source, context).digest


def test_a_diff_shows_no_content(source, context):
    sync(source, context)
    (source / "letta/server/app.py").write_text("password = 'secret'\n", encoding="utf-8")
    plan = build_context.plan(str(source), str(context), INCLUDE, EXCLUDED)
    assert plan.describe(before=True).startswith("letta/server/app.py ")
    assert plan.describe(before=False).startswith("letta/server/app.py ")
    assert "secret" not in plan.describe(before=False)
