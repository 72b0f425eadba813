"""The services as clients find them, and what an operator changes about them."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess

import pytest

VECTOR = "SELECT '[1,2,3]'::vector <-> '[1,2,5]'::vector"
IS_ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def test_nothing_but_the_two_listens_outside_of_the_host(data):
    listening = data.host.run("ss", "--listening", "--tcp", "--numeric", "--no-header").splitlines()
    outside = {line.split()[3].rpartition(":")[2] for line in listening if not line.split()[3].startswith("127.")}
    assert outside == {"5432", "6379"}


def test_the_owner_gets_in_with_the_password_over_tls_and_has_vectors(data):
    answer = data.psql(IS_ENCRYPTED)
    assert answer.said.startswith("t|TLSv1."), answer.said
    assert data.psql(VECTOR).said == "2"


@pytest.mark.parametrize(
    ("password", "options", "complaint"),
    [
        ("WrongPassword1234", {}, "password authentication failed"),
        ("", {}, "no password supplied"),
        (None, {"sslmode": "disable"}, "no encryption"),
        (None, {"host": "127.0.0.2"}, "does not match host name"),
        (None, {"user": "postgres", "dbname": "postgres"}, "password authentication failed"),
    ],
    ids=["wrong password", "no password", "no TLS", "another name", "the superuser"],
)
def test_nobody_else_gets_in(data, password, options, complaint):
    answer = data.psql("SELECT 1", password, **options)
    assert answer.rc != 0
    assert complaint in answer.said


def test_secrets_are_nowhere_but_in_their_files(data):
    ids = list(data.containers().values())
    shown = data.host.run("docker", "inspect", *ids) + data.host.run("cat", "/opt/letta/compose.yaml")
    shown += "".join(data.host.ask("docker", "logs", each).said for each in ids)
    names = ["db_password", "db_superuser_password", "db_tls_key"]
    assert [name for name in names if data.secret(name) in shown] == []
    assert data.host.run("stat", "--format=%a %U", "/opt/letta/secrets") == "700 root"


def test_redis_answers_and_holds_what_it_is_given(data):
    assert data.redis("set", "key", "value") == "OK"
    assert data.redis("get", "key") == "value"


def test_an_update_of_redis_asks_for_a_password_and_leaves_the_database_alone(data):
    password = "PasswordOfRedis1234"
    before = data.containers()
    assert data.psql("CREATE TABLE kept AS SELECT 'row' AS what").rc == 0
    deployed = data.deploy(letta_stack_redis_password=password)
    assert deployed.rc == 0, deployed.said
    after = data.containers()
    assert after["redis"] != before["redis"]
    assert after["letta_db"] == before["letta_db"]
    assert data.redis("ping", password=password) == "PONG"
    assert "NOAUTH" in data.redis("ping")
    assert password not in data.host.run("docker", "top", after["redis"], "-o", "pid,args")
    assert password not in data.host.run("docker", "inspect", after["redis"])


def test_an_update_of_the_database_keeps_its_rows_and_redis_lets_everyone_in_again(data):
    before = data.containers()
    deployed = data.deploy(letta_stack_db_shm_size="128m")
    assert deployed.rc == 0, deployed.said
    after = data.containers()
    assert after["letta_db"] != before["letta_db"]
    assert data.psql("SELECT what FROM kept").said == "row"
    assert data.redis("ping") == "PONG"


def test_a_certificate_that_does_not_fit_its_key_is_taken_back(data, tmp_path):
    before = data.containers()
    own = {name: data.secret(f"db_tls_{name}") + "\n" for name in ("certificate", "key")}
    for name in ("one", "two"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=data.test"]
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.crt")]
        subprocess.run([*command, *files], check=True, capture_output=True)
    deployed = data.deploy(
        letta_stack_db_shm_size="128m",
        letta_stack_db_tls_certificate=(tmp_path / "one.crt").read_text(encoding="utf-8"),
        letta_stack_db_tls_key=(tmp_path / "two.key").read_text(encoding="utf-8"),
    )
    assert deployed.rc != 0
    assert "key values mismatch" in deployed.said, deployed.said
    assert "Rolled back; serving: letta-letta_db-" in deployed.said, deployed.said
    assert data.containers() == before
    assert data.psql("SELECT what FROM kept").said == "row"
    # What was asked for is in the files until the right ones are given.
    again = data.deploy(
        letta_stack_db_shm_size="128m",
        letta_stack_db_tls_certificate=own["certificate"],
        letta_stack_db_tls_key=own["key"],
    )
    assert again.rc == 0, again.said
    assert data.containers() == before
    assert data.psql(IS_ENCRYPTED).said.startswith("t|")
