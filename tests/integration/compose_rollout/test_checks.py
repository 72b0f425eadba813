# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of real containers, in every kind of network that one can be in, and rollouts that depend on them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import (
    Answer,
    Check,
    ExecCheck,
    HttpCheck,
    TcpCheck,
)
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.docker_engine import DockerEngine
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.observe import Container
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.probe import HostChecker

from .containers import Containers
from .project import SERVICE, Project, service, wait_for

PORT = 8000
CLOSED = 8001
HEALTH = HttpCheck(PORT, "/health", json={"status": "ok"})
# It answers /health, and tells /cgi-bin/who from where it was asked.
SITE = """
mkdir -p /tmp/www/cgi-bin
echo '{"status": "ok", "version": 2}' >/tmp/www/health
cat >/tmp/www/cgi-bin/who <<'END'
#!/bin/sh
printf 'Content-Type: application/json\\r\\n\\r\\n{"from": "%s"}' "$REMOTE_ADDR"
END
busybox chmod 755 /tmp/www/cgi-bin/who
"""


def site(listen: str = str(PORT)) -> str:
    return f"{SITE}exec httpd -f -p {listen} -h /tmp/www"


class Asked:
    """A container under test, and what it answers."""

    def __init__(self, container_id: str, listens: int | None = None) -> None:
        self.engine = DockerEngine()
        self.checker = HostChecker(self.engine)
        self.id = container_id
        if listens is not None:
            ready = ExecCheck(("grep", f":{listens:04X} ", "/proc/net/tcp", "/proc/net/tcp6"))
            wait_for("a listener", lambda: self.ask(ready).passed)

    @property
    def container(self) -> Container:
        found = self.engine.inspect(self.id)
        assert found is not None
        return found

    def ask(self, check: Check) -> Answer:
        return self.checker.of_container(check, self.container)


def own_namespace() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


@pytest.mark.parametrize("internal", [False, True], ids=["open", "internal"])
def test_a_container_is_asked_from_inside_its_own_network(containers: Containers, internal: bool) -> None:
    network = containers.network(internal=internal)
    site_id = containers.start(site(), network=network, labels={SERVICE: "web"})
    asked = Asked(site_id, listens=PORT)
    (address,) = asked.container.addresses
    before = own_namespace()
    assert asked.ask(HEALTH) == Answer(True, f"GET http://{address}:{PORT}/health", "200 OK")
    assert asked.ask(TcpCheck(PORT)) == Answer(True, f"tcp {address}:{PORT}", "connected")
    # Asked from the host, it would see the bridge's address.
    assert asked.ask(HttpCheck(PORT, "/cgi-bin/who", json={"from": f"[::ffff:{address}]"})).passed
    assert own_namespace() == before


def test_what_is_wrong_is_told(containers: Containers) -> None:
    asked = Asked(containers.start(site()), listens=PORT)
    (address,) = asked.container.addresses
    missing, refused = asked.ask(HttpCheck(PORT, "/missing")), asked.ask(TcpCheck(CLOSED))
    other = asked.ask(HttpCheck(PORT, "/health", json={"version": 3}))
    assert not missing.passed
    assert missing.answer.startswith("404 Not Found: <HTML>")
    assert refused == Answer(False, f"tcp {address}:{CLOSED}", "connection refused")
    assert asked.ask(HttpCheck(CLOSED)).answer == "connection refused"
    assert other.answer == '200 OK, but without {"version": 3}: {"status": "ok", "version": 2}'


def test_without_a_network_it_is_asked_at_its_own_loopback(containers: Containers) -> None:
    asked = Asked(containers.start(site(f"127.0.0.1:{PORT}"), network_mode="none"), listens=PORT)
    assert asked.ask(HEALTH) == Answer(True, f"GET http://127.0.0.1:{PORT}/health", "200 OK")
    assert asked.ask(TcpCheck(CLOSED)).answer == "connection refused"


def test_in_another_container_s_network_it_is_asked_there(containers: Containers) -> None:
    owner = containers.start()
    asked = Asked(containers.start(site(f"127.0.0.1:{PORT}"), network_mode=f"container:{owner}"), listens=PORT)
    assert asked.ask(HEALTH) == Answer(True, f"GET http://127.0.0.1:{PORT}/health", "200 OK")


def test_in_the_host_s_network_it_is_asked_there(containers: Containers, free_port: int) -> None:
    asked = Asked(containers.start(site(f"127.0.0.1:{free_port}"), network_mode="host"), listens=free_port)
    assert asked.ask(HttpCheck(free_port, "/health")).passed
    assert asked.checker.of_front_door(HttpCheck(url=f"http://127.0.0.1:{free_port}/health")).passed


def test_who_listens_on_loopback_alone_could_not_be_reached_and_fails(containers: Containers) -> None:
    asked = Asked(containers.start(site(f"127.0.0.1:{PORT}")), listens=PORT)
    assert asked.ask(HEALTH).answer == "connection refused"
    assert asked.ask(TcpCheck(PORT)).answer == "connection refused"


def test_who_accepts_and_never_answers_is_waited_for_no_longer_than_its_time(containers: Containers) -> None:
    asked = Asked(containers.start(f"nc -ll -p {PORT} -e sleep 1000"), listens=PORT)
    assert asked.ask(TcpCheck(PORT)).passed
    answer = asked.ask(HttpCheck(PORT, timeout=0.5))
    assert (answer.passed, answer.answer) == (False, "timed out after 0.5 s")


def test_a_container_that_was_started_again_is_asked_where_it_is_now(containers: Containers) -> None:
    asked = Asked(containers.start(site()), listens=PORT)
    before = asked.container
    asked.engine.stop(asked.id, 0)
    assert asked.checker.of_container(HEALTH, before).answer == "the container does not run"
    # The next one that starts on that network gets its address.
    other = Asked(containers.start())
    asked.engine.start(asked.id)
    assert other.container.addresses == before.addresses != asked.container.addresses
    wait_for("it answers again", lambda: asked.checker.of_container(HEALTH, before).passed)
    asked.engine.stop(asked.id, 0)
    asked.engine.remove(asked.id)
    assert asked.checker.of_container(HEALTH, before).answer == "the container does not run"


def test_checks_leave_no_handle_open(containers: Containers) -> None:
    asked = Asked(containers.start(site()), listens=PORT)
    checks = [HEALTH, TcpCheck(PORT), TcpCheck(CLOSED), HttpCheck(PORT, "/missing")]

    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for check in checks:
        asked.ask(check)
    before = opened()
    for check in checks * 5:
        asked.ask(check)
    wait_for("the last thread's end", lambda: opened() <= before)


_ASK = """
import json, sys
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.checks import TcpCheck
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.docker_engine import DockerEngine
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.probe import HostChecker
engine = DockerEngine()
ask = HostChecker(engine).of_container
answers = [ask(TcpCheck(int(sys.argv[1])), engine.inspect(container)) for container in sys.argv[2:]]
print(json.dumps([[answer.passed, answer.answer] for answer in answers]))
"""


def test_who_may_not_enter_namespaces_asks_from_the_host_and_never_the_host_itself(
    containers: Containers, task_environment: dict[str, str], free_port: int
) -> None:
    listening = f"nc -ll -p {free_port} -e cat"
    bridged, alone = containers.start(listening), containers.start(listening, network_mode="none")
    Asked(bridged, listens=free_port)
    Asked(alone, listens=free_port)
    # On the host, too: it must not be taken for the one without a network.
    Asked(containers.start(listening, network_mode="host"), listens=free_port)
    finished = subprocess.run(
        ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", _ASK, str(free_port), bridged, alone],
        env=task_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    inside, outside = json.loads(finished.stdout)
    assert inside == [True, "connected"]
    assert not outside[0]
    assert "takes root on the engine's host" in outside[1]


@pytest.mark.parametrize(
    ("command", "passed", "words"),
    [
        (("test", "-d", "/tmp"), True, "exit code 0"),
        (("sh", "-c", "echo trying; echo no response >&2; exit 2"), False, "exit code 2: "),
        (("nosuch",), False, "exit code 126: "),
    ],
)
def test_a_command_is_run_in_the_container(
    containers: Containers, command: tuple[str, ...], passed: bool, words: str
) -> None:
    answer = Asked(containers.start()).ask(ExecCheck(command))
    assert answer.passed is passed
    assert answer.answer.startswith(words)
    assert answer.request.startswith(f"exec {command[0]}")


def test_a_command_that_hangs_is_ended_with_its_time(containers: Containers) -> None:
    asked = Asked(containers.start())
    answer = asked.ask(ExecCheck(("sleep", "987"), timeout=0.5))
    assert answer == Answer(False, "exec sleep 987", "timed out after 0.5 s")
    wait_for("its end", lambda: "sleep 987" not in asked.engine.processes(asked.id).values())


def test_a_paused_container_does_not_answer(containers: Containers, engine: docker.DockerClient) -> None:
    asked = Asked(containers.start(site()), listens=PORT)
    engine.api.pause(asked.id)
    assert asked.ask(HEALTH).answer == "the container does not run"
    engine.api.unpause(asked.id)
    assert asked.ask(HEALTH).passed


# Rollouts


def web(script: str, *checks: dict[str, Any], **policy: Any) -> dict[str, Any]:
    return {"web": service(script, **{"x-rollout": {"checks": list(checks), **policy}})}


def test_a_rollout_waits_until_its_checks_pass(project: Project) -> None:
    late = f"{SITE}rm /tmp/www/health; httpd -p {PORT} -h /tmp/www; sleep 2; echo ok >/tmp/www/health; sleep 1000"
    checks: list[dict[str, Any]] = [
        {"tcp": {"port": PORT}},
        {"http": {"port": PORT, "path": "/health"}},
        {"exec": {"command": "test -s /tmp/www/health"}},
    ]
    result = project.deploy(web(late, *checks))
    assert result["outcome"] == "deployed"
    assert len(project.names("web")) == 1


def test_a_rollout_whose_check_fails_goes_back_and_shows_the_answer_without_the_header(project: Project) -> None:
    project.deploy(web(site(), {"http": {"port": PORT, "path": "/health"}}))
    before = project.ids("web")
    check = {"http": {"port": PORT, "path": "/ready", "headers": {"X-Key": "hunter22-and-more"}}}
    project.write(web(f"exec 2>/dev/null; {site()}", check, timeout="2s"))
    result = project.roll_out()
    assert (result["outcome"], result["failure"]["reason"]) == ("rolled_back", "check")
    assert "/ready" in result["msg"]
    assert "404 Not Found" in result["msg"]
    assert "hunter22" not in result.output
    assert project.ids("web") == before


def test_a_container_that_ends_during_its_checks_fails_at_once(project: Project) -> None:
    project.write(web("sleep 2; exit 7", {"tcp": {"port": PORT}}, timeout="60s"))
    result = project.roll_out()
    assert result["failure"]["reason"] == "exited"
    assert result["failure"]["exit_code"] == 7


def test_a_final_check_decides_for_the_whole_project(project: Project, free_port: int) -> None:
    published = {"ports": [f"127.0.0.1:{free_port}:{PORT}"]}
    checks = [
        {
            "http": {
                "url": f"http://127.0.0.1:{free_port}/health",
                "json": {"status": "ok"},
                "headers": {"X-Key": "hunter22"},
            }
        },
        {"tcp": {"host": "127.0.0.1", "port": free_port}},
    ]
    project.deploy({"web": service(site(), **published)}, final_checks=checks)
    before = project.ids("web")
    project.write({"web": service(site().replace('"ok"', '"hunter22"'), **published)})
    result = project.roll_out(final_checks=checks)
    assert (result["outcome"], result["failure"]["reason"]) == ("rolled_back", "check")
    request = f"GET http://127.0.0.1:{free_port}/health"
    words = '200 OK, but without {"status": "ok"}: {"status": "[redacted]", "version": 2}'
    assert request in result["msg"]
    assert words in result["msg"]
    assert set(project.ids("web")) == set(before)
