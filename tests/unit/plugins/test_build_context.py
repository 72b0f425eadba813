# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build context holds what is named of a source tree, and follows it; data, secrets and links stay outside."""

from __future__ import annotations

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils import _build_context as build_context
from ansible_collections.agentfleet.letta.plugins.modules.build_context import EXCLUDED

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


def sync(source, context, include=INCLUDE):
    plan = build_context.plan(str(source), str(context), include, EXCLUDED)
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


@pytest.mark.parametrize("target", ["../.env", "/etc/passwd", "nowhere"])
def test_a_link_is_refused_for_it_may_lead_to_a_secret(source, context, target):
    (source / "letta/link.py").symlink_to(target)
    with pytest.raises(build_context.ContextError, match=r"letta/link\.py is a link"):
        sync(source, context)
    assert not context.exists()


def test_what_is_missing_is_named(source, context):
    with pytest.raises(build_context.ContextError, match=r"checkout has no uv\.lock"):
        sync(source, context, [*INCLUDE, "uv.lock"])


def test_a_diff_shows_no_content(source, context):
    sync(source, context)
    (source / "letta/server/app.py").write_text("password = 'secret'\n", encoding="utf-8")
    plan = build_context.plan(str(source), str(context), INCLUDE, EXCLUDED)
    assert plan.describe(before=True).startswith("letta/server/app.py ")
    assert plan.describe(before=False).startswith("letta/server/app.py ")
    assert "secret" not in plan.describe(before=False)
