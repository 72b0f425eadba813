# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory of secrets: what is made, kept, replaced and refused."""

from __future__ import annotations

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._secret_files import SecretError, SecretFiles


@pytest.fixture
def secrets(tmp_path):
    return SecretFiles(str(tmp_path / "stack" / "secrets"))


def apply(secrets, *arguments, **options):
    plan = secrets.plan(*arguments, **options)
    secrets.apply(plan)
    return plan


def mode(path):
    return path.stat().st_mode & 0o7777


def test_a_missing_secret_is_made_once(secrets):
    first = apply(secrets, {}, generate=["db_password"])
    value = (secrets.path / "db_password").read_text()
    assert len(value) == 48
    assert value.isalnum()
    assert (secrets.path / first.files["db_password"]).read_text() == value
    assert (first.changed, first.created, first.updated) == (True, ["db_password"], [])
    second = apply(secrets, {}, generate=["db_password"])
    assert (second.changed, second.files, second.created) == (False, first.files, [])


def test_only_the_owner_gets_in_and_the_container_can_read_what_is_mounted(secrets):
    plan = apply(secrets, {"key": "value-1"})
    assert mode(secrets.path) == 0o700
    assert mode(secrets.path / "key") == 0o400
    assert mode(secrets.path / plan.files["key"]) == 0o444


def test_a_new_value_has_a_new_path_and_the_old_file_stays(secrets):
    before = apply(secrets, {"key": "value-1"}).files["key"]
    plan = apply(secrets, {"key": "value-2"})
    assert plan.updated == ["key"]
    assert plan.files["key"] != before
    assert (secrets.path / before).read_text() == "value-1"
    assert (secrets.path / plan.files["key"]).read_text() == "value-2"
    assert apply(secrets, {"key": "value-1"}).files["key"] == before


def test_the_path_tells_nothing_without_the_salt(secrets, tmp_path):
    other = SecretFiles(str(tmp_path / "other"))
    assert apply(secrets, {"key": "guess"}).files != apply(other, {"key": "guess"}).files
    assert (
        apply(secrets, {"a": "same", "b": "same"}).files["a"].partition(".")[2]
        != secrets.plan({"b": "same"}).files["b"].partition(".")[2]
    )


def test_a_plan_that_is_not_carried_out_writes_nothing_and_promises_no_value(secrets):
    plan = secrets.plan({"given": "value"}, generate=["made"])
    assert plan.changed
    assert not secrets.path.exists()
    assert plan.predicted()["made"] == "made.new"
    assert plan.predicted()["given"] == plan.files["given"]


def test_no_value_is_shown(secrets):
    apply(secrets, {"key": "value-one"})
    plan = secrets.plan({"key": "value-two", "other": "value-three"})
    shown = repr(plan) + plan.describe(before=True) + plan.describe(before=False)
    assert "value-" not in shown
    assert "key.(another value)\n" in plan.describe(before=True)


def test_a_fixed_secret_cannot_change_and_nothing_is_written(secrets):
    apply(secrets, {"key": "value-1", "other": "one"})
    with pytest.raises(SecretError, match="key: the value that is given is not the one in"):
        secrets.plan({"key": "value-2", "other": "two"}, fixed=["key"])
    assert apply(secrets, {"key": "value-1"}, fixed=["key"]).changed is False


def test_a_required_secret_is_never_made(secrets):
    with pytest.raises(SecretError, match="key: there is none in"):
        secrets.plan({}, require=["key"])
    assert apply(secrets, {"key": "from the backup"}, require=["key"]).created == ["key"]
    assert apply(secrets, {}, require=["key"]).changed is False


@pytest.mark.parametrize("name", ["../escape", "", ".salt", "a b", "1st"])
def test_a_name_cannot_leave_the_directory(secrets, name):
    with pytest.raises(SecretError, match="cannot name a secret"):
        secrets.plan({name: "value"})


@pytest.mark.parametrize("value", ["password", "key", "_"])
def test_a_value_that_is_part_of_a_name_is_refused_because_ansible_would_blot_it_out_of_the_name(secrets, value):
    with pytest.raises(SecretError, match=r"^token: the value that is given occurs in the name of a file"):
        secrets.plan({"token": value}, generate=["db_password", "encryption_key"])


@pytest.mark.parametrize("value", ["", None, 5])
def test_a_value_is_text(secrets, value):
    with pytest.raises(SecretError, match="must be a string that is not empty"):
        secrets.plan({"key": value})


def test_a_wrong_mode_is_put_right(secrets):
    plan = apply(secrets, {"key": "value"})
    secrets.path.chmod(0o755)
    (secrets.path / plan.files["key"]).chmod(0o600)
    again = apply(secrets, {"key": "value"})
    assert again.changed
    assert mode(secrets.path) == 0o700
    assert mode(secrets.path / plan.files["key"]) == 0o444


@pytest.mark.parametrize("lost", ["key", "mounted", "both"])
def test_the_next_run_finishes_an_interrupted_one(secrets, lost):
    mounted = apply(secrets, {"key": "value"}).files["key"]
    for name in {"key": ["key"], "mounted": [mounted], "both": ["key", mounted]}[lost]:
        (secrets.path / name).unlink()
    (secrets.path / ".unfinished-1").write_text("val")
    assert apply(secrets, {"key": "value"}).files["key"] == mounted
    assert sorted(path.name for path in secrets.path.iterdir()) == [".salt", "key", mounted]
