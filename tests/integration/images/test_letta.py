# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Letta image migrates a database and serves, as a user of its own on a read-only root."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker.models.volumes import Volume

    from .conftest import Box

HOME = {"/tmp": "", "/home/letta": "uid=10001,gid=10001"}


def test_migrates_and_serves(start: Callable[..., Box], images: dict[str, str], volume: Volume) -> None:
    database = start(
        images["db"],
        environment={"POSTGRES_USER": "letta", "POSTGRES_PASSWORD": "secret"},
        tmpfs={"/tmp": "", "/run/postgresql": "uid=999,gid=999"},
        volumes={volume.name: {"bind": "/var/lib/postgresql/data", "mode": "rw"}},
    )
    redis = start(images["redis"], ["--save", ""], tmpfs={"/data": "uid=999,gid=999"})
    database.wait_healthy()
    redis.wait_healthy()
    database.output_of("psql", "-U", "letta", "-c", "CREATE EXTENSION vector")

    server = start(
        images["server"],
        environment={
            "LETTA_PG_URI": f"postgresql://letta:secret@{database.container.name}:5432/letta",
            "LETTA_REDIS_HOST": str(redis.container.name),
            "LETTA_DISABLE_SQLALCHEMY_POOLING": "true",
            "LETTA_SERVER_PASSWORD": "secret",
            "SECURE": "true",
        },
        tmpfs=HOME,
        mem_limit="1500m",
    )
    curl = ["curl", "-sS", "-o", "/tmp/answer", "-w", "%{http_code}"]
    health = [*curl, "http://127.0.0.1:8283/v1/health/"]
    server.wait_until(lambda: server.run(*health) == (0, "200"), timeout=240)
    assert json.loads(server.output_of("cat", "/tmp/answer")) == {"version": "0.16.8", "status": "ok"}

    agents = "http://127.0.0.1:8283/v1/agents/?limit=1"
    assert server.output_of(*curl, agents) == "401"
    assert server.output_of(*curl, "-H", "Authorization: Bearer secret", agents) == "200"
    assert server.output_of("cat", "/tmp/answer") == "[]"
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert int(database.output_of("psql", "-XAtU", "letta", "-c", tables)) > 40

    server.container.stop(timeout=60)
    assert server.wait_exit() == 0


def test_says_that_it_needs_a_database(start: Callable[..., Box], images: dict[str, str]) -> None:
    box = start(images["server"], tmpfs=HOME)
    assert box.wait_exit() == 1
    assert "LETTA_PG_URI is not set" in box.logs()


def test_is_laid_out_as_upstream(start: Callable[..., Box], images: dict[str, str]) -> None:
    box = start(images["server"], ["sleep", "60"], tmpfs=HOME)
    assert box.output_of("pwd") == "/app"
    box.output_of("test", "-f", "/app/alembic.ini")
    box.output_of("test", "-f", "/app/alembic/env.py")
    assert box.output_of("sh", "-c", "command -v alembic letta python").split() == [
        f"/app/.venv/bin/{name}" for name in ("alembic", "letta", "python")
    ]
    assert "(head)" in box.output_of("alembic", "heads")


def test_bytecode_is_there_and_never_checked(start: Callable[..., Box], images: dict[str, str]) -> None:
    """A read-only root cannot cache it, and a server without it starts seven seconds later."""
    box = start(images["server"], ["sleep", "60"], tmpfs=HOME)
    script = (
        "import importlib.util, letta.settings as module;"
        "print(open(importlib.util.cache_from_source(module.__file__), 'rb').read(8)[4])"
    )
    assert box.output_of("python", "-c", script).split("\n")[-1] == "1"
