# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Letta's own Compose files, from its source distribution, through compose_rollout: refused with the reason, or run.

They go as they are, or with a defect mended by a second file. Their images cannot be had everywhere, so those of this
collection run in their place, on ports of 127.0.0.1. What became of each flaw stands in docs/variants/ancestors.md.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
import yaml

from tests.integration.compose_rollout import debian
from tests.integration.compose_rollout.project import Project, Result, environment
from tests.integration.stack.sdist import unpacked

ROOT = Path(__file__).resolve().parents[3]
LLM = ROOT / "tests" / "hosts" / "llm" / "llm.py"
# Letta imports for half a minute, and much longer on a busy machine. Seconds.
PATIENCE = 900
POSTGRES = REDIS = 999
# What the files take from the environment; a developer's own must not get in.
TAKEN = ("LETTA_", "OPENAI_", "GROQ_", "ANTHROPIC_", "OLLAMA_", "AZURE_", "GEMINI_", "VLLM_", "CLICKHOUSE_", "HUGGING_")
HEALTHCHECK = """
    healthcheck:
      test: [CMD, curl, --fail, --silent, --output, /dev/null, "http://127.0.0.1:8283/v1/health/"]
      interval: 2s
      timeout: 5s
      retries: 5
      start_period: 300s"""


@pytest.fixture(scope="module")
def source() -> Path:
    return unpacked()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty project of the test's own; nothing of it is left on the engine."""
    engine = docker.from_env()
    debian.ensure_image(engine, ROOT / ".cache" / "integration")
    chosen = {
        **environment(ROOT, ROOT / ".ansible" / "collections", None),
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
        "HOME": str(tmp_path / "home"),
    }
    for folder in ("project", "home"):
        (tmp_path / folder).mkdir()
    made = Project(
        name=f"ancestor-test-{secrets.token_hex(4)}",
        directory=tmp_path / "project",
        state=tmp_path / "state",
        engine=engine,
        environment={name: value for name, value in chosen.items() if not name.startswith(TAKEN)},
    )
    try:
        yield made
    finally:
        made.remove()
        engine.close()


def take(project: Project, source: Path, *names: str) -> None:
    """Put files and folders of the source distribution where they are in it."""
    for name in names:
        target = project.directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target)
        else:
            shutil.copy(source / name, target)


def write(project: Project, name: str, text: str) -> None:
    (project.directory / name).write_text(text, encoding="utf-8")


def owned(path: Path, user: int) -> None:
    """Make a folder that belongs to a user: unlike the ancestors' images, those here never run as root."""
    path.mkdir(parents=True)
    os.chown(path, user, user)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def roll_out(project: Project, *files: str, **arguments: Any) -> Result:
    """Run the module, with time to spare for Letta's start."""
    return project.start(files=list(files), stable=5, **arguments).finish(PATIENCE)


def assert_refused(project: Project, result: Result, *words: str) -> None:
    """Nothing was changed, and the message says why."""
    assert result.failed
    assert "No container was changed" in result["msg"]
    for word in words:
        assert word in result["msg"]
    assert project.containers() == []


def assert_taken_back(project: Project, result: Result, service: str, reason: str) -> dict[str, Any]:
    """It was begun, failed for that reason, and left no container; gives the evidence."""
    assert result.failed
    assert result["outcome"] == "rolled_back", result["msg"]
    failure = result["failure"]
    assert (failure["service"], failure["reason"]) == (service, reason), result["msg"]
    assert project.containers() == []
    return dict(failure)


def assert_rolled_out(result: Result) -> None:
    assert not result.failed, result["msg"]
    assert result["outcome"] == "deployed"


def health(port: int) -> dict[str, Any]:
    """Give a check of the front door."""
    return {"http": {"url": f"http://127.0.0.1:{port}/v1/health/", "headers": {"Host": "letta.localhost"}}}


# compose.yaml


def stand_ins(project: Project, images: dict[str, str], front: int, server: str = "") -> str:
    """Give what replaces images and ports of compose.yaml, and what else the server is to have."""
    owned(project.directory / ".persist" / "pgdata", POSTGRES)
    return f"""
services:
  letta_db:
    image: {images["db"]}
    ports: !override []
  letta_server:
    image: {images["server"]}
    ports: !override []{server}
  letta_nginx:
    image: {images["nginx"]}
    # As the ancestor's image runs it.
    user: root
    ports: !override ["127.0.0.1:{front}:80"]
"""


def test_compose_yaml_without_the_env_file_that_it_names(project: Project, source: Path):
    take(project, source, "compose.yaml", "init.sql", "nginx.conf")

    assert_refused(project, roll_out(project, "compose.yaml"), "env file", ".env not found")


def test_compose_yaml_with_its_own_example_of_an_env_file(project: Project, source: Path):
    take(project, source, "compose.yaml", "init.sql", "nginx.conf")
    shutil.copy(source / ".env.example", project.directory / ".env")

    assert_refused(project, roll_out(project, "compose.yaml"), ".env: line 2: key cannot contain a space")


def test_compose_yaml_sends_the_server_to_the_port_that_the_host_publishes(project: Project, source: Path):
    take(project, source, "compose.yaml", "init.sql", "nginx.conf")
    write(project, ".env", "LETTA_PG_PORT=5433\n")

    services = yaml.safe_load(project.compose("config"))["services"]

    assert services["letta_db"]["ports"][0]["target"] == 5432
    assert services["letta_server"]["environment"]["LETTA_PG_URI"].endswith("@letta-db:5433/letta")


def test_compose_yaml_is_not_taken_for_well_before_it_serves(project: Project, source: Path, images: dict[str, str]):
    take(project, source, "compose.yaml", "init.sql", "nginx.conf")
    write(project, ".env", "")
    front = free_port()
    # However long Letta takes to import on a machine, this takes longer.
    still_importing = '\n    entrypoint: [sleep, "1000"]'
    write(project, "stand-ins.yaml", stand_ins(project, images, front, still_importing))

    result = roll_out(project, "compose.yaml", "stand-ins.yaml", final_checks=[health(front)])

    # No healthcheck: what runs passes for well, and only a request finds that nobody is there yet.
    assert_taken_back(project, result, "", "check")


def test_compose_yaml_stops_on_the_empty_variables_that_it_makes_of_unset_ones(
    project: Project, source: Path, images: dict[str, str]
):
    take(project, source, "compose.yaml", "init.sql", "nginx.conf")
    write(project, ".env", "AZURE_API_KEY=key-of-a-test\nAZURE_BASE_URL=http://azure.example.com\n")
    write(project, "mended.yaml", stand_ins(project, images, free_port(), HEALTHCHECK))

    result = roll_out(project, "compose.yaml", "mended.yaml")

    failure = assert_taken_back(project, result, "letta_server", "exited")
    # The server has a default, in whose place the empty text is.
    assert "AZURE_API_VERSION is required" in json.dumps(failure["logs"])


def test_compose_yaml_with_a_healthcheck_and_an_env_file(project: Project, source: Path, images: dict[str, str]):
    take(project, source, "compose.yaml", "init.sql", "nginx.conf")
    write(project, ".env", "")
    front = free_port()
    write(project, "mended.yaml", stand_ins(project, images, front, HEALTHCHECK))

    assert_rolled_out(roll_out(project, "compose.yaml", "mended.yaml", final_checks=[health(front)]))

    # What is mended in no file: everybody is let in, by one name of a host only, with small bodies.
    agents = f"http://127.0.0.1:{front}/v1/agents/"
    host = {"Host": "letta.localhost"}
    assert requests.get(f"{agents}?limit=1", headers=host, timeout=30).json() == []
    assert requests.get(f"{agents}?limit=1", timeout=30).status_code == 404
    assert requests.post(agents, headers=host, data=b"x" * 2_000_000, timeout=30).status_code == 413
    (database,) = project.containers("letta_db")
    query = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    superuser = database.exec_run(["psql", "--username=letta", "--no-align", "--tuples-only", f"--command={query}"])
    assert superuser.output.strip() == b"t"
    assert roll_out(project, "compose.yaml", "mended.yaml")["changed"] is False


# dev-compose.yaml


def development_database(project: Project, images: dict[str, str]) -> str:
    owned(project.directory / ".persist" / "pgdata-test", POSTGRES)
    return f"""
services:
  letta_db:
    image: {images["db"]}
    ports: !override []
"""


def test_dev_compose_yaml_on_images_that_can_be_had(project: Project, source: Path, images: dict[str, str]):
    take(project, source, "dev-compose.yaml", "init.sql")
    write(project, ".env", "")
    port = free_port()
    mended = f"""{development_database(project, images)}
  letta_server:
    image: {images["server"]}
    build: !reset null
    ports: !override ["127.0.0.1:{port}:8283"]{HEALTHCHECK}
"""
    write(project, "mended.yaml", mended)

    assert_rolled_out(roll_out(project, "dev-compose.yaml", "mended.yaml", final_checks=[health(port)]))

    # Mended in no file: everybody is let in.
    assert requests.get(f"http://127.0.0.1:{port}/v1/agents/?limit=1", timeout=30).json() == []


def test_dev_compose_yaml_takes_the_files_of_its_database_into_the_image(project: Project, source: Path):
    take(project, source, "dev-compose.yaml", "init.sql", ".dockerignore")
    owned(project.directory / ".persist" / "pgdata-test", POSTGRES)
    write(project, ".persist/pgdata-test/PG_VERSION", "15\n")
    # What its own Dockerfile says, on a base that is there.
    assert "COPY . ." in (source / "Dockerfile").read_text(encoding="utf-8")
    write(project, "Dockerfile", f"FROM {debian.IMAGE} AS runtime\nWORKDIR /app\nCOPY . .\n")
    stand_in = f"""
services:
  letta_db:
    image: {debian.IMAGE}
    ports: !override []
  letta_server:
    image: {project.name}:built
    ports: !override []
"""
    write(project, "stand-in.yaml", stand_in)

    assert_rolled_out(roll_out(project, "dev-compose.yaml", "stand-in.yaml", build="always"))

    (server,) = project.containers("letta_server", running=True)
    assert server.exec_run(["cat", "/app/.persist/pgdata-test/PG_VERSION"]).output == b"15\n"


# development.compose.yml

MOUNTED = ("letta", "tests", "CONTRIBUTING.md", "pyproject.toml")


def test_development_compose_yml_is_not_valid_by_itself(project: Project, source: Path):
    take(project, source, "development.compose.yml", "Dockerfile", *MOUNTED)
    write(project, ".env", "")

    result = roll_out(project, "development.compose.yml")

    assert_refused(project, result, 'service "letta_server" depends on undefined service "letta_db"')


def test_development_compose_yml_builds_a_target_that_is_not_there(
    project: Project, source: Path, images: dict[str, str]
):
    take(project, source, "dev-compose.yaml", "development.compose.yml", "Dockerfile", "init.sql", *MOUNTED)
    write(project, ".env", "")
    write(project, "database.yaml", development_database(project, images))

    files = ("dev-compose.yaml", "development.compose.yml", "database.yaml")
    result = roll_out(project, *files, build="always")

    assert result.failed
    assert result["failure"]["service"] == "letta_server"
    assert result["failure"]["reason"] == "build"
    assert "development" in result["failure"]["detail"]
    assert project.containers() == []


def test_development_compose_yml_with_its_database_serves_no_change_of_the_source_that_it_mounts(
    project: Project, source: Path, images: dict[str, str]
):
    take(project, source, "dev-compose.yaml", "development.compose.yml", "init.sql", *MOUNTED)
    write(project, ".env", "")
    port = free_port()
    mended = f"""{development_database(project, images)}
  letta_server:
    image: {images["server"]}
    build: !reset null
    ports: !override ["127.0.0.1:{port}:8283"]{HEALTHCHECK}
"""
    write(project, "mended.yaml", mended)

    files = ("dev-compose.yaml", "development.compose.yml", "mended.yaml")
    assert_rolled_out(roll_out(project, *files, final_checks=[health(port)]))

    (server,) = project.containers("letta_server", running=True)
    loaded = server.exec_run(["python", "-c", "import letta; print(letta.__file__)"], workdir="/tmp").output.decode()
    assert not loaded.startswith("/letta/")
    # A file that is missing becomes an empty folder.
    assert (project.directory / "configs" / "server_config.yaml").is_dir()


# docker-compose-vllm.yaml


def vllm(project: Project, images: dict[str, str], port: int, letta: str = "", model: str = "") -> str:
    return f"""
services:
  letta:
    image: {images["server"]}
    ports: !override ["127.0.0.1:{port}:8283"]{letta}
  vllm:
    image: {images["server"]}
    ports: !override []{model}
"""


NO_GPU = """
    runtime: !reset null
    deploy: !reset null
    command: !override []
    entrypoint: [python, /llm.py]
    volumes: ["{llm}:/llm.py:ro"]
"""


def test_docker_compose_vllm_yaml_where_there_is_no_gpu(project: Project, source: Path, images: dict[str, str]):
    if "nvidia" in project.engine.info()["Runtimes"]:
        pytest.skip("this engine has the runtime that the file asks for")
    take(project, source, "docker-compose-vllm.yaml")
    write(project, "stand-ins.yaml", vllm(project, images, free_port()))

    result = roll_out(project, "docker-compose-vllm.yaml", "stand-ins.yaml")

    failure = assert_taken_back(project, result, "vllm", "create")
    assert "nvidia" in failure["detail"]


def test_docker_compose_vllm_yaml_asks_for_a_model_without_a_name(project: Project, source: Path):
    take(project, source, "docker-compose-vllm.yaml")

    file = str(project.directory / "docker-compose-vllm.yaml")
    services = yaml.safe_load(project.compose("--file", file, "config"))["services"]

    assert services["vllm"]["command"] == ["--model", "--max_model_len=8000"]
    assert services["letta"]["environment"]["LETTA_LLM_CONTEXT_WINDOW"] == "8192"


def test_docker_compose_vllm_yaml_has_no_database(project: Project, source: Path, images: dict[str, str]):
    take(project, source, "docker-compose-vllm.yaml")
    mended = vllm(project, images, free_port(), HEALTHCHECK, NO_GPU.format(llm=LLM))
    write(project, "mended.yaml", mended)

    result = roll_out(project, "docker-compose-vllm.yaml", "mended.yaml")

    failure = assert_taken_back(project, result, "letta", "exited")
    assert "LETTA_PG_URI is not set" in json.dumps(failure["logs"])


def test_docker_compose_vllm_yaml_with_a_database_has_no_model(project: Project, source: Path, images: dict[str, str]):
    take(project, source, "docker-compose-vllm.yaml", "dev-compose.yaml", "init.sql")
    port = free_port()
    owned(project.directory / ".persist" / "pgdata-test", POSTGRES)
    database = """
    environment:
      LETTA_PG_URI: postgresql://letta:letta@letta_db:5432/letta
    depends_on: [letta_db]"""
    mended = f"""{vllm(project, images, port, HEALTHCHECK + database, NO_GPU.format(llm=LLM))}
  letta_db:
    extends: {{file: dev-compose.yaml, service: letta_db}}
    image: {images["db"]}
    ports: !override []
"""
    write(project, "mended.yaml", mended)

    files = ("docker-compose-vllm.yaml", "mended.yaml")
    assert_rolled_out(roll_out(project, *files, final_checks=[health(port)]))

    models = requests.get(f"http://127.0.0.1:{port}/v1/models/", timeout=60).json()
    assert [model["handle"] for model in models if model["handle"].startswith("vllm/")] == []


# scripts/docker-compose.yml


def data_services(project: Project, images: dict[str, str], name: str, volumes: str = "") -> str:
    """Give what replaces images, ports and names; a name is the host's, so each test has its own."""
    return f"""
services:
  redis:
    image: {images["redis"]}
    container_name: {name}-redis
    ports: !override []
  postgres:
    image: {images["db"]}
    container_name: {name}-postgres
    ports: !override []{volumes}
"""


def scripts(project: Project, source: Path) -> dict[str, Any]:
    """Take the file, and make what it keeps data in; gives the arguments with which it is found."""
    take(project, source, "scripts/docker-compose.yml")
    owned(project.directory / "scripts" / "data" / "redis", REDIS)
    owned(project.directory / "scripts" / "data" / "postgres", POSTGRES)
    return {"project_src": str(project.directory / "scripts")}


DATA_ALONE = """
    volumes: !override ["./data/postgres:/var/lib/postgresql/data"]"""


def test_scripts_docker_compose_yml_mounts_a_file_that_is_not_there(
    project: Project, source: Path, images: dict[str, str]
):
    where = scripts(project, source)
    write(project, "scripts/stand-ins.yaml", data_services(project, images, project.name))

    result = roll_out(project, "docker-compose.yml", "stand-ins.yaml", **where)

    failure = assert_taken_back(project, result, "postgres", "exited")
    assert "init.sql" in json.dumps(failure["logs"])


def test_scripts_docker_compose_yml_without_that_mount(project: Project, source: Path, images: dict[str, str]):
    where = scripts(project, source)
    mended = data_services(project, images, project.name, DATA_ALONE)
    write(project, "scripts/mended.yaml", mended)

    assert_rolled_out(roll_out(project, "docker-compose.yml", "mended.yaml", **where))

    (redis,) = project.containers("redis")
    assert redis.exec_run(["redis-cli", "ping"]).output.strip() == b"PONG"
    # What has a name of its own is once on a host: the next project is refused by the engine, and the first stays.
    before = project.ids()
    other = Project(f"{project.name}-other", project.directory, project.state, project.engine, project.environment)
    try:
        result = roll_out(other, "docker-compose.yml", "mended.yaml", **where)
        assert result.failed
        assert "already in use" in result["msg"]
    finally:
        other.remove()
    assert project.ids() == before
