# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database image keeps the official image's contract, and survives what that one does not."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker.models.volumes import Volume

    from .conftest import Box

DATA = "/var/lib/postgresql/data"
TMPFS = {"/tmp": "", "/run/postgresql": "uid=999,gid=999"}
# A script that stops the initialisation until the test has done what it wants.
WAIT = "touch /tmp/waiting\nuntil [ -e /tmp/go ]; do sleep 0.1; done\n"


@pytest.fixture
def database(start: Callable[..., Box], images: dict[str, str], volume: Volume) -> Callable[..., Box]:
    """Start a database on the test's volume."""

    def run(command: list[str] | None = None, mounts: dict[str, Any] | None = None, **options: Any) -> Box:
        volumes = {volume.name: {"bind": DATA, "mode": "rw"}, **(mounts or {})}
        options = {"environment": {"POSTGRES_PASSWORD": "secret"}, "tmpfs": TMPFS, **options}
        return start(images["db"], command, volumes=volumes, **options)

    return run


@pytest.fixture
def scripts(tmp_path: Path) -> dict[str, Any]:
    """Mount of a directory for init scripts; the test fills tmp_path / "init"."""
    directory = tmp_path / "init"
    directory.mkdir()
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    return {str(directory): {"bind": "/docker-entrypoint-initdb.d", "mode": "ro"}}


def sql(box: Box, statement: str, user: str = "postgres", database: str = "postgres") -> str:
    return box.output_of("psql", "-XAtU", user, "-d", database, "-c", statement)


def test_serves_vectors_on_a_fresh_volume(database: Callable[..., Box]) -> None:
    box = database()
    box.wait_healthy()
    sql(box, "CREATE EXTENSION vector")
    assert sql(box, "SELECT '[1,2,3]'::vector <-> '[1,2,5]'::vector") == "2"
    assert sql(box, "SHOW lc_messages") == "en_US.utf8"
    assert "FATAL" not in box.logs()


def test_settings_from_files_and_scripts(database: Callable[..., Box], scripts: dict[str, Any], tmp_path: Path) -> None:
    init = tmp_path / "init"
    (init / "1.sql").write_text("CREATE TABLE seen (by text); INSERT INTO seen VALUES ('sql');")
    (init / "2.sql.gz").write_bytes(gzip.compress(b"INSERT INTO seen VALUES ('sql.gz');"))
    (init / "3.sh").write_text(
        "#!/bin/sh\nset -e\n! pg_isready -qh 127.0.0.1\n"
        'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO seen VALUES (\'executed\')"\n'
        'echo "max_connections = 42" >>"$PGDATA/postgresql.conf"\n'
    )
    (init / "3.sh").chmod(0o755)
    (init / "4.sh").write_text('run_psql --dbname "$database" <<<"INSERT INTO seen VALUES (\'sourced\')"\n')
    (init / "5.txt").write_text("not for the database")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, value in {"user": "letta", "password": "s3cret", "database": "agents"}.items():
        (secrets / name).write_text(f"{value}\n")

    box = database(
        mounts={**scripts, str(secrets): {"bind": "/run/secrets", "mode": "ro"}},
        environment={
            "POSTGRES_USER_FILE": "/run/secrets/user",
            "POSTGRES_PASSWORD_FILE": "/run/secrets/password",
            "POSTGRES_DB_FILE": "/run/secrets/database",
            "POSTGRES_INITDB_ARGS": "--data-checksums --locale-provider=builtin --locale=C.UTF-8",
        },
    )
    box.wait_healthy()

    rows = sql(box, "SELECT string_agg(by, ' ' ORDER BY by) FROM seen", "letta", "agents")
    assert rows == "executed sourced sql sql.gz"
    assert sql(box, "SHOW data_checksums", "letta", "agents") == "on"
    assert sql(box, "SHOW max_connections", "letta", "agents") == "42"
    assert "ignoring /docker-entrypoint-initdb.d/5.txt" in box.logs()
    assert "s3cret" not in box.output_of("sh", "-c", "cat /proc/1/environ /proc/1/cmdline; env")
    assert "s3cret" not in box.logs()


def test_password_is_needed_from_another_container(
    database: Callable[..., Box], start: Callable[..., Box], images: dict[str, str]
) -> None:
    box = database(environment={"POSTGRES_PASSWORD": "secret"})
    box.wait_healthy()
    address = ["psql", "-XAtw", "-h", str(box.container.name), "-U", "postgres", "-c", "SELECT 1"]
    right = start(images["db"], address, environment={"PGPASSWORD": "secret"}, tmpfs=TMPFS)
    wrong = start(images["db"], address, environment={"PGPASSWORD": "wrong"}, tmpfs=TMPFS)
    assert right.wait_exit() == 0
    assert right.logs().strip() == "1"
    assert wrong.wait_exit() != 0
    assert "password authentication failed" in wrong.logs()


def test_options_and_data_survive_a_new_container(database: Callable[..., Box]) -> None:
    first = database()
    first.wait_healthy()
    sql(first, "CREATE TABLE kept (number int); INSERT INTO kept VALUES (7)")
    first.container.stop(timeout=30)
    assert first.wait_exit() == 0

    second = database(["-c", "max_connections=33"], environment={})
    second.wait_healthy()
    assert sql(second, "SELECT number FROM kept") == "7"
    assert sql(second, "SHOW max_connections") == "33"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no superuser password is given"),
        ({"POSTGRES_PASSWORD": "a", "POSTGRES_PASSWORD_FILE": "/etc/hostname"}, "are both set"),
        ({"POSTGRES_PASSWORD_FILE": "/run/secrets/none"}, "cannot read"),
    ],
)
def test_refuses_unclear_passwords(database: Callable[..., Box], environment: dict[str, str], message: str) -> None:
    box = database(environment=environment)
    assert box.wait_exit() == 1
    assert message in box.logs()


def test_refuses_to_run_as_root(database: Callable[..., Box]) -> None:
    box = database(user="0:0")
    assert box.wait_exit() == 1
    assert "999:999" in box.logs()


def test_refuses_a_directory_with_something_else(database: Callable[..., Box]) -> None:
    other = database(["sh", "-c", f"echo precious >{DATA}/notes"])
    assert other.wait_exit() == 0
    box = database()
    assert box.wait_exit() == 1
    assert "neither empty nor a database cluster (it holds notes)" in box.logs()
    look = database(["cat", f"{DATA}/notes"])
    assert look.wait_exit() == 0
    assert look.logs().strip() == "precious"


def test_a_failed_script_is_not_forgotten(
    database: Callable[..., Box], scripts: dict[str, Any], tmp_path: Path
) -> None:
    script = tmp_path / "init" / "1.sql"
    script.write_text("CREATE TABLE half (number int); SELECT 1/0;")
    failed = database(mounts=scripts)
    assert failed.wait_exit() != 0
    assert "division by zero" in failed.logs()

    script.write_text("CREATE TABLE half (number int);")
    mended = database(mounts=scripts)
    mended.wait_healthy()
    assert sql(mended, "SELECT count(*) FROM half") == "0"


def test_killed_in_a_script(database: Callable[..., Box], scripts: dict[str, Any], tmp_path: Path) -> None:
    """The official image takes what is left for a whole cluster, without what the scripts were to do."""
    (tmp_path / "init" / "1.sql").write_text("CREATE TABLE first (number int);")
    (tmp_path / "init" / "2.sh").write_text(WAIT)
    (tmp_path / "init" / "3.sql").write_text("CREATE TABLE last (number int);")
    killed = database(mounts=scripts)
    killed.wait_until(lambda: killed.run("test", "-e", "/tmp/waiting")[0] == 0)
    killed.container.kill()
    assert killed.wait_exit() == 137

    again = database(mounts=scripts)
    again.wait_until(lambda: again.run("test", "-e", "/tmp/waiting")[0] == 0)
    again.output_of("touch", "/tmp/go")
    again.wait_healthy()
    assert "was interrupted, starting it anew" in again.logs()
    assert sql(again, "SELECT count(*) FROM first, last") == "0"


def test_killed_in_initdb(database: Callable[..., Box]) -> None:
    killed = database()
    killed.wait_until(lambda: killed.run("test", "-d", f"{DATA}/.initializing/base")[0] == 0)
    killed.container.kill()
    assert killed.wait_exit() == 137

    again = database()
    again.wait_healthy()
    assert "was interrupted, starting it anew" in again.logs()
    assert sql(again, "SELECT 1") == "1"


@pytest.mark.parametrize("moved", ["nothing", "half", "all"])
def test_killed_between_the_last_step_and_its_place(database: Callable[..., Box], moved: str) -> None:
    """The states that a kill among the moves leaves, made from a whole cluster by moving entries back."""
    whole = database()
    whole.wait_healthy()
    sql(whole, "CREATE TABLE kept (number int); INSERT INTO kept VALUES (7)")
    whole.container.stop(timeout=30)
    back = {
        "nothing": "for entry in *; do mv $entry .initialized/; done",
        "half": "mv PG_VERSION base pg_wal postgresql.conf .initialized/",
        "all": "true",
    }[moved]
    undo = database(["sh", "-ec", f"cd {DATA}; mkdir .initialized; {back}"])
    assert undo.wait_exit() == 0, undo.logs()

    again = database()
    again.wait_healthy()
    assert sql(again, "SELECT number FROM kept") == "7"
    assert again.run("test", "-e", f"{DATA}/.initialized")[0] == 1
