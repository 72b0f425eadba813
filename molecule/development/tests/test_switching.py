"""development becomes production and is tried again: data stay, and the port always has an owner that serves."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest


def agents(stack) -> list[str]:
    return [agent.id for agent in stack.client.agents.list()]


def publishes(stack) -> str:
    """The service that has the port."""
    listed = ["docker", "ps", "--filter", "publish=8283", "--format"]
    return stack.host.run(*listed, '{{.Label "com.docker.compose.service"}}')


@pytest.fixture(scope="module")
def production(stack, agent):
    """The host after it became production."""
    assert publishes(stack) == "letta_server"
    run = stack.deploy(letta_stack_variant="production")
    assert run.succeeded, run.said


def test_production_has_the_data_behind_nginx(stack, agent, production):
    assert publishes(stack) == "nginx"
    # development has the database on a port of the host.
    assert stack.inspect("letta_db", "{{json .HostConfig.PortBindings}}") == "{}"
    assert stack.image("letta_server") == "letta/letta:0.16.8"
    assert agent.id in agents(stack)


def test_a_broken_source_gives_the_port_back_to_nginx(stack, agent, production):
    before = stack.containers()
    broken = "raise RuntimeError('broken on purpose')"
    stack.host.shell(f'cp {stack.app_py} /root/app.py; echo "{broken}" >>{stack.app_py}')
    try:
        run = stack.deploy()
    finally:
        stack.host.shell(f"cat /root/app.py >{stack.app_py}")
    assert not run.succeeded
    assert "broken on purpose" in run.said
    assert "rolled_back" in run.said
    assert stack.containers() == before
    assert publishes(stack) == "nginx"
    assert stack.inspect("nginx", "{{.HostConfig.RestartPolicy.Name}}") == "unless-stopped"
    assert agent.id in agents(stack)


def test_development_has_the_data_again(stack, agent, production):
    run = stack.deploy()
    assert run.succeeded, run.said
    assert publishes(stack) == "letta_server"
    assert set(stack.containers()) == {"letta_db", "redis", "letta_server"}
    assert agent.id in agents(stack)
