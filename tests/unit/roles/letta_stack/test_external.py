# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database and a Redis that somebody else runs: what becomes of the stack, and what is asked of them."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader

TEMPLATE = "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
CA = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"
DATABASE = {"host": "db.example.com", "user": "agents", "database": "agents", "port": 6432}
PASSWORD = "from-the-vault"
SECRET_OF_KEY = "{{ __letta_stack_encryption_secret }}"
NAMES = ("external_db_password", "db_password", "db_superuser_password", "encryption_key", "server_password")


def files(render, **settings):
    """Give what the tasks learn of the secrets, of which the key is called after the database."""
    names = [*NAMES, render("letta_stack", SECRET_OF_KEY, **settings)]
    return {"__letta_stack_secrets": {"files": {name: f"{name}.01" for name in names}}}


@pytest.fixture(scope="module")
def compose(render):
    def project(**settings):
        given = {"letta_stack_db_password": PASSWORD, **files(render, **settings), **settings}
        assert render("letta_stack", "{{ __letta_stack_complaints }}", **given) == []
        return yaml.safe_load(render("letta_stack", TEMPLATE, **given))

    return project


@pytest.fixture(scope="module")
def probe():
    path = Path(__file__).resolve().parents[4] / "roles" / "letta_stack" / "files" / "probe.py"
    spec = importlib.util.spec_from_file_location("probe", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_may_be_somebody_elses(compose):
    project = compose(letta_stack_external_db=DATABASE, letta_stack_external_redis={"host": "redis.example.com"})
    assert list(project["services"]) == ["migrate", "letta_server", "nginx"]
    server, migrate = project["services"]["letta_server"], project["services"]["migrate"]
    assert server["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert "depends_on" not in migrate
    assert migrate["networks"] == ["egress"]
    assert server["networks"] == ["front", "egress"]
    assert "data" not in project["networks"]
    assert "volumes" not in project
    environment = server["environment"]
    assert (environment["LETTA_REDIS_HOST"], environment["LETTA_REDIS_PORT"]) == ("redis.example.com", "6379")
    for service in (server, migrate):
        told = service["environment"]
        assert (told["LETTA_PG_HOST"], told["LETTA_PG_PORT"]) == ("db.example.com", "6432")
        assert (told["LETTA_PG_USER"], told["LETTA_PG_DB"]) == ("agents", "agents")
        assert {"source": "external_db_password", "target": "LETTA_PG_PASSWORD"} in service["secrets"]


def test_the_others_stay_the_stacks_own(compose):
    database = compose(letta_stack_external_db=DATABASE)["services"]
    assert list(database) == ["redis", "migrate", "letta_server", "nginx"]
    assert set(database["letta_server"]["networks"]) == {"data", "front", "egress"}
    redis = compose(letta_stack_external_redis={"host": "10.0.0.3"}, letta_stack_db_password="a" * 16)["services"]
    assert list(redis) == ["letta_db", "migrate", "letta_server", "nginx"]
    assert redis["migrate"]["networks"] == ["data"]


@pytest.mark.parametrize(
    ("tls", "environment", "mounted"),
    [
        ({"tls": "disable"}, {"PGSSLMODE": "disable"}, False),
        ({"tls": "require"}, {"PGSSLMODE": "require"}, False),
        ({}, {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/etc/ssl/certs/ca-certificates.crt"}, False),
        ({"ca": CA}, {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/etc/letta/database-ca.pem"}, True),
    ],
    ids=["disable", "require", "verify-full", "verify-full with an authority"],
)
def test_tls_goes_where_both_drivers_read_it_and_not_into_the_uri(compose, tls, environment, mounted):
    services = compose(letta_stack_external_db={**DATABASE, **tls})["services"]
    for service in (services["letta_server"], services["migrate"]):
        assert {
            name: value for name, value in service["environment"].items() if name.startswith("PGSSL")
        } == environment
        targets = {volume.split(":")[1] for volume in service["volumes"]}
        assert ("/etc/letta/database-ca.pem" in targets) is mounted


def test_another_authority_is_another_file(compose):
    def source(ca):
        volumes = compose(letta_stack_external_db={**DATABASE, "ca": ca})["services"]["migrate"]["volumes"]
        return next(volume for volume in volumes if "database-ca" in volume)

    assert source(CA) != source(CA + "\n")


def test_the_password_of_the_stacks_own_database_is_not_overwritten(render):
    settings = {"letta_stack_external_db": DATABASE, "letta_stack_db_password": PASSWORD}
    given = render("letta_stack", "{{ __letta_stack_given_secrets }}", **settings)
    assert given == {"external_db_password": PASSWORD}
    assert render("letta_stack", "{{ __letta_stack_given_secrets }}", letta_stack_db_password="a" * 16) == {
        "db_password": "a" * 16
    }


def test_a_database_is_written_with_its_own_key_alone(compose):
    def key(**changes):
        settings = {"letta_stack_external_db": {**DATABASE, **changes}} if changes.pop("external", True) else {}
        services = compose(**settings, letta_stack_db_password="a" * 16)["services"]
        sources = {
            secret["source"]
            for service in (services["letta_server"], services["migrate"])
            for secret in service["secrets"]
            if isinstance(secret, dict) and secret["target"] == "LETTA_ENCRYPTION_KEY"
        }
        (source,) = sources
        return source

    assert key(external=False) == "encryption_key"
    assert len({key(external=False), key(), key(host="other.example.com"), key(port=1), key(database="b")}) == 5
    # Who reaches it, and how, is no other database.
    assert key() == key(user="other") == key(tls="require") == key(port="6432")


@pytest.mark.parametrize("tables", [True, False])
def test_the_key_that_is_given_is_that_of_the_external_database(render, tables):
    settings = {
        "letta_stack_external_db": DATABASE,
        "letta_stack_db_password": PASSWORD,
        "letta_stack_encryption_key": "EncryptionKey1234567",
        "__letta_stack_external_answer": {"problems": [], "schema": tables},
        "ansible_check_mode": False,
    }

    def of(variable):
        return render("letta_stack", f"{{{{ {variable} }}}}", **settings)

    name = render("letta_stack", SECRET_OF_KEY, **settings)
    assert of("__letta_stack_given_secrets") == {
        "external_db_password": PASSWORD,
        name: settings["letta_stack_encryption_key"],
    }
    # What cannot change, and what no run makes up.
    assert of("__letta_stack_data_secrets | intersect(__letta_stack_given_secrets)") == [name]
    assert (name in of("__letta_stack_required_secrets")) is tables
    assert name in of("__letta_stack_needed_secrets")
    assert "encryption_key" not in of("__letta_stack_needed_secrets")


def test_the_program_is_python_and_its_question_survives(render, probe):
    password = 'quote " and \\ and $HOME'
    database = {**DATABASE, "ca": CA, "port": "6432"}
    settings = {"letta_stack_external_db": database, "letta_stack_db_password": password}
    text = render("letta_stack", "{{ lookup('ansible.builtin.template', 'probe.py.j2') }}", **settings)
    compile(text, "probe", "exec")
    asked = []
    program = text.replace("def main(", "def _unused(")
    exec(compile(program, "probe", "exec"), {"main": asked.append, "__name__": "probe"})
    question = json.loads(asked[0])
    assert question["redis"] is None
    assert question["database"]["password"] == password
    assert question["database"]["port"] == 6432
    assert question["database"]["ca"] == CA
    command = render("letta_stack", "{{ __letta_stack_probe_command }}", **settings)
    assert [word for word in command if password in word] == []


def test_null_is_a_value_that_is_not_given(compose, render):
    optional = dict.fromkeys(["port", "user", "database", "tls", "ca"])
    given = {"letta_stack_external_redis": {"host": "redis.example.com", "port": None}}
    services = compose(letta_stack_external_db={"host": "db.example.com", **optional}, **given)["services"]
    assert services == compose(letta_stack_external_db={"host": "db.example.com"}, **given)["services"]
    assert services["migrate"]["environment"]["LETTA_PG_PORT"] == "5432"
    assert services["letta_server"]["environment"]["LETTA_REDIS_PORT"] == "6379"
    # That there is to be one at all is said by the setting itself.
    nowhere = {"letta_stack_external_db": {"host": None}, "letta_stack_db_password": PASSWORD}
    (complaint,) = render("letta_stack", "{{ __letta_stack_complaints }}", **nowhere)
    assert complaint.startswith("letta_stack_external_db.host: must be")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"letta_stack_external_db": {"user": "letta"}}, "letta_stack_external_db.host: must be a DNS name"),
        ({"letta_stack_external_db": {**DATABASE, "host": "db:5432"}}, "letta_stack_external_db.host: must be"),
        ({"letta_stack_external_db": {**DATABASE, "port": 0}}, "must be between 1 and 65535"),
        ({"letta_stack_external_db": {**DATABASE, "user": "a b"}}, "letta_stack_external_db.user"),
        ({"letta_stack_external_db": {**DATABASE, "tls": "prefer"}}, "must be one of disable, require, verify-full"),
        ({"letta_stack_external_db": {**DATABASE, "tls": "require", "ca": CA}}, "verify-full alone"),
        ({"letta_stack_external_db": {**DATABASE, "ca": "/etc/ca.pem"}}, "the text of a PEM file"),
        ({"letta_stack_external_db": DATABASE, "letta_stack_db_password": ""}, "must be given"),
        ({"letta_stack_external_db": DATABASE, "letta_stack_db_password": "p@ss:word"}, "has to escape"),
        ({"letta_stack_external_db": DATABASE, "letta_stack_db_port": 5432}, "there is nothing to publish"),
        ({"letta_stack_external_db": DATABASE, "letta_stack_db_tls": True}, "letta_stack_external_db.tls is for that"),
        ({"letta_stack_external_redis": {"host": "a", "port": 99999}}, "must be between 1 and 65535"),
        ({"letta_stack_external_redis": {"port": 1}}, "letta_stack_external_redis.host"),
    ],
)
def test_what_cannot_work_is_one_complaint(render, settings, complaint):
    password = {"letta_stack_db_password": PASSWORD} if "letta_stack_external_db" in settings else {}
    (found,) = render("letta_stack", "{{ __letta_stack_complaints }}", **{**password, **settings})
    assert complaint in found
    assert "p@ss:word" not in found


FINE = {
    "version": 170002,
    "read_only": False,
    "vector": True,
    "vector_available": True,
    "schema": "public",
    "may_create": True,
    "letta": False,
    "owner": None,
}


@pytest.mark.parametrize(
    ("fact", "complaint"),
    [
        ({}, ""),
        ({"version": 140011}, "PostgreSQL 14 is older than 15"),
        ({"read_only": True}, "name the primary"),
        ({"vector": False}, "CREATE EXTENSION vector"),
        ({"vector": False, "vector_available": False}, "pgvector is not installed on that server"),
        ({"may_create": False}, "GRANT CREATE ON SCHEMA public TO agents"),
        ({"schema": None, "may_create": None}, "no schema of the search_path"),
        ({"letta": True, "owner": "postgres"}, "belong to postgres, so agents cannot migrate them"),
    ],
)
def test_each_thing_that_is_wrong_with_a_database_is_told_by_itself(probe, fact, complaint):
    found = probe.misfits({**DATABASE, "minimum": 15}, {**FINE, **fact})
    assert len(found) == bool(complaint)
    assert complaint in "".join(found)


@pytest.fixture
def answering():
    """Return a function that starts a server which gives one answer to whoever asks, and returns its port."""
    listeners = []

    def start(answer: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(512):
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"+PONG\r\n", ""),
        (b"-NOAUTH Authentication required.\r\n", "wants a password, and Letta can send none"),
        (b"-LOADING Redis is loading\r\n", "answers a PING with LOADING"),
        (b"HTTP/1.1 400 Bad Request\r\n", "does not answer a PING as Redis does"),
    ],
)
def test_a_redis_has_to_answer_without_a_password(probe, answering, answer, complaint):
    found = probe.ask_redis({"host": "127.0.0.1", "port": answering(answer)})
    assert len(found) == bool(complaint)
    assert complaint in "".join(found)


def test_what_cannot_be_reached_is_named_with_its_setting(probe):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert (
        f"no Redis can be reached at 127.0.0.1:{port} (Connection refused)"
        in probe.ask_redis({"host": "127.0.0.1", "port": port})[0]
    )
    (nowhere,) = probe.ask_redis({"host": "nowhere.invalid", "port": 1})
    assert nowhere.startswith("letta_stack_external_redis.host: nowhere.invalid has no address")


EXAMPLES = sorted((Path(__file__).resolve().parents[4] / "docs" / "examples" / "external_services").glob("*.yml"))
PAGE = Path(__file__).resolve().parents[4] / "docs" / "variants" / "external_services.md"
VAULT = {"vault_db_certificate": CA, "vault_db_password": PASSWORD, "vault_encryption_key": "EncryptionKey1234567"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_accepted_and_stands_in_the_page(render, path):
    given = {**VAULT, **DataLoader().load_from_file(str(path), trusted_as_template=True)}
    given |= files(render, **given)
    assert render("letta_stack", "{{ __letta_stack_complaints }}", **given) == []
    assert "letta_db" not in yaml.safe_load(render("letta_stack", TEMPLATE, **given))["services"]
    body = path.read_text(encoding="utf-8").removeprefix("---\n")
    assert f"```yaml\n{body}```" in PAGE.read_text(encoding="utf-8")


def test_there_are_examples():
    assert [path.stem for path in EXAMPLES] == ["managed", "own_network"]
