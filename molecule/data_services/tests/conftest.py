"""What the tests of the data services share: the services, clients of theirs, and a stack elsewhere that uses them."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.hosts.stack import Answer, Host, Stack

if TYPE_CHECKING:
    pass

DB_IMAGE, REDIS_IMAGE = "pgvector/pgvector:0.8.1-pg17", "redis:8.0"


class DataServices(Stack):
    """The services, and clients of them on the same host."""

    def psql(self, sql: str, password: str | None = None, **options: str) -> Answer:
        """Ask the published PostgreSQL as a client that is not in the stack, by TLS that sees whose it is."""
        wanted = {"host": "data.test", "user": "letta", "dbname": "letta", "connect_timeout": "10"}
        tls = {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}
        connection = " ".join(f"{key}={value}" for key, value in {**wanted, **tls, **options}.items())
        return self.host.ask(
            *("docker", "run", "--rm", "--network=host", "--user=999:999", "--entrypoint=psql"),
            *("--tmpfs=/var/lib/postgresql/data", "--volume=/srv/test-ca.pem:/ca.pem:ro"),
            f"--env=PGPASSWORD={self.secret('db_password') if password is None else password}",
            *(DB_IMAGE, "--no-psqlrc", "--no-password", "--tuples-only", "--no-align", connection, f"--command={sql}"),
        )

    def redis(self, *command: str, password: str = "") -> str:
        """Ask the published Redis as a client that is not in the stack."""
        credentials = [f"--env=REDISCLI_AUTH={password}"] if password else []
        client = ["docker", "run", "--rm", "--network=host", "--entrypoint=redis-cli", *credentials, REDIS_IMAGE]
        return self.host.run(*client, "-h", "data.test", *command)


@pytest.fixture(scope="session")
def encryption_key() -> str:
    """The one key of all servers of the database."""
    return "OneKeyForAllServersOfThisDatabase"


@pytest.fixture(scope="session")
def data() -> DataServices:
    """The services, whose clients trust the certificate that was made on their host."""
    services = DataServices.on("data")
    services.host.run("install", "--mode=0644", "/opt/letta/secrets/db_tls_certificate", "/srv/test-ca.pem")
    return services


@pytest.fixture(scope="session")
def server(data: DataServices, encryption_key: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The host of the stack that uses them; nothing is on it yet."""
    host = Host.named("server")
    inventory = tmp_path_factory.mktemp("server") / "hosts.json"
    settings = {
        "ansible_connection": "community.docker.docker",
        "ansible_host": host.container,
        "ansible_python_interpreter": "/usr/bin/python3",
        "docker_host_registry_mirrors": ["http://registry:5000"],
        "letta_images_source": "pull",
        "letta_stack_listen_address": "0.0.0.0",
        "letta_stack_environment": {"VLLM_API_BASE": "http://llm.test:8000/v1"},
        "letta_stack_db_password": data.secret("db_password"),
        "letta_stack_encryption_key": encryption_key,
        "letta_stack_external_db": {"host": "data.test", "ca": data.secret("db_tls_certificate")},
        "letta_stack_external_redis": {"host": "data.test"},
    }
    inventory.write_text(json.dumps({"all": {"hosts": {"server": settings}}}), encoding="utf-8")
    return Stack(host, str(inventory))
