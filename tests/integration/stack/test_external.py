# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of services that somebody else runs, and what they answer: real ones, right and wrong in every way."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROBE = Path(__file__).resolve().parents[3] / "roles" / "letta_stack" / "files" / "probe.py"
PASSWORD = "PasswordOfLetta"
SETTINGS = {"port": 5432, "user": "letta", "database": "letta", "password": PASSWORD, "ca": "", "minimum": 15}

PREPARE = f"""
CREATE ROLE letta LOGIN PASSWORD '{PASSWORD}';
CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}';
CREATE DATABASE letta OWNER letta;
CREATE DATABASE bare OWNER letta;
CREATE DATABASE private OWNER letta;
REVOKE CONNECT ON DATABASE private FROM PUBLIC;
\\c letta
CREATE EXTENSION vector;
CREATE DATABASE used OWNER guest;
\\c used
CREATE EXTENSION vector;
CREATE TABLE alembic_version (version_num text);
ALTER TABLE alembic_version OWNER TO guest;
GRANT ALL ON SCHEMA public TO letta;
"""


def docker(*arguments: str, data: str | None = None, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], input=data, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


class Neighbours:
    """Databases and Redis servers on a network, and the question that the server's image asks of them."""

    def __init__(self, references: dict[str, str], certificates: Path) -> None:
        self.name = f"agentfleet-test-{uuid.uuid4().hex[:8]}"
        self.images, self.certificates = references, certificates
        self.made: list[str] = []
        docker("network", "create", self.name)

    def start(self, alias: str, image: str, *options: str, command: tuple[str, ...] = ()) -> str:
        container = f"{self.name}-{alias}"
        self.made.append(container)
        network = ["--network", self.name, "--network-alias", alias]
        docker("run", "--detach", "--name", container, *network, *options, self.images[image], *command)
        return container

    def postgres(self, alias: str, *command: str) -> str:
        mount = f"{self.certificates}:/certificates:ro"
        container = self.start(
            alias, "db", "--env=POSTGRES_PASSWORD=superuser", f"--volume={mount}", command=("postgres", *command)
        )
        deadline = time.monotonic() + 60
        while docker("exec", container, "sh", "-c", "pg_isready -qh 127.0.0.1 && echo yes", check=False) != "yes":
            assert time.monotonic() < deadline, docker("logs", container)
            time.sleep(0.3)
        docker("exec", "--interactive", container, "psql", "-qU", "postgres", "-v", "ON_ERROR_STOP=1", data=PREPARE)
        return container

    def ask(self, **asked: Any) -> dict[str, Any]:
        question = json.dumps({"database": None, "redis": None, **asked})
        program = f"{PROBE.read_text(encoding='utf-8')}\n\nmain({question!r})\n"
        container = [
            "run",
            "--rm",
            "--interactive",
            "--read-only",
            "--tmpfs=/tmp",
            "--user=10001:10001",
            "--cap-drop=ALL",
        ]
        network = ["--tmpfs=/var/lib/postgresql/data", "--network", self.name, "--entrypoint=python"]
        answer: dict[str, Any] = json.loads(docker(*container, *network, self.images["server"], "-", data=program))
        assert PASSWORD not in json.dumps(answer)
        return answer

    def problems(self, **changes: Any) -> str:
        """What is said of a database, as one text."""
        return "\n".join(self.ask(database={**SETTINGS, "host": "plain", "tls": "disable", **changes})["problems"])

    def remove(self) -> None:
        for container in self.made:
            docker("rm", "--force", "--volumes", container)
        docker("network", "rm", self.name)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that signs itself, for the name secure, with its key as PostgreSQL wants it."""
    directory = tmp_path_factory.mktemp("certificates")
    directory.chmod(0o755)
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")]
    names = ["-subj", "/CN=secure", "-addext", "subjectAltName=DNS:secure"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files],
        check=True,
        capture_output=True,
    )
    subprocess.run(["chown", "999:999", str(directory / "key.pem")], check=True)
    return directory


@pytest.fixture(scope="module")
def neighbours(certificates: Path, bring: Callable[..., dict[str, str]]) -> Iterator[Neighbours]:
    neighbours = Neighbours(bring("server", "db", "redis"), certificates)
    try:
        neighbours.postgres("plain")
        tls = ["-c", "ssl=on", "-c", "ssl_cert_file=/certificates/certificate.pem"]
        secure = neighbours.postgres("secure", *tls, "-c", "ssl_key_file=/certificates/key.pem")
        docker("network", "disconnect", neighbours.name, secure)
        docker("network", "connect", "--alias", "secure", "--alias", "misnamed", neighbours.name, secure)
        neighbours.start("redis", "redis")
        neighbours.start("locked", "redis", command=("redis-server", "--requirepass", "something"))
        yield neighbours
    finally:
        neighbours.remove()


def test_what_will_do_is_not_complained_of(neighbours, certificates):
    certificate = (certificates / "certificate.pem").read_text(encoding="utf-8")
    database = {**SETTINGS, "host": "secure", "tls": "verify-full", "ca": certificate}
    answer = neighbours.ask(database=database, redis={"host": "redis", "port": 6379})
    assert answer == {"problems": [], "schema": False}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, ""),
        ({"host": "secure", "tls": "require"}, ""),
        ({"host": "nowhere"}, "letta_stack_external_db.host: nowhere has no address"),
        ({"port": 5433}, "letta_stack_external_db: no PostgreSQL can be reached at plain:5433 (Connection refused)"),
        ({"host": "redis", "port": 6379}, "letta_stack_external_db: no answer of PostgreSQL at redis:6379"),
        ({"password": "wrong-password"}, "letta_stack_db_password: plain:5432 does not take it for letta"),
        ({"user": "nobody"}, "letta_stack_db_password: plain:5432 does not take it for nobody"),
        ({"database": "other"}, "letta_stack_external_db.database: there is no other at plain:5432"),
        ({"database": "private", "user": "guest"}, "guest may not connect to private"),
        ({"tls": "require"}, "letta_stack_external_db.tls: plain:5432 speaks no TLS"),
        (
            {"host": "secure", "tls": "verify-full"},
            "letta_stack_external_db.tls: the certificate of secure:5432 is not trusted",
        ),
        ({"minimum": 99}, "is older than 99, which Letta needs"),
        ({"database": "bare"}, "the extension vector is not in the database bare"),
        ({"user": "guest"}, "guest may not create tables in the schema public of letta"),
        ({"database": "used"}, "the tables of Letta in used belong to guest, so letta cannot migrate them"),
    ],
)
def test_each_thing_that_is_wrong_is_its_own_error(neighbours, changes, complaint):
    found = neighbours.problems(**changes)
    assert complaint in found
    assert bool(found) == bool(complaint)
    assert "\n" not in found


def test_the_name_in_the_certificate_counts(neighbours, certificates):
    certificate = (certificates / "certificate.pem").read_text(encoding="utf-8")
    found = neighbours.problems(host="misnamed", tls="verify-full", ca=certificate)
    assert "the certificate of misnamed:5432 is not trusted" in found
    assert "ostname mismatch" in found


def test_a_standby_is_refused(neighbours):
    container = f"{neighbours.name}-plain"
    psql = ["exec", container, "psql", "-qU", "postgres", "-c"]
    docker(*psql, "ALTER DATABASE letta SET default_transaction_read_only = on")
    try:
        assert "takes no writes; name the primary" in neighbours.problems()
    finally:
        docker(*psql, "ALTER DATABASE letta RESET default_transaction_read_only")


def test_lettas_tables_are_noticed(neighbours):
    answer = neighbours.ask(
        database={**SETTINGS, "host": "plain", "tls": "disable", "user": "guest", "database": "used"}
    )
    assert answer == {"problems": [], "schema": True}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"host": "locked", "port": 6379}, "locked:6379 wants a password, and Letta can send none"),
        ({"host": "redis", "port": 6380}, "no Redis can be reached at redis:6380 (Connection refused)"),
        ({"host": "plain", "port": 5432}, "plain:5432 does not answer a PING"),
    ],
)
def test_a_redis_that_will_not_do_is_refused(neighbours, settings, complaint):
    (found,) = neighbours.ask(redis=settings)["problems"]
    assert complaint in found


def test_everything_that_is_wrong_is_said_at_once(neighbours):
    database = {**SETTINGS, "host": "plain", "tls": "disable", "database": "bare", "user": "guest"}
    answer = neighbours.ask(database=database, redis={"host": "locked", "port": 6379})
    assert [problem.partition(":")[0] for problem in answer["problems"]] == [
        *["letta_stack_external_db"] * 2,
        "letta_stack_external_redis",
    ]
