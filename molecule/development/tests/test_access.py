"""Who gets in, and where: the server by its own port, the database from the host alone."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
import requests

# PostgreSQL answers a request for TLS with one letter.
ASK_POSTGRESQL = """
import socket
with socket.create_connection(("127.0.0.1", 5432), 5) as client:
    client.sendall(bytes.fromhex("0000000804d2162f"))
    print(client.recv(1).decode())
"""


def reaches(stack, service: str, address: str) -> bool:
    """Whether a container of the service can open a connection to port 8000 of an address."""
    command = f"timeout 5 bash -c '</dev/tcp/{address}/8000' && echo yes || echo no"
    return stack.execute(service, "bash", "-c", command).endswith("yes")


def test_the_server_answers_on_its_own_port(stack):
    answer = requests.get(f"{stack.url}/v1/health/", timeout=10)
    assert answer.json() == {"version": "0.16.8", "status": "ok"}
    publishing = ["docker", "ps", "--filter", "publish=8283", "--format"]
    assert stack.host.run(*publishing, '{{.Label "com.docker.compose.service"}}') == "letta_server"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_nobody_gets_in_without_the_password(stack, headers):
    assert requests.get(f"{stack.url}/v1/agents/", headers=headers, timeout=10).status_code == 401


def test_the_database_answers_the_host_and_nobody_else(stack, neighbour):
    assert stack.host.run("python3", "-c", ASK_POSTGRESQL) in {"N", "S"}
    assert neighbour.finds_open(stack.host) == [8283]


def test_its_port_is_no_way_out_for_the_database(stack, neighbour):
    assert reaches(stack, "letta_server", neighbour.address), "the neighbour answers whom it can be reached by"
    assert not reaches(stack, "letta_db", neighbour.address)


def test_debug_is_on(stack):
    assert "LETTA_DEBUG=true" in stack.inspect("letta_server", "{{json .Config.Env}}")
    assert "DEBUG" in stack.host.shell(f"docker logs {stack.container('letta_server')} 2>&1")


def test_secrets_are_in_no_environment_log_or_compose_file(stack):
    names = ["server_password", "db_password", "db_superuser_password", "encryption_key"]
    secrets = [stack.host.run("cat", f"/opt/letta/secrets/{name}") for name in names]
    shown = [
        stack.host.run("cat", "/opt/letta/compose.yaml"),
        stack.host.shell("docker inspect $(docker ps --all --quiet)"),
        stack.host.shell("for c in $(docker ps --all --quiet); do docker logs $c 2>&1; done"),
    ]
    assert [secret for secret in secrets for text in shown if secret in text] == []
