"""What the tests of the data services share: the two hosts, clients of the services, and the operator's playbook."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
DB_IMAGE, REDIS_IMAGE = "pgvector/pgvector:0.8.1-pg17", "redis:8.0"


@dataclass(frozen=True)
class Answer:
    """How a command or a run of the playbook ended."""

    rc: int
    said: str


@dataclass(frozen=True)
class Host:
    """A test host, which is a container of this machine's engine, with the settings that an operator has for it."""

    container: str
    inventory: str

    def ask(self, *argv: str) -> Answer:
        """Run a command on the host."""
        done = subprocess.run(["docker", "exec", self.container, *argv], capture_output=True, text=True, check=False)
        return Answer(done.returncode, (done.stdout + done.stderr).strip())

    def run(self, *argv: str) -> str:
        """Run a command on the host that has to succeed, and return what it printed."""
        answer = self.ask(*argv)
        assert answer.rc == 0, f"{argv} on {self.container}: {answer.said}"
        return answer.said

    @property
    def address(self) -> str:
        """Where others find it."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        argv = ["docker", "inspect", "--format", template, self.container]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    def secret(self, name: str) -> str:
        """A secret that the deployment made or was given."""
        return self.run("cat", f"/opt/letta/secrets/{name}")

    def containers(self) -> dict[str, str]:
        """The ids of the stack's running containers by service."""
        label = "label=com.docker.compose.project=letta"
        form = '{{.Label "com.docker.compose.service"}} {{.ID}}'
        lines = self.run("docker", "ps", "--no-trunc", "--filter", label, "--format", form).splitlines()
        return dict(line.split() for line in lines)

    def psql(self, sql: str, password: str | None = None, **options: str) -> Answer:
        """Ask the published PostgreSQL as a client that is not in the stack, by TLS that sees whose it is."""
        wanted = {"host": "data.test", "user": "letta", "dbname": "letta", "connect_timeout": "10"}
        tls = {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}
        connection = " ".join(f"{key}={value}" for key, value in {**wanted, **tls, **options}.items())
        return self.ask(
            *("docker", "run", "--rm", "--network=host", "--user=999:999", "--entrypoint=psql"),
            *("--tmpfs=/var/lib/postgresql/data", "--volume=/srv/test-ca.pem:/ca.pem:ro"),
            f"--env=PGPASSWORD={self.secret('db_password') if password is None else password}",
            *(DB_IMAGE, "--no-psqlrc", "--no-password", "--tuples-only", "--no-align", connection, f"--command={sql}"),
        )

    def redis(self, *command: str, password: str = "") -> str:
        """Ask the published Redis as a client that is not in the stack."""
        credentials = [f"--env=REDISCLI_AUTH={password}"] if password else []
        client = ["docker", "run", "--rm", "--network=host", "--entrypoint=redis-cli", *credentials, REDIS_IMAGE]
        return self.run(*client, "-h", "data.test", *command)

    def deploy(self, **variables: object) -> Answer:
        """Run the deployment playbook, with some variables changed."""
        done = subprocess.run(
            ["ansible-playbook", "-i", self.inventory, "-e", json.dumps(variables), "playbooks/deploy.yml"],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # Ansible folds long lines.
        return Answer(done.returncode, " ".join(done.stdout.split()))


@pytest.fixture(scope="session")
def encryption_key() -> str:
    """The one key of all servers of the database."""
    return "OneKeyForAllServersOfThisDatabase"


@pytest.fixture(scope="session")
def data() -> Host:
    """The host of the services, whose clients trust the certificate that was made there."""
    host = Host(os.environ["LETTA_TEST_HOST"], os.environ["LETTA_TEST_INVENTORY"])
    host.run("install", "--mode=0644", "/opt/letta/secrets/db_tls_certificate", "/srv/test-ca.pem")
    return host


@pytest.fixture(scope="session")
def server(data: Host, encryption_key: str, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """The host of the stack that uses them; nothing is on it yet."""
    container = os.environ["LETTA_TEST_SERVER"]
    inventory = tmp_path_factory.mktemp("server") / "hosts.json"
    settings = {
        "ansible_connection": "community.docker.docker",
        "ansible_host": container,
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
    return Host(container, str(inventory))
