"""The host of the services gets a server of its own, and gives it back: the data are the same throughout."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

PRODUCTION = {"letta_stack_variant": "production", "letta_stack_listen_address": "0.0.0.0"}


@pytest.fixture(scope="module")
def database(data) -> str:
    """The container of the database, which no switch has a reason to replace."""
    deployed = data.deploy()
    assert deployed.rc == 0, deployed.said
    return data.containers()["letta_db"]


def test_a_key_is_not_made_up_for_data_that_are_there(data, database):
    deployed = data.deploy(letta_stack_variant="production")
    assert deployed.rc != 0
    assert "encryption_key: there is none in /opt/letta/secrets" in deployed.said
    assert set(data.containers()) == {"letta_db", "redis"}


def test_a_server_comes_and_finds_what_the_other_one_made(data, database, encryption_key):
    deployed = data.deploy(**PRODUCTION, letta_stack_encryption_key=encryption_key)
    assert deployed.rc == 0, deployed.said
    assert set(data.containers()) == {"letta_db", "redis", "letta_server", "nginx"}
    assert data.containers()["letta_db"] == database
    assert "remote" in [agent.name for agent in data.client.agents.list()]


def test_data_are_not_left_behind(data, database):
    before = data.containers()
    elsewhere = {"letta_stack_external_db": {"host": "db.example.com"}, "letta_stack_db_password": "Password1234"}
    published = {"letta_stack_db_port": 0, "letta_stack_db_tls": False}
    deployed = data.deploy(**PRODUCTION, **elsewhere, **published)
    assert deployed.rc != 0
    assert "keep data in the volume letta_db" in deployed.said, deployed.said
    assert data.containers() == before


def test_the_server_goes_and_the_data_stay(data, database):
    deployed = data.deploy()
    assert deployed.rc == 0, deployed.said
    names = data.host.run("docker", "ps", "--all", "--format", '{{.Label "com.docker.compose.service"}}').split()
    assert sorted(names) == ["letta_db", "redis"]
    assert data.containers()["letta_db"] == database
    assert data.psql("SELECT count(*) FROM agents WHERE name = 'remote'").said == "1"
    assert data.host.run("test", "-s", "/opt/letta/secrets/encryption_key") == ""
