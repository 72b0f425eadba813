# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""files/local/engine takes an engine that runs, and starts and stops one of its own beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENGINE = Path(__file__).resolve().parents[3] / "files/local/engine"


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run the script for a socket of its own, where no engine answers and no service manager can be seen."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None or Path("/run/systemd/system").exists():
        pytest.skip("starting an engine beside the one that runs takes root, dockerd, and a machine without systemd")
    environment = {
        **os.environ,
        "DOCKER_HOST": f"unix://{tmp_path}/docker.sock",
        "ENGINE_STATE": str(tmp_path / "state"),
        "ENGINE_LOG": str(tmp_path / "log"),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # A network of its own, so that neither engine sees the other's bridge and rules.
        command = ["unshare", "--net", "--mount", str(ENGINE), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    yield run
    run("stop")


@pytest.fixture
def options(tmp_path: Path) -> Iterator[list[str]]:
    """Options for a second dockerd that shares nothing with the first."""
    # containerd's socket lies there. Its path may have 107 characters; pytest's folders use them up.
    with tempfile.TemporaryDirectory(prefix="engine-") as short:
        places = {"data-root": tmp_path / "data", "exec-root": short, "pidfile": tmp_path / "docker.pid"}
        yield [*(f"--{option}={place}" for option, place in places.items()), "--iptables=false", "--bridge=none"]


def test_takes_the_engine_that_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "ENGINE_STATE": str(tmp_path / "state")}
    for action, message in (("start", "which runs already"), ("stop", "none is stopped"), ("status", "answers")):
        done = subprocess.run([str(ENGINE), action], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert message in done.stdout
    assert not (tmp_path / "state").exists()


def test_starts_once_and_stops_its_own(
    apart: Callable[..., subprocess.CompletedProcess[str]], options: list[str]
) -> None:
    assert apart("status").returncode == 1

    started = apart("start", *options)
    assert started.returncode == 0, started.stderr
    assert "started dockerd by itself" in started.stdout
    assert "which runs already" in apart("start", *options).stdout
    assert "started here" in apart("status").stdout

    assert "stopped dockerd" in apart("stop").stdout
    assert apart("status").returncode == 1


def test_an_engine_that_cannot_start_is_explained(apart: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    failed = apart("start", "--no-such-flag")
    assert failed.returncode == 1
    assert "unknown flag: --no-such-flag" in failed.stderr
    assert "ended at once" in failed.stderr


def test_usage() -> None:
    done = subprocess.run([str(ENGINE)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage:" in done.stderr
