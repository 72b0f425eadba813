# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose project under test: its files, the real module run on it by Ansible, and what the engine says of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import docker
import yaml

from .debian import IMAGE

MODULE = "ansible_collections.agentfleet.letta.plugins.modules.compose_rollout"
LABEL = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
_RESULT = re.compile(r"^localhost \| (?P<status>[A-Z]+)!? => (?=\{)", re.MULTILINE)
# A test that waits this long has failed. Seconds.
PATIENCE = 60.0


def service(script: str = "sleep 1000", **keys: Any) -> dict[str, Any]:
    """Give a service that runs a shell script and stops at once."""
    return {"image": IMAGE, "command": ["sh", "-c", script.replace("$", "$$")], "stop_signal": "SIGKILL", **keys}


def healthcheck(command: str = "test -e /tmp/ready", **keys: Any) -> dict[str, Any]:
    """Give a healthcheck that is quick to decide.

    Once it has passed, a check lasts a second, in which it looks again and again: what a test waits for is seen as
    soon as it would be by many short ones, each of which costs the machine as much as this one.
    """
    looks = f"({command}) || exit; test -e /tmp/passed || exec touch /tmp/passed"
    looks += f"; for _ in 1 2 3 4 5; do sleep 0.2; ({command}) || exit; done"
    return {"test": ["CMD-SHELL", looks], "interval": "0.2s", "timeout": "5s", "retries": 1, **keys}


def becomes_healthy(after: float = 0.0, **keys: Any) -> dict[str, Any]:
    """Give a service that is unhealthy for `after` seconds, and healthy from then on."""
    return service(f"sleep {after}; touch /tmp/ready; sleep 1000", healthcheck=healthcheck(), **keys)


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    """Give the first true value of `condition`; fail the test when there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE:.0f} s in vain: {what}")


def read_in(container: Any, path: str) -> str:
    """Give what a file holds in a container. A busy engine sometimes loses what a short command said."""
    said: bytes = wait_for(f"{path} is read", lambda: container.exec_run(["cat", path]).output)
    return said.decode()


@dataclass(frozen=True)
class Result:
    """What a run gave: the module's answer, and everything that was printed."""

    answer: dict[str, Any]
    output: str

    def __getitem__(self, key: str) -> Any:
        return self.answer[key]

    def get(self, key: str) -> Any:
        return self.answer.get(key)

    @property
    def failed(self) -> bool:
        return bool(self.answer.get("failed"))

    @property
    def warnings(self) -> str:
        return json.dumps(self.answer.get("warnings", []))

    def service(self, name: str) -> dict[str, Any]:
        return next(each for each in self["services"] if each["service"] == name)


@dataclass
class Run:
    """The module at work."""

    process: subprocess.Popen[str]

    def finish(self, patience: float = 2 * PATIENCE) -> Result:
        """Wait for its end, for so many seconds."""
        output, errors = self.process.communicate(timeout=patience)
        if not output.lstrip().startswith("{"):
            raise AssertionError(f"the module gave no result:\n{output}\n{errors}")
        return Result(json.loads(output), output + errors)

    def kill(self) -> None:
        """End it as an out-of-memory kill would."""
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


@dataclass(frozen=True)
class Event:
    """One thing that happened to a container; `time` in nanoseconds."""

    time: int
    action: str
    container: str
    service: str


@dataclass
class Project:
    """One Compose project on the real engine."""

    name: str
    directory: Path
    state: Path
    engine: docker.DockerClient
    environment: dict[str, str]

    # Its files

    def write(self, services: dict[str, Any], file: str = "compose.yaml", **sections: Any) -> None:
        text = yaml.safe_dump({"services": services, **sections}, sort_keys=False)
        (self.directory / file).write_text(text, encoding="utf-8")

    @property
    def state_files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.state)): path.read_text(encoding="utf-8", errors="replace")
            for path in sorted(self.state.rglob("*"))
            if path.is_file()
        }

    # The module

    def _wanted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {
            "project_src": str(self.directory),
            "project_name": self.name,
            "state_dir": str(self.state),
            "stable": 0,
            **arguments,
        }

    def start(self, *, check: bool = False, diff: bool = False, **arguments: Any) -> Run:
        """Set the module to work; `arguments` are its own."""
        wanted = {**self._wanted(arguments), "_ansible_check_mode": check, "_ansible_diff": diff}
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": wanted}))
        process.stdin.flush()
        process.stdin.close()
        process.stdin = None
        return Run(process)

    def roll_out(self, *, check: bool = False, diff: bool = False, **arguments: Any) -> Result:
        """Run the module as Ansible runs it on the host. Ansible itself takes longer than most rollouts here."""
        return self.start(check=check, diff=diff, **arguments).finish()

    def task(self, *options: str, **arguments: Any) -> Result:
        """Run the module by an Ansible task; `options` are those of the ansible command."""
        argv = ["ansible", "localhost", "--inventory", "localhost,", "--connection", "local"]
        argv += ["--extra-vars", f"ansible_python_interpreter={sys.executable}"]
        argv += ["--module-name", "agentfleet.letta.compose_rollout", "--args", json.dumps(self._wanted(arguments))]
        finished = subprocess.run([*argv, *options], env=self.environment, capture_output=True, text=True, check=False)
        found = _RESULT.search(finished.stdout)
        if not found:
            raise AssertionError(f"Ansible gave no result:\n{finished.stdout}\n{finished.stderr}")
        answer, _end = json.JSONDecoder().raw_decode(finished.stdout, found.end())
        return Result({**answer, "failed": found["status"] == "FAILED"}, finished.stdout + finished.stderr)

    def deploy(self, services: dict[str, Any] | None = None, /, **arguments: Any) -> Result:
        """Roll out and see that it worked; with `services`, these are written first."""
        if services is not None:
            self.write(services)
        result = self.roll_out(**arguments)
        assert not result.failed, result["msg"]
        return result

    # Compose, as a person would call it

    def compose(self, *arguments: str, may_fail: bool = False) -> str:
        argv = ["docker", "compose", "--project-directory", str(self.directory), "--project-name", self.name]
        finished = subprocess.run(
            [*argv, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        assert may_fail or finished.returncode == 0, finished.stderr
        return finished.stdout

    # The engine

    def containers(self, service: str | None = None, *, running: bool = False) -> list[Any]:
        labels = [f"{LABEL}={self.name}", *([f"{SERVICE}={service}"] if service else [])]
        found = self.engine.containers.list(all=not running, filters={"label": labels}, ignore_removed=True)
        return sorted(found, key=lambda container: container.name)

    def names(self, service: str | None = None) -> list[str]:
        return [container.name for container in self.containers(service, running=True)]

    def ids(self, service: str | None = None) -> dict[str, str]:
        """Give id -> start time of what runs: equal when nobody touched a container."""
        return {each.id: each.attrs["State"]["StartedAt"] for each in self.containers(service, running=True)}

    def all_ids(self) -> set[str]:
        return {container.id for container in self.containers()}

    def variables(self, service: str, name: str) -> list[str]:
        """Give the value of an environment variable in each container that runs, sorted."""
        environments = (each.attrs["Config"]["Env"] for each in self.containers(service, running=True))
        return sorted(dict(pair.split("=", 1) for pair in pairs)[name] for pairs in environments)

    def objects(self) -> dict[str, Any]:
        """Give everything that the engine has of this project, to compare before and after."""
        networks = self.engine.networks.list(filters={"label": f"{LABEL}={self.name}"})
        volumes = self.engine.volumes.list(filters={"label": f"{LABEL}={self.name}"})
        return {
            "containers": {each.id: each.attrs["State"]["StartedAt"] for each in self.containers()},
            "networks": {network.id for network in networks},
            "volumes": {volume.name for volume in volumes},
        }

    @contextmanager
    def events(self) -> Iterator[list[Event]]:
        """Record what happens to the project's containers, as the engine tells it."""
        stream = self.engine.api.events(decode=True, filters={"type": "container", "label": f"{LABEL}={self.name}"})
        recorded: list[Event] = []

        def read() -> None:
            for event in stream:
                attributes = event["Actor"]["Attributes"]
                recorded.append(
                    Event(event["timeNano"], event["Action"], attributes["name"], attributes.get(SERVICE, ""))
                )

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield recorded
        finally:
            # What was done last has to have arrived.
            time.sleep(0.2)
            stream.close()
            reader.join(timeout=PATIENCE)

    def image(self, tag: str, *changes: str) -> str:
        """Make an image of this project's own; `changes` are Dockerfile instructions. Gives its reference."""
        reference = f"{self.name}:{tag}"
        source = self.engine.api.create_container(IMAGE)["Id"]
        try:
            self.engine.api.commit(source, repository=self.name, tag=tag, changes=list(changes) or None)
        finally:
            self.engine.api.remove_container(source)
        return reference

    def remove(self) -> None:
        """Leave nothing of this project on the engine."""
        for container in self.containers():
            container.remove(force=True, v=True)
        for network in self.engine.networks.list(filters={"label": f"{LABEL}={self.name}"}):
            network.remove()
        for volume in self.engine.volumes.list(filters={"label": f"{LABEL}={self.name}"}):
            volume.remove(force=True)
        for image in self.engine.images.list(name=self.name):
            self.engine.images.remove(str(image.id), force=True)


def first(events: list[Event], action: str, container: str) -> int:
    """Give when something first happened to a container."""
    return next(each.time for each in events if each.action == action and each.container == container)


def running_counts(events: list[Event], service: str, before: int) -> list[int]:
    """Give how many containers of a service ran after each start and death."""
    count, counts = before, [before]
    for event in events:
        if event.service == service and event.action in ("start", "die"):
            count += 1 if event.action == "start" else -1
            counts.append(count)
    return counts


def docker_that(path: Path, *, before_create: str = "", after_create: str = "") -> Path:
    """Make a docker command that runs lines of shell before and after each `docker compose create`; gives its path."""
    path.write_text(
        f"""#!/bin/sh
case " $* " in
  *" create "*)
    {before_create or ":"}
    {shutil.which("docker")} "$@"
    code=$?
    {after_create or ":"}
    exit $code
    ;;
  *) exec {shutil.which("docker")} "$@" ;;
esac
""",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


def environment(root: Path, collections: Path, docker_config: Path | None) -> dict[str, str]:
    """Give the environment for Ansible and Compose."""
    chosen = {
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": str(collections),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    if docker_config:
        chosen["DOCKER_CONFIG"] = str(docker_config)
    return {**os.environ, **chosen}
