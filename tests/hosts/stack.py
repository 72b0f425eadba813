# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test host and the stack on it, as the clients and the operator of a scenario see them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from letta_client import Letta

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[2]
PORT = 8283

SCAN = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def answers(port):
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((sys.argv[1], port)) == 0

ports = range(1, 65536)
with ThreadPoolExecutor(64) as pool:
    print(json.dumps([port for port, open in zip(ports, pool.map(answers, ports, chunksize=512)) if open]))
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """How a command or a run of the playbook ended, and all that it printed."""

    rc: int
    said: str

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was to do."""
        return self.rc == 0

    @property
    def changed(self) -> int:
        """How many tasks of a playbook changed something on the host."""
        return int(re.findall(r": ok=\d+ changed=(\d+)", self.said)[-1])


@dataclasses.dataclass(frozen=True)
class Host:
    """A test host, which is a container of this machine's engine."""

    container: str

    @classmethod
    def named(cls, name: str) -> Host:
        """The host of the scenario that runs, by its name in the scenario's compose.yaml."""
        return cls(f"agentfleet-test-{os.environ['LETTA_TEST_SCENARIO']}-{name}-1")

    def ask(self, *argv: str, stdin: str = "") -> Answer:
        """Run a command on the host."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", self.container, *argv],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Answer(done.returncode, done.stdout.strip())

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a command on the host that has to succeed, and return what it printed."""
        answer = self.ask(*argv, stdin=stdin)
        assert answer.succeeded, f"{argv} on {self.container}: {answer.said}"
        return answer.said

    def shell(self, command: str) -> str:
        """Run a line of shell."""
        return self.run("bash", "-euo", "pipefail", "-c", command)

    def write(self, path: str, text: str) -> None:
        """Write a file, whose directory is made."""
        self.run("bash", "-euc", f"mkdir -p $(dirname {shlex.quote(path)}); cat >{shlex.quote(path)}", stdin=text)

    @property
    def address(self) -> str:
        """Where others find it, now: a restart may change it."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        argv = ["docker", "inspect", "--format", template, self.container]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    def finds_open(self, other: Host) -> list[int]:
        """The TCP ports of another host that answer this one."""
        return json.loads(self.run("python3", "-c", SCAN, other.address))

    def reboot(self) -> None:
        """Stop all that runs on the host and start it again."""
        subprocess.run(["docker", "restart", "--time=60", self.container], check=True, capture_output=True)


@dataclasses.dataclass
class Stack:
    """The stack on a host. `settings` are variables that an operator has for it beside those of the inventory."""

    host: Host
    inventory: str
    settings: dict[str, object] = dataclasses.field(default_factory=dict)
    health: str = "/v1/health/"

    @classmethod
    def on(cls, name: str, **options: object) -> Stack:
        """The stack that the scenario deployed on the host of this name."""
        return cls(Host.named(name), os.environ["LETTA_TEST_INVENTORY"], **options)

    @property
    def url(self) -> str:
        """The front door."""
        return f"http://{self.host.address}:{PORT}"

    def secret(self, name: str) -> str:
        """A secret that the deployment made or was given."""
        return self.host.run("cat", f"/opt/letta/secrets/{name}")

    @property
    def password(self) -> str:
        """What clients of a Letta server show."""
        return self.secret("server_password")

    @property
    def client(self) -> Letta:
        """A client as an application would make it, that does not try again on its own."""
        return Letta(base_url=self.url, api_key=self.password, max_retries=0, timeout=180)

    def containers(self) -> dict[str, str]:
        """The ids of the running containers by service."""
        label, form = "label=com.docker.compose.project=letta", '{{.Label "com.docker.compose.service"}} {{.ID}}'
        lines = self.host.run("docker", "ps", "--no-trunc", "--filter", label, "--format", form).splitlines()
        assert len(lines) == len({line.split()[0] for line in lines}), lines
        return dict(line.split() for line in lines)

    def container(self, service: str) -> str:
        """The id of the one running container of a service."""
        return self.containers()[service]

    def inspect(self, service: str, template: str) -> str:
        """What the engine says of the service's container."""
        return self.host.run("docker", "inspect", "--format", template, self.container(service))

    def image(self, service: str) -> str:
        """The reference that the service's container was made from."""
        return self.inspect(service, "{{.Config.Image}}")

    def execute(self, service: str, *argv: str) -> str:
        """Run a command in the service's container that has to succeed, and return what it printed."""
        return self.host.run("docker", "exec", self.container(service), *argv)

    def query(self, sql: str) -> str:
        """What the stack's database answers, unformatted."""
        psql = ["psql", "--username=letta", "--dbname=letta", "--tuples-only", "--no-align", f"--command={sql}"]
        return self.execute("letta_db", *psql)

    def deploy(self, *arguments: str, **variables: object) -> Answer:
        """Run the deployment playbook as the operator does, with some variables changed."""
        return self.play("deploy", *arguments, **variables)

    def play(self, playbook: str, *arguments: str, **variables: object) -> Answer:
        """Run one of the playbooks as the operator does, with some variables changed."""
        done = subprocess.run(
            [
                *("ansible-playbook", "-i", self.inventory, "-e", json.dumps({**self.settings, **variables})),
                *(*arguments, f"playbooks/{playbook}.yml"),
            ],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # Ansible folds long lines, and colours them where molecule told it to.
        return Answer(done.returncode, " ".join(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).split()))

    def healthy(self) -> bool:
        """Whether the server answers through the front door."""
        try:
            return requests.get(self.url + self.health, timeout=5).status_code == requests.codes.ok
        except requests.RequestException:
            return False

    def wait_until_healthy(self) -> None:
        """Wait until the server answers through the front door."""
        self.wait_for(self.healthy, f"{self.url} is healthy")

    def wait_for(self, met: Callable[[], bool], what: str, seconds: float = 240) -> None:
        """Wait for what is to become so."""
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(0.5)
