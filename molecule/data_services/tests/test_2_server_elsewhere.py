"""A stack on another host whose database and Redis these are."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest


def test_what_will_not_do_is_refused_and_nothing_is_made(server):
    deployed = server.deploy(letta_stack_db_password="WrongPassword1234")
    assert deployed.rc != 0
    assert "letta_stack_db_password: data.test:5432 does not take it for letta" in deployed.said, deployed.said
    assert "WrongPassword1234" not in deployed.said
    assert server.containers() == {}
    assert server.host.ask("test", "-e", "/opt/letta").rc == 1


@pytest.fixture(scope="module")
def agent(data, server) -> str:
    deployed = server.deploy()
    assert deployed.rc == 0, deployed.said
    return server.client.agents.create(name="remote", model="vllm/tiny", memory_blocks=[]).id


def test_an_agent_is_in_the_database_of_the_other_host(data, server, agent):
    assert set(server.containers()) == {"letta_server", "nginx"}
    assert data.psql(f"SELECT name FROM agents WHERE id = '{agent}'").said == "remote"
    assert server.host.run("docker", "volume", "ls", "--quiet") == ""


def test_migrations_see_whose_certificate_it_is(server, agent):
    run = ["docker", "compose", "--project-directory", "/opt/letta", "run", "--rm", "--no-deps"]
    assert server.host.ask(*run, "migrate").rc == 0
    answer = server.host.ask(*run, "--env", "PGSSLROOTCERT=/etc/ssl/certs/ca-certificates.crt", "migrate")
    assert answer.rc != 0
    assert "CERTIFICATE_VERIFY_FAILED" in answer.said, answer.said


def test_redis_is_the_other_hosts_too(data, server, agent):
    # Without a Redis this is answered with 503.
    with server.client.agents.messages.create(
        agent, input="Speak.", streaming=True, background=True, timeout=60
    ) as stream:
        assert list(stream)
    assert int(data.redis("dbsize")) > 0


def test_a_second_run_changes_nothing(server, agent):
    again = server.deploy()
    assert again.rc == 0, again.said
    assert "changed=0" in again.said
