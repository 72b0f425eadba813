"""Who gets in, and where."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
import requests
from letta_client import AuthenticationError, Letta


def test_health_is_open(stack):
    answer = requests.get(f"{stack.url}/v1/health/", timeout=10)
    assert answer.json()["status"] == "ok"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}])
def test_nobody_gets_in_without_the_password(stack, headers):
    assert requests.get(f"{stack.url}/v1/agents/", headers=headers, timeout=10).status_code == 401


def test_a_client_with_a_wrong_password_is_told_so(stack):
    with pytest.raises(AuthenticationError):
        Letta(base_url=stack.url, api_key="wrong", max_retries=0).agents.list()


def test_nothing_but_nginx_listens_outside_of_the_host(stack, neighbour):
    assert neighbour.finds_open(stack.host) == [8283]
    owner = stack.host.run(
        "docker", "ps", "--filter", "publish=8283", "--format", '{{.Label "com.docker.compose.service"}}'
    )
    assert owner == "nginx"


def test_the_password_is_for_root_alone(stack):
    assert stack.host.run("stat", "--format=%a %U", "/opt/letta/secrets") == "700 root"
