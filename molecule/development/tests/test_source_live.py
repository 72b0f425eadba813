"""development_live, on the host and with the data of development: the server follows its source."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

CREDENTIAL = "sk-of-the-developer-1"


@pytest.fixture(scope="module", autouse=True)
def live(stack, agent):
    """The variant, with a developer's credentials and configuration."""
    host = stack.host
    host.write("/srv/credentials/OPENAI_API_KEY", f"{CREDENTIAL}\n")
    host.shell("chgrp -R 10001 /srv/credentials; chmod 0750 /srv/credentials; chmod 0640 /srv/credentials/*")
    host.write("/srv/conf.yaml", "tool:\n  mcp:\n    list_tools_timeout: 31.5\n")
    stack.settings = {
        "letta_stack_variant": "development_live",
        "letta_stack_live_credentials": "/srv/credentials",
        "letta_stack_live_configuration": "/srv/conf.yaml",
        "letta_stack_environment": {
            "VLLM_API_BASE": "http://llm.test:8000/v1",
            "OPENAI_BASE_URL": "http://llm.test:8000/v1",
        },
    }
    assert stack.query("SELECT count(*) FROM providers WHERE name = 'openai'") == "0"
    run = stack.deploy()
    assert run.succeeded, run.said
    yield
    stack.settings = {}


def follows(stack, suffix: str) -> None:
    stack.say(suffix)
    stack.wait_for(lambda: stack.version() == f"0.16.8{suffix}", f"the server serves {suffix}")


def test_it_serves_the_source_as_it_is_with_the_data_of_development(stack, agent):
    assert stack.version() == "0.16.8+changed"
    assert stack.image("letta_server") == "letta/letta:0.16.8"
    assert agent.id in [found.id for found in stack.client.agents.list()]


def test_a_change_is_served_without_a_deployment(stack, agent):
    before = stack.container("letta_server"), stack.inspect("letta_server", "{{.State.StartedAt}}")
    follows(stack, "+live")
    assert (stack.container("letta_server"), stack.inspect("letta_server", "{{.State.StartedAt}}")) == before
    assert agent.id in [found.id for found in stack.client.agents.list()]


def test_a_broken_change_is_mended_by_the_next_one(stack):
    before = stack.container("letta_server"), stack.inspect("letta_server", "{{.State.StartedAt}}")
    stack.host.shell(f"cp {stack.health_py} /root/health.py; echo 'def broken(:' >>{stack.health_py}")
    logs = f"docker logs {stack.container('letta_server')} 2>&1"
    stack.wait_for(lambda: "SyntaxError" in stack.host.shell(logs), "the server that cannot start says why")
    assert not stack.version()
    stack.host.shell(f"cat /root/health.py >{stack.health_py}")
    stack.wait_for(lambda: stack.version() == "0.16.8+live", "the server serves again")
    assert (stack.container("letta_server"), stack.inspect("letta_server", "{{.State.StartedAt}}")) == before


def test_a_second_run_after_a_change_changes_nothing(stack):
    before = stack.container("letta_server")
    follows(stack, "+again")
    run = stack.deploy()
    assert (run.succeeded, run.changed) == (True, 0), run.said
    assert stack.container("letta_server") == before


def test_the_credentials_and_the_configuration_are_in_force(stack):
    # A provider of the environment becomes a row when the server starts.
    assert stack.query("SELECT count(*) FROM providers WHERE name = 'openai'") == "1"
    assert "'MCP_LIST_TOOLS_TIMEOUT': '31.5'" in stack.environment_of_tools()


def test_no_process_shows_a_secret_to_tools_not_even_the_one_that_watches(stack):
    seen = stack.environment_of_tools()
    servers = seen.count("launcher.py live ': 'closed'") + seen.count("multiprocessing-fork ': 'closed'")
    assert "launcher.py live ': 'closed'" in seen
    assert servers >= 2, seen
    names = ["server_password", "db_password", "encryption_key"]
    secrets = [CREDENTIAL, *(stack.host.run("cat", f"/opt/letta/secrets/{name}") for name in names)]
    assert [secret for secret in secrets if secret in seen] == []
    logs = stack.host.shell(f"docker logs {stack.container('letta_server')} 2>&1")
    assert [secret for secret in secrets if secret in logs] == []
    inspected = stack.host.run("docker", "inspect", stack.container("letta_server"))
    assert [secret for secret in secrets if secret in inspected] == []


@pytest.mark.parametrize("path", ["/app/letta", "/app/tests", "/etc/letta/conf.yaml", "/run/credentials"])
def test_what_is_mounted_can_be_read_and_not_written(stack, path):
    container = stack.container("letta_server")
    stack.host.run("docker", "exec", container, "test", "-r", path)
    writable = f"test -w {path} && echo yes || echo no"
    assert stack.host.run("docker", "exec", "--user", "0", container, "bash", "-c", writable) == "no"


def test_the_tests_of_the_source_are_there(stack):
    listed = stack.execute("letta_server", "ls", "/app/tests").split()
    assert set(listed) >= {"pytest.ini", "conftest.py"}


def test_development_takes_over_again_with_the_data(stack, agent):
    settings, stack.settings = stack.settings, {}
    try:
        run = stack.deploy()
        assert run.succeeded, run.said
        assert stack.version() == "0.16.8+again"
        # The release before ran none of a source, so this one's is the only one left.
        assert stack.sources() == [stack.image("letta_server")]
        assert agent.id in [found.id for found in stack.client.agents.list()]
    finally:
        stack.settings = settings
