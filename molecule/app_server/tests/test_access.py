"""Who gets in, and what nobody sees."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio

import aiohttp
import pytest
import requests


def test_with_the_token_a_websocket_opens_and_the_server_says_what_it_is(stack):
    async def ask() -> dict:
        async with stack.connected() as connection:
            return await connection.ask("app_server_info")

    info = asyncio.run(ask())
    assert info["letta_code_version"] == "0.34.12"
    assert info["backend"] == "local"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic d3Jvbmc="}])
def test_without_the_token_none_opens(stack, headers):
    async def knock() -> None:
        async with stack.connected(headers):
            pytest.fail("the server let a client without the token in")

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        asyncio.run(knock())
    assert refused.value.status == 401


def test_only_the_probes_are_open(stack):
    assert requests.get(f"{stack.url}/readyz", timeout=10).text == "ok\n"
    assert requests.get(f"{stack.url}/healthz", timeout=10).text == "ok\n"
    assert requests.get(f"{stack.url}/app-server-info", timeout=10).status_code == 401


def test_secrets_are_in_no_place_where_others_look(stack):
    key = stack.host.run("cat", "/opt/letta/secrets/LMSTUDIO_API_KEY")
    container = stack.container("app_server")
    shown = {
        "compose.yaml": stack.host.run("cat", "/opt/letta/compose.yaml"),
        "docker inspect": stack.host.run("docker", "inspect", container, stack.container("nginx")),
        "docker logs": stack.host.run("docker", "logs", container),
        "nginx's log": stack.host.run("docker", "logs", stack.container("nginx")),
    }
    assert key == "lmstudio-key-of-the-test"
    assert [where for where, text in shown.items() if key in text or stack.token in text] == []
    assert stack.host.run("stat", "--format=%a %U", "/opt/letta/secrets") == "700 root"


def test_the_server_runs_closed(stack):
    inspected = stack.host.run(
        "docker", "inspect", "--format",
        "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.Config.User}} {{.HostConfig.PortBindings}}",
        stack.container("app_server"),
    )  # fmt: skip
    assert inspected == "true [ALL] 10001:10001 map[]"
