# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Letta remembers of vLLM is brought in line, in its own schema, with its own drivers, whole or not at all."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "letta_stack" / "files" / "mend_providers.py"

# Runs in the server's image. It answers with what every run changed, and with the rows at the end.
PROGRAM = """
import json, os, sys
import mend_providers
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["LETTA_PG_URI"].replace("postgresql://", "postgresql+pg8000://", 1))
asked = json.load(sys.stdin)
with engine.begin() as connection:
    for table in ("agents", "provider_models", "providers", "organizations"):
        connection.execute(text(f"DELETE FROM {table}"))
    connection.execute(text("INSERT INTO organizations (id, name, privileged_tools) VALUES ('org-1', 'one', false)"))
    for statement in asked["rows"]:
        connection.exec_driver_sql(statement)
changed, error = [], ""
try:
    for url, models in asked["runs"]:
        with engine.begin() as connection:
            changed.append(mend_providers.mend(connection, url, models))
except Exception as failure:
    error = str(failure)
with engine.begin() as connection:
    def read(statement):
        return [list(row) for row in connection.exec_driver_sql(statement)]
    json.dump({
        "changed": changed,
        "error": error,
        "providers": read("SELECT id, base_url, is_deleted FROM providers ORDER BY id"),
        "models": read("SELECT name, max_context_window, is_deleted FROM provider_models ORDER BY name"),
        "agents": read("SELECT id, llm_config->>'model_endpoint', (llm_config->>'context_window')::int"
                       " FROM agents ORDER BY id"),
    }, sys.stdout)
"""


def provider(key: str, url: str, deleted: bool = False, organization: str = "NULL") -> str:
    return (
        "INSERT INTO providers (id, name, provider_type, provider_category, base_url, organization_id, is_deleted)"
        f" VALUES ('{key}', 'vllm', 'vllm', 'base', '{url}', {organization}, {deleted})"
    )


def model(name: str, context: int, deleted: bool = False) -> str:
    return (
        "INSERT INTO provider_models (id, handle, display_name, name, provider_id, model_type, model_endpoint_type,"
        f" max_context_window, is_deleted) VALUES ('{name}', 'vllm/{name}', '{name}', '{name}', 'p', 'llm', 'openai',"
        f" {context}, {deleted})"
    )


def agent(key: str, name: str, url: str, context: int, **others: str) -> str:
    config = {"model": name, "handle": f"vllm/{name}", "provider_name": "vllm", "provider_category": "base"}
    config |= {"model_endpoint": url, "context_window": context, **others}
    return (
        "INSERT INTO agents (id, organization_id, message_buffer_autoclear, llm_config)"
        f" VALUES ('{key}', 'org-1', false, '{json.dumps(config)}')"
    )


@pytest.fixture(scope="module")
def mended(bring: Callable[..., dict[str, str]]) -> Iterator[Callable[..., dict[str, Any]]]:
    """Put rows into a database of Letta's newest schema, mend it, and give what became of them."""
    images = bring("server", "db")
    name = f"agentfleet-test-mend-{uuid.uuid4().hex[:8]}"

    def docker(*arguments: str, **options: Any) -> str:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def server(*arguments: str, **options: Any) -> str:
        return docker(
            *["run", "--rm", "--interactive", "--network", name, "--workdir", "/app", "--tmpfs", "/tmp"],
            *[
                "--env",
                f"LETTA_PG_URI=postgresql://postgres:secret@{name}:5432/letta",
                "--env",
                "PYTHONPATH=/etc/letta",
            ],
            *["--volume", f"{SCRIPT}:/etc/letta/mend_providers.py:ro", "--entrypoint", arguments[0], images["server"]],
            *arguments[1:],
            **options,
        )

    docker("network", "create", "--internal", name)
    try:
        docker(
            *[
                "run",
                "--detach",
                "--name",
                name,
                "--network",
                name,
                "--tmpfs",
                "/var/lib/postgresql/data:uid=999,gid=999",
            ],
            *["--env", "POSTGRES_PASSWORD=secret", "--env", "POSTGRES_DB=letta", images["db"]],
        )
        ready = ["docker", "exec", name, "pg_isready", "--host=127.0.0.1", "--dbname=letta", "--username=postgres"]
        for _attempt in range(120):
            if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.5)
        docker("exec", name, "psql", "--username=postgres", "--dbname=letta", "--command=CREATE EXTENSION vector")
        server("alembic", "upgrade", "head")

        def mend(rows: list[str], *runs: tuple[str, dict[str, int]]) -> dict[str, Any]:
            return json.loads(server("python", "-c", PROGRAM, input=json.dumps({"rows": rows, "runs": runs})))

        yield mend
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)
        docker("network", "rm", name)


URL, MOVED = "http://vllm:8000/v1", "http://moved:8000/v1"


def test_where_all_is_right_nothing_changes(mended):
    rows = [provider("p", URL), model("oak", 16384), agent("a", "oak", URL, 16384)]
    done = mended(rows, (URL, {"oak": 16384}))
    assert done["error"] == ""
    assert done["changed"] == [{"providers": 0, "agents": 0, "models": 0}]


def test_a_model_that_comes_back_is_there_again_and_the_others_stay_away(mended):
    rows = [provider("p", URL), model("oak", 16384, deleted=True), model("elm", 16384, deleted=True)]
    done = mended(rows, (URL, {"oak": 16384}), (URL, {"oak": 16384}))
    assert done["models"] == [["elm", 16384, True], ["oak", 16384, False]]
    assert done["changed"][1] == {"providers": 0, "agents": 0, "models": 0}


def test_a_provider_that_moved_or_was_away_is_asked_where_it_is_now(mended):
    rows = [provider("p", URL, deleted=True), agent("a", "oak", URL, 16384), agent("b", "elm", URL, 16384)]
    done = mended(rows, (MOVED, {}))
    assert done["providers"] == [["p", MOVED, False]]
    assert [endpoint for _id, endpoint, _context in done["agents"]] == [MOVED, MOVED]


def test_what_is_not_of_the_servers_own_vllm_is_left_alone(mended):
    rows = [
        provider("p", URL),
        provider("q", URL, organization="'org-1'"),
        agent("byok", "oak", URL, 16384, provider_category="byok"),
        agent("other", "gpt", URL, 16384, provider_name="openai"),
    ]
    done = mended(rows, (MOVED, {"oak": 4096}))
    assert done["providers"] == [["p", MOVED, False], ["q", URL, False]]
    assert done["agents"] == [["byok", URL, 16384], ["other", URL, 16384]]


@pytest.mark.parametrize(("now", "whole", "part"), [(12288, 12288, 8192), (32768, 32768, 8192), (4096, 4096, 4096)])
def test_agents_get_the_context_that_there_is_and_keep_a_shorter_one(mended, now, whole, part):
    rows = [provider("p", URL), model("oak", 16384), agent("whole", "oak", URL, 16384), agent("part", "oak", URL, 8192)]
    done = mended(rows, (URL, {"oak": now}))
    assert done["models"] == [["oak", now, False]]
    assert done["agents"] == [["part", URL, part], ["whole", URL, whole]]


def test_it_is_done_whole_or_not_at_all(mended):
    rows = [provider("p", URL), model("oak", 16384), agent("a", "oak", URL, 16384)]
    # No column holds such a number: the last statement of the transaction fails.
    done = mended(rows, (MOVED, {"oak": 2**40}))
    assert done["error"]
    assert done["providers"] == [["p", URL, False]]
    assert done["agents"] == [["a", URL, 16384]]
