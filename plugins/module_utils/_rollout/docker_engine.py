# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine by the Docker SDK for Python (>= 5.0, Debian 12's).

A module of its own, because importing the SDK takes a third of a second: who wants it can do something else meanwhile.
"""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import host_processes
from .engine import Execution, Watch
from .errors import EngineError, EngineUnreachable
from .observe import PROJECT, Container, container
from .policy import Hook

try:
    import docker
    import docker.errors
    import docker.utils
    import requests
except ImportError as error:
    _MISSING: ImportError | None = error
else:
    _MISSING = None

# What one answer of the engine may take, in seconds, beyond what the request itself waits for.
_ANSWER = 60
# How often a command in a container is asked whether it ended. Seconds.
_ASK_AGAIN = 0.05
# How long the rest of an ended command's output is waited for. Seconds.
_REST = 2.0
# How much of the end of a command's output is kept, in bytes.
_KEPT = 1 << 20


class DockerEngine:
    """engine.Engine on the engine that the environment names, by default this host's."""

    def __init__(self) -> None:
        if _MISSING is not None:
            raise _MISSING
        try:
            self._api = docker.APIClient(version="auto", timeout=_ANSWER, **docker.utils.kwargs_from_env())
        except docker.errors.DockerException as error:
            raise EngineError(
                f"the Docker engine does not answer: {error}. Is it running, and may this user reach its socket?"
            ) from error

    def api_version(self) -> tuple[int, int]:
        # With version="auto" the SDK speaks the engine's own, which it asked for to connect.
        major, _dot, minor = str(self._api.api_version).partition(".")
        return int(major), int(minor)

    def containers(self, project: str) -> list[Container]:
        with _translated("list containers"):
            found = self._api.containers(all=True, filters={"label": f"{PROJECT}={project}"})
        inspected = (self.inspect(item["Id"]) for item in found)
        # Containers of `docker compose run` are a person's, not the project's.
        return [item for item in inspected if item is not None and not item.oneoff]

    def inspect(self, container_id: str) -> Container | None:
        answer = self._found("inspect a container", self._api.inspect_container, container_id)
        return None if answer is None else container(answer)

    def image_id(self, reference: str) -> str | None:
        answer = self._found(f"inspect image {reference}", self._api.inspect_image, reference)
        return None if answer is None else str(answer["Id"])

    def tag(self, image_id: str, reference: str) -> None:
        repository, tag = docker.utils.parse_repository_tag(reference)
        with _translated(f"tag {reference}"):
            self._api.tag(image_id, repository, tag or "latest", force=True)

    def network(self, name: str) -> dict[str, Any] | None:
        answer: dict[str, Any] | None = self._found(f"inspect network {name}", self._api.inspect_network, name)
        return answer

    def volume(self, name: str) -> dict[str, Any] | None:
        answer: dict[str, Any] | None = self._found(f"inspect volume {name}", self._api.inspect_volume, name)
        return answer

    def start(self, container_id: str) -> None:
        with _translated("start a container"):
            self._api.start(container_id)

    def stop(self, container_id: str, grace: int) -> None:
        with _translated("stop a container"):
            self._api.stop(container_id, timeout=grace)

    def set_restart_policy(self, container_id: str, policy: tuple[str, int]) -> None:
        name, retries = policy
        restart_policy: Any = {"Name": name, "MaximumRetryCount": retries}
        with _translated("set a restart policy"):
            self._api.update_container(container_id, restart_policy=restart_policy)

    def remove(self, container_id: str) -> None:
        self._found("remove a container", lambda found: self._api.remove_container(found, v=False), container_id)

    def rename(self, container_id: str, name: str) -> None:
        with _translated(f"rename a container to {name}"):
            self._api.rename(container_id, name)

    def execute(self, container_id: str, command: Hook, timeout: float) -> Execution:
        deadline = time.monotonic() + timeout
        with _translated("run a command in a container"):
            execution = self._api.exec_create(
                container_id,
                list(command.command),
                user=command.user,
                privileged=command.privileged,
                workdir=command.working_dir or None,
                environment=list(command.environment) or None,
            )["Id"]
        reader = _OutputReader(self._api, execution)
        while True:
            # Not until the output ends: a process that the command left in the background may hold it open.
            reader.join(_ASK_AGAIN)
            with _translated("run a command in a container"):
                reader.raise_error()
                state = self._api.exec_inspect(execution)
            # None also before the engine has started it, when it does not run yet either.
            exit_code: int | None = state["ExitCode"]
            if exit_code is not None or time.monotonic() >= deadline:
                break
        if exit_code is None and state["Pid"]:
            # Each further try would leave one more in the container.
            host_processes.kill(state["Pid"], container_id)
        return Execution(exit_code, reader.rest())

    def processes(self, container_id: str) -> dict[int, str]:
        with _translated("list a container's processes"):
            answer = self._api.top(container_id, ps_args="-eo pid,args")
        return {int(row[0]): " ".join(row[1:]) for row in answer["Processes"] or ()}

    def unpack(self, container_id: str, archive: bytes) -> None:
        with _translated("copy files into a container"):
            self._api.put_archive(container_id, "/", archive)

    def remove_network(self, name: str) -> None:
        self._found(f"remove network {name}", self._api.remove_network, name)

    def remove_volume(self, name: str) -> None:
        self._found(f"remove volume {name}", self._api.remove_volume, name)

    def logs(self, container_id: str, lines: int) -> list[str]:
        output = self._found(
            "read logs",
            lambda found: self._api.logs(found, stdout=True, stderr=True, tail=lines),
            container_id,
        )
        return (output or b"").decode("utf-8", "replace").splitlines()

    @contextmanager
    def watch(self, project: str) -> Iterator[Watch]:
        with _translated("subscribe to events"):
            stream = self._api.events(decode=True, filters={"type": "container", "label": f"{PROJECT}={project}"})
        watch = _EventWatch(stream)
        try:
            yield watch
        finally:
            watch.close()

    @staticmethod
    def _found(what: str, call: Any, name: str) -> Any:
        """Call with `name`; None when the engine does not know it."""
        with _translated(what):
            try:
                return call(name)
            except docker.errors.NotFound:
                return None


class _EventWatch:
    """Reads the event stream in a thread. A stream that ends only costs promptness: waits then last their time."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._events: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for event in self._stream:
                # Each probe's exec_create, exec_start and exec_die say nothing of the container's state.
                if not event.get("Action", "").startswith("exec_"):
                    self._events.put(None)
        except (docker.errors.DockerException, requests.RequestException, OSError, ValueError):
            return

    def wait(self, seconds: float) -> None:
        try:
            self._events.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return
        while not self._events.empty():
            self._events.get()

    def close(self) -> None:
        self._stream.close()


class _OutputReader(threading.Thread):
    """Starts a command in a container and reads what it prints, so that its output never fills a pipe."""

    def __init__(self, api: Any, execution: str) -> None:
        super().__init__(daemon=True)
        self._api = api
        self._execution = execution
        self._output: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            for piece in self._api.exec_start(self._execution, stream=True):
                self._output.append(piece)
                self._size += len(piece)
                while self._size > _KEPT:
                    self._size -= len(self._output.popleft())
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            self._error = error

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def rest(self) -> str:
        """Give the output, once it has ended. What the command left in the background may never end it."""
        self.join(_REST)
        return b"".join(list(self._output)).decode("utf-8", "replace")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        raise EngineError(f"{what}: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise EngineUnreachable(f"{what}: {error}") from error
