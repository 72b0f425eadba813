# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine tells of containers that live and die in every way: its events, and what each looked like then.

    python3 lives.py >VERSION.json

asks the engine of this machine, and needs nothing but the Docker SDK and the tests' image (debian.IMAGE): it runs on a
test host as it is. The unit tests of the gate judge by what each engine told, in tests/unit/rollout/recorded/lives.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import docker

IMAGE = "agentfleet-test/rollout-busybox:1"
_LABEL = "agentfleet-test.life"
_WATCHED = 6.0


def _check(command: str) -> dict[str, Any]:
    return {"test": ["CMD-SHELL", command], "interval": 300_000_000, "timeout": 2_000_000_000, "retries": 2}


# By name: what the container runs, and how it was created.
LIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "healthy": ("sleep 1000", {"healthcheck": _check("true")}),
    "unchecked": ("sleep 1000", {}),
    # Its start outlasts its retries: unhealthy on its way to healthy.
    "slow": ("sleep 3; touch /tmp/ready; sleep 1000", {"healthcheck": _check("test -e /tmp/ready")}),
    "unhealthy": ("sleep 1000", {"healthcheck": _check("echo no route; false")}),
    "exits": ("sleep 0.5; exit 42", {}),
    "crash-loop": ("sleep 0.3; exit 9", {"restart_policy": {"Name": "always"}}),
    # Not all of busybox has a link of its own.
    "killed": ("busybox tail /dev/zero", {"mem_limit": "16m", "memswap_limit": "16m"}),
    "finishes": ("sleep 0.5", {}),
}


def live(engine: docker.DockerClient, name: str) -> list[dict[str, Any]]:
    """Let one container live for some seconds; gives its events and looks: seconds since its start, action, inspect."""
    script, keys = LIVES[name]
    container = engine.containers.create(IMAGE, ["sh", "-c", script], labels={_LABEL: name}, **keys)
    seen: list[dict[str, Any]] = []
    stream = engine.events(decode=True, filters={"type": "container", "container": container.id})
    try:
        began = time.monotonic()
        reader = threading.Thread(target=_read, args=(engine, stream, container.id, began, seen), daemon=True)
        reader.start()
        engine.api.start(container.id)
        time.sleep(_WATCHED)
        stream.close()
        reader.join(timeout=5)
        seen.append(_look(engine, container.id, began, "end"))
    finally:
        container.remove(force=True)
    return seen


def _read(
    engine: docker.DockerClient, stream: Any, container_id: str, began: float, seen: list[dict[str, Any]]
) -> None:
    try:
        for event in stream:
            if not event["Action"].startswith("exec_"):
                seen.append(_look(engine, container_id, began, event["Action"]))
    except (docker.errors.DockerException, OSError, ValueError):
        # The stream was closed.
        return


def _look(engine: docker.DockerClient, container_id: str, began: float, action: str) -> dict[str, Any]:
    after = round(time.monotonic() - began, 2)
    return {"after": after, "action": action, "inspect": _what_matters(engine.api.inspect_container(container_id))}


def _what_matters(inspect: dict[str, Any]) -> dict[str, Any]:
    config, host, state = inspect["Config"], inspect["HostConfig"], inspect["State"]
    return {
        **{key: inspect[key] for key in ("Id", "Name", "Image", "RestartCount")},
        "State": {key: value for key, value in state.items() if key not in ("Pid", "Health")}
        | ({"Health": {**state["Health"], "Log": (state["Health"]["Log"] or [])[-1:]}} if "Health" in state else {}),
        "Config": {key: config.get(key) for key in ("Image", "Labels", "Healthcheck")},
        "HostConfig": {key: host.get(key) for key in ("RestartPolicy", "Memory")},
        "Mounts": [],
    }


if __name__ == "__main__":
    client = docker.from_env()
    told = {
        "engine": client.version()["Version"],
        "lives": {name: live(client, name) for name in LIVES},
    }
    json.dump(told, sys.stdout, indent=1, sort_keys=True)
    print()
