# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The App Server's image serves without root, with a token, from one volume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker.models.volumes import Volume

    from .conftest import Box

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "roles" / "letta_stack" / "vars" / "main" / "app_server_environment.yml"
# What is read by what the server runs in, and not by its own code.
SYSTEM = {"HOME", "NO_PROXY", "TZ"}
# Prints those of the words that no JavaScript file of the wheel holds.
UNREAD = """
import pathlib, re, sys
words = set()
for path in pathlib.Path("/opt/letta").rglob("*"):
    if path.suffix in (".js", ".mjs", ".cjs") and path.is_file():
        words.update(re.findall(r"[A-Z][A-Z0-9_]+", path.read_text(encoding="utf-8", errors="replace")))
print(*sorted(set(sys.argv[1:]) - words))
"""
TOKEN = "token-of-the-integration-test"
HOME = "/var/lib/letta"


@pytest.fixture(scope="module")
def image(bring: Callable[..., dict[str, str]]) -> str:
    """The reference of the App Server's image."""
    return bring("app_server")["app_server"]


@pytest.fixture
def serve(start: Callable[..., Box], image: str, volume: Volume, tmp_path: Path) -> Callable[..., Box]:
    """Start a server on the test's volume, with a token that everyone in the container may read."""
    token = tmp_path / "app_server_token"
    token.write_text(TOKEN)
    token.chmod(0o444)
    for parent in [tmp_path, *list(tmp_path.parents)[:2]]:
        parent.chmod(0o755)
    volumes = {
        volume.name: {"bind": HOME, "mode": "rw"},
        str(token): {"bind": "/run/secrets/app_server_token", "mode": "ro"},
    }

    def run() -> Box:
        box = start(image, volumes=volumes, tmpfs={"/tmp": ""}, init=True)
        box.wait_healthy()
        return box

    return run


def status(box: Box, path: str, *headers: str) -> str:
    """The status that the server answers with, to a GET in its container."""
    options = [option for header in headers for option in ("--header", header)]
    shown = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "5"]
    # A websocket stays open until curl gives up, with 28.
    _code, output = box.run("curl", *shown, *options, f"http://127.0.0.1:4500{path}")
    return output


def test_it_serves_those_who_have_the_token(serve: Callable[..., Box]) -> None:
    box = serve()
    bearer = f"Authorization: Bearer {TOKEN}"
    handshake = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: c2l4dGVlbi1pcy1yaWdodA==",
    ]
    assert status(box, "/readyz") == "200"
    assert status(box, "/app-server-info") == "401"
    assert status(box, "/app-server-info", bearer) == "200"
    assert status(box, "/ws", *handshake) == "401"
    assert status(box, "/ws", *handshake, "Authorization: Bearer wrong") == "401"
    assert status(box, "/ws", *handshake, bearer) == "101"
    info = box.output_of("curl", "--silent", "--header", bearer, "http://127.0.0.1:4500/app-server-info")
    assert json.loads(info)["letta_code_version"] == "0.34.12"
    assert TOKEN not in box.logs()


def test_it_refuses_to_serve_others_without_a_token(start: Callable[..., Box], image: str) -> None:
    command = ["letta", "server", "--backend", "local", "--listen", "ws://0.0.0.0:4500"]
    box = start(image, command, tmpfs={"/tmp": "", HOME: "uid=10001,gid=10001"})
    assert box.wait_exit() != 0
    assert "without auth" in box.logs()


def test_a_fresh_volume_is_its_own_and_the_next_server_finds_it(serve: Callable[..., Box]) -> None:
    first = serve()
    assert first.output_of("stat", "--format=%u:%g %a", HOME) == "10001:10001 700"
    first.output_of("sh", "-c", f"echo kept >{HOME}/workspace/note")
    first.container.stop(timeout=20)
    assert first.wait_exit() in (0, 143)

    second = serve()
    assert second.output_of("cat", f"{HOME}/workspace/note") == "kept"


def test_agents_find_what_they_need(serve: Callable[..., Box]) -> None:
    box = serve()
    for tool in ("bash", "curl", "git", "python3", "letta"):
        box.output_of("sh", "-c", f"command -v {tool}")
    assert box.output_of("letta", "--version").startswith("0.34.12")


def test_every_variable_that_may_be_set_is_one_that_it_reads(start: Callable[..., Box], image: str) -> None:
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["__letta_stack_app_server_environment"]
    names = {*table["known"], *table["reserved"]} - SYSTEM
    box = start(image, ["python3", "-c", UNREAD, "NO_SUCH_VARIABLE", *sorted(names)])
    assert box.wait_exit() == 0
    assert box.logs().split() == ["NO_SUCH_VARIABLE"]
