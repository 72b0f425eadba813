# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout asks of the engine beyond starting and stopping, on the real one."""

from __future__ import annotations

import io
import tarfile
import time
from typing import Any

import docker
import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import docker_engine
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.docker_engine import DockerEngine
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.engine import Execution
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import EngineError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Hook

from .containers import Containers
from .project import wait_for

PATIENCE = 30.0


@pytest.fixture
def rollout_engine() -> DockerEngine:
    return DockerEngine()


def shell(script: str, **keys: Any) -> Hook:
    return Hook(("sh", "-c", script), **keys)


# Commands


def test_a_command_gives_its_exit_code_and_both_its_outputs(
    containers: Containers, rollout_engine: DockerEngine
) -> None:
    execution = rollout_engine.execute(containers.start(), shell("echo out; echo err >&2; exit 3"), PATIENCE)
    assert execution.exit_code == 3
    assert sorted(execution.output.split()) == ["err", "out"]


def test_a_command_has_the_user_the_folder_and_the_environment_that_were_asked_for(
    containers: Containers, rollout_engine: DockerEngine
) -> None:
    hook = shell(
        'grep ^Uid: /proc/self/status; echo "$PWD $A"', user="1234", working_dir="/tmp", environment=("A=b c",)
    )
    execution = rollout_engine.execute(containers.start(), hook, PATIENCE)
    assert execution.output.split() == ["Uid:", "1234", "1234", "1234", "1234", "/tmp", "b", "c"]


def test_a_privileged_command_is_asked_for_as_one(
    containers: Containers, rollout_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the engine itself may do little, it refuses to run it: what it was asked for is what counts.
    asked = []
    monkeypatch.setattr(
        rollout_engine._api,
        "exec_create",
        lambda *words, **keys: asked.append(keys) or docker.APIClient.exec_create(rollout_engine._api, *words, **keys),
    )
    rollout_engine.execute(containers.start(), Hook(("sleep", "0"), privileged=True), PATIENCE)
    assert asked[0]["privileged"] is True


def test_what_a_command_leaves_in_the_background_does_not_hold_it_up(
    containers: Containers, rollout_engine: DockerEngine
) -> None:
    container_id = containers.start()
    execution = rollout_engine.execute(container_id, shell("sleep 987 & echo started"), PATIENCE)
    assert execution == Execution(0, "started\n")
    assert "sleep 987" in rollout_engine.processes(container_id).values()


def test_what_talks_in_the_background_for_ever_does_not_hold_it_up(
    containers: Containers, rollout_engine: DockerEngine
) -> None:
    script = "while sleep 0.01; do echo more; done & echo started"
    execution = rollout_engine.execute(containers.start(), shell(script), PATIENCE)
    assert execution.exit_code == 0
    assert set(execution.output.split()) <= {"started", "more"}


def test_of_a_long_output_the_end_is_kept(containers: Containers, rollout_engine: DockerEngine) -> None:
    script = "busybox yes 0123456789 | busybox head -c 5000000; echo; echo END; exit 1"
    execution = rollout_engine.execute(containers.start(), shell(script), PATIENCE)
    assert execution.exit_code == 1
    assert execution.output.endswith("\nEND\n")


def test_a_command_that_outlasts_its_time_is_killed_and_what_it_said_is_kept(
    containers: Containers, rollout_engine: DockerEngine
) -> None:
    container_id = containers.start()
    assert rollout_engine.execute(container_id, shell("echo waiting; exec sleep 987"), 1.0) == Execution(
        None, "waiting\n"
    )
    wait_for("its end", lambda: "sleep 987" not in rollout_engine.processes(container_id).values())
    assert rollout_engine.inspect(container_id).status == "running"


def test_a_command_may_be_silent_for_longer_than_the_engine_may_take_to_answer(
    containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_engine, "_ANSWER", 1)
    execution = DockerEngine().execute(containers.start(), shell("sleep 3; echo done"), PATIENCE)
    assert execution == Execution(0, "done\n")


def test_a_command_that_the_engine_is_slow_to_start_is_waited_for(
    containers: Containers, rollout_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = rollout_engine._api.exec_start

    def start_late(*words: Any, **keys: Any) -> Any:
        time.sleep(0.5)
        return start(*words, **keys)

    monkeypatch.setattr(rollout_engine._api, "exec_start", start_late)
    assert rollout_engine.execute(containers.start(), shell("exit 5"), PATIENCE).exit_code == 5


@pytest.mark.parametrize(
    "hook", [Hook(("nosuch",)), Hook(("sleep", "0"), working_dir="/nosuch"), Hook(("sleep", "0"), user="nosuch")]
)
def test_a_command_that_cannot_be_started_fails_as_one_that_ran(
    containers: Containers, rollout_engine: DockerEngine, hook: Hook
) -> None:
    # 127 by some engines, as a shell has it.
    assert rollout_engine.execute(containers.start(), hook, PATIENCE).exit_code in (126, 127)


def test_a_container_that_ends_takes_its_command_along(
    containers: Containers, engine: docker.DockerClient, rollout_engine: DockerEngine
) -> None:
    container_id = containers.start("sleep 2")
    execution = rollout_engine.execute(container_id, Hook(("sleep", "987")), PATIENCE)
    assert execution.exit_code not in (None, 0)


@pytest.mark.parametrize("state", ["created", "exited", "paused", "removed"])
def test_a_container_that_does_not_run_takes_no_command(
    containers: Containers, engine: docker.DockerClient, rollout_engine: DockerEngine, state: str
) -> None:
    container_id = containers.create()
    if state != "created":
        engine.api.start(container_id)
    if state == "exited":
        engine.api.kill(container_id)
        engine.api.wait(container_id)
    if state == "paused":
        engine.api.pause(container_id)
    if state == "removed":
        engine.api.remove_container(container_id, force=True)
    with pytest.raises(EngineError, match="run a command in a container"):
        rollout_engine.execute(container_id, Hook(("sleep", "0")), PATIENCE)


# Processes


def test_processes_are_told_by_their_whole_command_lines(
    containers: Containers, engine: docker.DockerClient, rollout_engine: DockerEngine
) -> None:
    argument = "x" * 300
    container_id = containers.start(f"sleep 987 & exec sh -c 'sleep 988; : {argument}'")
    processes = wait_for(
        "both", lambda: (found := rollout_engine.processes(container_id)) and len(found) == 3 and found
    )
    assert sorted(processes.values()) == [f"sh -c sleep 988; : {argument}", "sleep 987", "sleep 988"]
    assert rollout_engine.inspect(container_id).pid in processes


def test_a_container_that_ended_has_no_processes_to_list(
    containers: Containers, engine: docker.DockerClient, rollout_engine: DockerEngine
) -> None:
    with pytest.raises(EngineError, match="list a container's processes"):
        rollout_engine.processes(containers.create())


# Names


def test_a_container_gets_another_name_while_it_runs(containers: Containers, rollout_engine: DockerEngine) -> None:
    container_id = containers.start()
    rollout_engine.rename(container_id, f"zz-{containers.name}")
    assert rollout_engine.inspect(container_id).name == f"zz-{containers.name}"


def test_a_name_that_is_taken_is_refused(containers: Containers, rollout_engine: DockerEngine) -> None:
    taken = rollout_engine.inspect(containers.create()).name
    with pytest.raises(EngineError, match=taken):
        rollout_engine.rename(containers.create(), taken)


# Files


def archive(path: str, content: bytes, mode: int = 0o440, owner: int = 1234) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, owner, owner
        made.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_files_are_there_when_a_container_starts_with_their_mode_and_owner(
    containers: Containers, rollout_engine: DockerEngine
) -> None:
    container_id = containers.create("cat /run/secrets/key; ls -ln /run/secrets/key")
    rollout_engine.unpack(container_id, archive("run/secrets/key", b"hunter22\n"))
    rollout_engine.start(container_id)
    content, listing = wait_for("its end", lambda: len(said := rollout_engine.logs(container_id, 9)) == 2 and said)
    assert content == "hunter22"
    assert listing.split()[:4] == ["-r--r-----", "1", "1234", "1234"]


def test_files_come_to_a_running_container_too_and_through_its_links(
    containers: Containers, rollout_engine: DockerEngine
) -> None:
    container_id = containers.start()
    rollout_engine.execute(container_id, shell("mkdir -p /srv/real; busybox ln -s /srv/real /link"), PATIENCE)
    rollout_engine.unpack(container_id, archive("link/file", b"through", owner=0))
    assert rollout_engine.execute(container_id, Hook(("cat", "/srv/real/file")), PATIENCE) == Execution(0, "through")


def test_files_for_a_read_only_container_or_one_that_is_gone_are_refused(
    containers: Containers, rollout_engine: DockerEngine
) -> None:
    with pytest.raises(EngineError, match="read-only"):
        rollout_engine.unpack(containers.create(read_only=True), archive("file", b""))
    with pytest.raises(EngineError, match="No such container"):
        rollout_engine.unpack("f" * 64, archive("file", b""))


# Networks and volumes


def test_a_network_is_removed_unless_it_is_in_use_or_gone(containers: Containers, rollout_engine: DockerEngine) -> None:
    network = containers.network()
    container_id = containers.start(network=network)
    with pytest.raises(EngineError, match=f"remove network {network}"):
        rollout_engine.remove_network(network)
    rollout_engine.stop(container_id, 0)
    rollout_engine.remove(container_id)
    rollout_engine.remove_network(network)
    assert rollout_engine.network(network) is None
    rollout_engine.remove_network(network)


def test_a_volume_is_removed_unless_it_is_in_use_or_gone(containers: Containers, rollout_engine: DockerEngine) -> None:
    volume = containers.volume()
    container_id = containers.create(volumes=[f"{volume}:/data"])
    with pytest.raises(EngineError, match=f"remove volume {volume}"):
        rollout_engine.remove_volume(volume)
    rollout_engine.remove(container_id)
    assert rollout_engine.volume(volume) is not None
    rollout_engine.remove_volume(volume)
    assert rollout_engine.volume(volume) is None
    rollout_engine.remove_volume(volume)
