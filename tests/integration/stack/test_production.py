# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The production stack on this machine's engine, through the playbooks: one stack, used by the tests in their order."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from letta_client import Letta

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
LLM = ROOT / "tests" / "hosts" / "llm" / "llm.py"
PROVIDER_KEY = "sk-integration-test-key"
SECRETS = ["server_password", "db_password", "db_superuser_password", "encryption_key", "OPENAI_API_KEY"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Run:
    """What a run of a playbook came to."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.rc = done.returncode
        self.output = done.stdout + done.stderr

    @property
    def changed(self) -> int:
        return int(re.findall(r"changed=(\d+)", self.output)[-1])


class Stack:
    """A stack of its own: project, directory, port."""

    def __init__(self, directory: Path) -> None:
        self.project = f"agentfleet-test-{uuid.uuid4().hex[:8]}"
        self.directory = directory / "letta"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {
            "letta_stack_project": self.project,
            "letta_stack_directory": str(self.directory),
            "letta_stack_port": self.port,
            "letta_stack_environment": {"OPENAI_API_KEY": PROVIDER_KEY},
        }

    def play(self, playbook: str, *arguments: str, **settings: object) -> Run:
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"playbooks/{playbook}.yml",
            "--extra-vars",
            json.dumps({**self.settings, **settings}),
            *arguments,
        ]
        environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
        return Run(
            subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1200
            )
        )

    def deploy(self, *arguments: str, **settings: object) -> Run:
        return self.play("deploy", *arguments, **settings)

    def docker(self, *arguments: str) -> str:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout

    def compose(self, *arguments: str) -> str:
        return subprocess.run(
            ["docker", "compose", *arguments], cwd=self.directory, capture_output=True, text=True, check=True
        ).stdout

    def containers(self) -> dict[str, dict]:
        """Inspections of all containers, by service."""
        ids = self.compose("ps", "--all", "--quiet").split()
        found = json.loads(self.docker("inspect", *ids))
        return {container["Config"]["Labels"]["com.docker.compose.service"]: container for container in found}

    def secret(self, name: str) -> str:
        return (self.directory / "secrets" / name).read_text(encoding="utf-8")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret('server_password')}"}

    @property
    def client(self) -> Letta:
        return Letta(base_url=self.url, api_key=self.secret("server_password"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, images: dict[str, str]) -> Iterator[Stack]:
    """A deployed stack. Its images are built before, by one of the tests that run side by side."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        run = stack.deploy()
        assert run.rc == 0, run.output
        assert f"Letta 0.16.8 serves on {stack.url}" in run.output
        yield stack
    finally:
        run = stack.play("remove", letta_stack_remove_data=stack.project)
        assert run.rc == 0, run.output


class Clients:
    """Clients that ask all the time, on kept connections and on new ones, and what they got that was no answer."""

    def __init__(self, url: str) -> None:
        self.answers = 0
        self.lost: list[str] = []
        self._url = f"{url}/v1/health/"
        self._stop = threading.Event()
        kinds = [(method, keep) for method in ("GET", "POST") for keep in (True, False)]
        self._threads = [threading.Thread(target=self._ask, args=kind) for kind in kinds]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, method: str, keep: bool) -> None:
        session = requests.Session()
        headers = {} if keep else {"Connection": "close"}
        while not self._stop.wait(0.02):
            try:
                status = session.request(method, self._url, headers=headers, timeout=30).status_code
            except requests.RequestException as error:
                self.lost.append(f"{method}: {error!r}")
            else:
                # The server answers a POST to its health with 405.
                self.answers += status in (200, 405)
                if status not in (200, 405):
                    self.lost.append(f"{method}: {status}")


@pytest.fixture(scope="module")
def agent(stack: Stack) -> Iterator[str]:
    """An agent of a model that a provider on the stack's way out serves; the server is replaced to learn of it."""
    name = f"{stack.project}-llm"
    image = stack.containers()["letta_server"]["Image"]
    stack.docker(
        *["run", "--detach", "--name", name, "--network", f"{stack.project}_egress", "--network-alias", "llm"],
        *["--volume", f"{LLM}:/llm.py:ro", "--entrypoint", "python", image, "/llm.py"],
    )
    try:
        stack.settings["letta_stack_environment"]["VLLM_API_BASE"] = "http://llm:8000/v1"
        run = stack.deploy()
        assert run.rc == 0, run.output
        yield stack.client.agents.create(name="integration", model="vllm/tiny", include_base_tools=False).id
    finally:
        stack.docker("rm", "--force", name)


def test_a_second_run_changes_nothing_and_shows_no_secret(stack):
    run = stack.deploy("-vvv", "--diff")
    assert (run.rc, run.changed) == (0, 0), run.output
    assert [name for name in SECRETS if stack.secret(name) in run.output] == []


def test_plain_compose_finds_nothing_to_replace(stack):
    before = {service: container["Id"] for service, container in stack.containers().items()}
    stack.compose("up", "--detach", "--wait")
    assert {service: container["Id"] for service, container in stack.containers().items()} == before


def test_secrets_are_nowhere_but_in_their_files(stack):
    shown = {
        "compose.yaml": (stack.directory / "compose.yaml").read_text(encoding="utf-8"),
        "docker compose config": stack.compose("config"),
        "docker inspect": json.dumps(stack.containers()),
        "docker compose logs": stack.compose("logs", "--no-color"),
    }
    found = [(name, where) for name in SECRETS for where, text in shown.items() if stack.secret(name) in text]
    assert found == []
    assert (stack.directory / "secrets").stat().st_mode & 0o777 == 0o700


def test_an_update_loses_no_request_not_even_on_a_host_of_the_version_before(stack):
    upstream = stack.directory / "upstreams" / "letta.conf"
    upstream.write_text("server letta_server:8283 resolve max_fails=2 fail_timeout=5s;\n", encoding="utf-8")
    stack.compose("exec", "-T", "nginx", "nginx", "-e", "stderr", "-s", "reload")
    before = {service: container["Id"] for service, container in stack.containers().items()}
    stack.settings["letta_stack_environment"]["LETTA_LOGGING_JSON_LOGGING"] = True
    with Clients(stack.url) as clients:
        run = stack.deploy()
    assert run.rc == 0, run.output
    assert clients.lost == []
    assert clients.answers > 200
    after = stack.containers()
    replaced = {service for service, container in after.items() if container["Id"] != before[service]}
    assert replaced == {"letta_server", "migrate"}
    (server, backup) = [line for line in upstream.read_text(encoding="utf-8").splitlines() if line.startswith("server")]
    assert server.startswith(f"server {after['letta_server']['Name'].lstrip('/')}:8283 resolve ")
    assert backup == "server letta_server:8283 resolve backup;"


def test_containers_run_closed(stack):
    for service, container in stack.containers().items():
        host = container["HostConfig"]
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert host["ReadonlyRootfs"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert int(container["Config"]["User"].split(":")[0]) > 0, service
        assert host["Memory"] > 0, service
        assert host["NanoCpus"] > 0, service
        assert host["PidsLimit"] > 0, service
        published = [binding for bindings in (host["PortBindings"] or {}).values() for binding in bindings]
        expected = [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}] if service == "nginx" else []
        assert published == expected, service


def test_the_password_is_asked_for(stack):
    agents = f"{stack.url}/v1/agents/?limit=1"
    assert requests.get(agents, timeout=30).status_code == 401
    assert requests.get(agents, headers={"Authorization": "Bearer wrong"}, timeout=30).status_code == 401
    assert requests.get(agents, headers=stack.headers, timeout=30).status_code == 200


def test_any_host_name_and_large_bodies_get_through(stack):
    health = requests.get(f"{stack.url}/v1/health/", headers={"Host": "letta.example.com"}, timeout=30)
    assert health.json() == {"version": "0.16.8", "status": "ok"}
    large = requests.post(f"{stack.url}/v1/agents/", headers=stack.headers, data=b"x" * 5_000_000, timeout=60)
    assert large.status_code == 422


def test_the_log_has_no_query_strings(stack):
    requests.get(f"{stack.url}/v1/agents/?marker=in-the-query", headers=stack.headers, timeout=30)
    line = next(
        json.loads(text)
        for text in reversed(stack.compose("logs", "--no-log-prefix", "--no-color", "nginx").splitlines())
        if '"uri":"/v1/agents/"' in text
    )
    assert line["status"] == 200
    assert "in-the-query" not in stack.compose("logs", "nginx")


def test_the_database_belongs_to_a_role_that_is_no_superuser(stack):
    query = "SELECT rolsuper, rolcreatedb, rolcreaterole, (SELECT count(*) FROM pg_extension WHERE extname = 'vector')"
    psql = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--username", "postgres", "--dbname", "letta"]
    answer = stack.compose("exec", "-T", "letta_db", *psql, "-c", f"{query} FROM pg_roles WHERE rolname = 'letta'")
    assert answer.strip() == "f|f|f|1"


def test_the_database_sorts_by_a_locale_of_its_own_and_not_of_the_images_libc(stack):
    psql = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--username", "postgres", "--dbname", "letta"]
    query = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'letta'"
    assert stack.compose("exec", "-T", "letta_db", *psql, "-c", query).strip() == "b|C.UTF-8"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"letta_stack_environment": {"OPENAI_API_KY": "x"}}, "did you mean OPENAI_API_KEY"),
        ({"letta_stack_environment": {"AZURE_API_VERSION": ""}}, "AZURE_API_VERSION: is empty"),
        ({"letta_stack_port": 123456}, "letta_stack_port: must be between 1 and 65535"),
        (
            {"letta_stack_encryption_key": "AnotherKeyThanBefore"},
            "encryption_key: the value that is given is not the one",
        ),
        ({"letta_stack_db_password": "AnotherPassword1234"}, "db_password: the value that is given is not the one"),
    ],
    ids=["unknown name", "empty value", "port", "encryption key", "database password"],
)
def test_what_cannot_work_is_refused_and_nothing_is_touched(stack, settings, message):
    compose = (stack.directory / "compose.yaml").read_bytes()
    before = {service: container["State"]["StartedAt"] for service, container in stack.containers().items()}
    run = stack.deploy(**settings)
    assert run.rc != 0
    assert message in " ".join(run.output.split())
    assert run.changed == 0
    assert (stack.directory / "compose.yaml").read_bytes() == compose
    assert {service: container["State"]["StartedAt"] for service, container in stack.containers().items()} == before


def test_check_mode_says_what_would_be_replaced_and_replaces_nothing(stack):
    before = {service: container["Id"] for service, container in stack.containers().items()}
    environment = {**stack.settings["letta_stack_environment"], "LETTA_DEBUG": True}
    run = stack.deploy("--check", "--diff", letta_stack_environment=environment)
    assert run.rc == 0, run.output
    assert run.changed == 1
    assert "LETTA_DEBUG" in run.output
    assert {service: container["Id"] for service, container in stack.containers().items()} == before


def test_an_answer_streams_while_it_is_made(stack, agent):
    began = time.monotonic()
    arrivals = []
    body = {"messages": [{"role": "user", "content": "hello"}], "stream_tokens": True}
    url = f"{stack.url}/v1/agents/{agent}/messages/stream"
    with requests.post(url, json=body, headers=stack.headers, stream=True, timeout=120) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith(b"data: "):
                arrivals.append(time.monotonic() - began)
    assert len(arrivals) > 3
    # The model takes 0.4 s for each of its nine words; what is buffered arrives at once, at the end.
    assert arrivals[-1] - arrivals[0] > 1.5


def test_an_agent_follows_its_provider_to_another_place_and_back(stack, agent):
    def endpoint() -> str:
        return stack.client.agents.retrieve(agent).llm_config.model_endpoint

    def answers() -> bool:
        body = {"messages": [{"role": "user", "content": "hello"}]}
        url = f"{stack.url}/v1/agents/{agent}/messages"
        return requests.post(url, json=body, headers=stack.headers, timeout=120).status_code == 200

    environment = stack.settings["letta_stack_environment"]
    network, name = f"{stack.project}_egress", f"{stack.project}-llm"
    stack.docker("network", "disconnect", network, name)
    stack.docker("network", "connect", "--alias", "moved", network, name)
    moved = stack.deploy(letta_stack_environment={**environment, "VLLM_API_BASE": "http://moved:8000"})
    assert moved.rc == 0, moved.output
    assert endpoint() == "http://moved:8000/v1"
    assert answers()

    stack.docker("network", "disconnect", network, name)
    stack.docker("network", "connect", "--alias", "llm", network, name)
    back = stack.deploy()
    assert back.rc == 0, back.output
    assert endpoint() == "http://llm:8000/v1"
    assert "vllm/tiny" in [model.handle for model in stack.client.models.list()]
    assert answers()


def test_a_rollout_that_is_taken_back_leaves_agents_with_the_provider_of_before(stack, agent):
    environment = {**stack.settings["letta_stack_environment"], "VLLM_API_BASE": "http://nowhere:8000"}
    # Enough to mend Letta's rows before it starts, and not enough to start it.
    failed = stack.deploy(letta_stack_environment=environment, letta_stack_limits={"letta_server": {"memory": "160m"}})
    assert failed.rc != 0
    assert "letta_server: " in failed.output.rpartition("Say why the rollout failed")[2], failed.output
    assert re.search(r"Mend Letta's rows of vLLM in its container.*\nchanged: ", failed.output), failed.output
    assert stack.client.agents.retrieve(agent).llm_config.model_endpoint == "http://llm:8000/v1"
    assert "vllm/tiny" in [model.handle for model in stack.client.models.list()]
    assert stack.deploy("--check").changed == 0


def test_the_code_of_tools_inherits_no_secret(stack, agent):
    source = '''
def look() -> str:
    """Look around, at every process."""
    import os
    seen = dict(os.environ)
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = open(f"/proc/{process}/cmdline").read().split(chr(0))
            name = "server" if command[1:2] == ["/etc/letta/launcher.py"] else process
            seen[name] = "closed"
            seen[name] = open(f"/proc/{process}/environ").read()
        except OSError:
            pass
    return repr(seen)
'''
    answer = stack.client.tools.with_raw_response.list()
    assert answer.status_code == 200
    run = requests.post(
        f"{stack.url}/v1/tools/run", headers=stack.headers, json={"source_code": source, "args": {}}, timeout=120
    )
    assert run.status_code == 200, run.text
    assert run.json()["status"] == "success", run.text
    assert "'server': 'closed'" in run.json()["tool_return"]
    assert "'1': 'PATH=" in run.json()["tool_return"], "the init process, which never had a secret, is open"
    assert [name for name in SECRETS if stack.secret(name) in run.text] == []
    assert "LETTA_PG_URI" not in run.text


def test_data_outlive_the_stack(stack, agent):
    refused = stack.play("remove", letta_stack_remove_data="another")
    assert refused.rc != 0
    assert refused.changed == 0
    # A network that a stranger uses cannot be removed.
    stack.docker("network", "disconnect", f"{stack.project}_egress", f"{stack.project}-llm")
    run = stack.play("remove")
    assert run.rc == 0, run.output
    assert stack.docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={stack.project}") == ""
    again = stack.play("remove")
    assert (again.rc, again.changed) == (0, 0), again.output
    run = stack.deploy()
    assert run.rc == 0, run.output
    assert agent in [found.id for found in stack.client.agents.list()]


def test_new_secrets_are_not_made_for_old_data(stack, tmp_path):
    lost = stack.directory / "secrets"
    kept = lost.rename(tmp_path / "secrets")
    try:
        run = stack.deploy()
        assert run.rc != 0
        assert "db_password: there is none in" in " ".join(run.output.split())
        assert not lost.exists()
    finally:
        kept.rename(lost)
