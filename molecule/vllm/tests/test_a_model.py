"""An agent of the stack speaks through the vLLM beside it, which nobody else can reach."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from tests.hosts.stack import Host

CONNECT = "exec 3<>/dev/tcp/{host}/{port}"


def test_letta_offers_the_model_with_the_context_that_vllm_has(stack):
    assert stack.handles() == {"vllm/oak"}
    row = stack.query("SELECT max_context_window FROM provider_models WHERE handle = 'vllm/oak'")
    assert row == "16384"


def test_a_message_to_an_agent_reaches_vllm(stack, oak):
    before = stack.completions("oak")
    assert stack.answer(oak)
    assert stack.completions("oak") > before


def test_it_is_the_real_vllm_and_it_runs_closed(stack):
    vllm = stack.container("vllm")
    assert stack.host.run("docker", "exec", vllm, "vllm", "--version").splitlines()[-1] == "0.32.0+cpu"
    (inspection,) = json.loads(stack.host.run("docker", "inspect", vllm))
    host = inspection["HostConfig"]
    assert inspection["Config"]["User"] == "2000:0"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["PortBindings"]
    assert set(inspection["NetworkSettings"]["Networks"]) == {"letta_llm"}


def test_only_the_server_reaches_it(stack):
    address = stack.host.run(
        "docker",
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        stack.container("vllm"),
    )
    open_to_server = ["curl", "-fsS", "-o", "/dev/null", "--max-time", "5", "http://vllm:8000/health"]
    stack.execute("letta_server", *open_to_server)
    for service in ("nginx", "redis", "letta_db"):
        for host in ("vllm", address):
            probe = (
                f"timeout 5 bash -c '{CONNECT.format(host=host, port=8000)}' 2>/dev/null && echo open || echo closed"
            )
            assert stack.execute(service, "bash", "-c", probe) == "closed", (
                service,
                host,
            )


def test_it_reaches_nobody_when_it_is_offline(stack):
    registry = CONNECT.format(host=Host.named("registry").address, port=5000)
    probe = f"timeout 5 bash -c '{registry}' 2>/dev/null && echo open || echo closed"
    assert stack.execute("letta_server", "bash", "-c", probe) == "open"
    assert stack.execute("vllm", "bash", "-c", probe) == "closed"
    routes = stack.execute("vllm", "cat", "/proc/net/route").splitlines()[1:]
    assert [line for line in routes if line.split()[1] == "00000000"] == [], "it has a way out"
