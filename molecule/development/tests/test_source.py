"""A change of the source is built and rolled out by the same playbook; one that does not serve is taken back."""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

MARK = "never-in-an-image"


@pytest.fixture
def kept(stack):
    """Puts the source back as it was."""
    saved = "/root/source.saved"
    stack.host.shell(f"rm -rf {saved}; cp -a {stack.source} {saved}")
    yield
    stack.host.shell(f"rm -rf {stack.source}; mv {saved} {stack.source}")


@pytest.fixture(scope="module")
def changed(stack, agent):
    """The run that brings a change, out of a tree with what work leaves behind in it, and what there was before it."""
    before = stack.container("letta_server"), stack.container("letta_db"), stack.image("letta_server")
    for name in (
        ".env",
        ".persist/pgdata-test/PG_VERSION",
        "letta/.env",
        "letta/server/tls.key",
        "letta/server/id_rsa",
        "letta/server/prod.env",
        "letta/server/credentials.json",
        "letta/server/dump.sql",
        "letta/server/pgdata/PG_VERSION",
        "certs/localhost.pem",
    ):
        stack.host.write(f"{stack.source}/{name}", f"{MARK}\n")
    stack.say("+changed")
    run = stack.deploy()
    assert run.succeeded, run.said
    return {"said": run.said, "before": before}


def test_a_change_is_served_by_a_new_server_with_the_old_data(stack, agent, changed):
    server, database, image = changed["before"]
    assert stack.version() == "0.16.8+changed"
    assert stack.container("letta_server") != server
    assert stack.container("letta_db") == database
    assert agent.id in [found.id for found in stack.client.agents.list()]
    # The image that runs is left, and the one of the release before, which is returned to.
    assert stack.image("letta_server") != image
    assert set(stack.sources()) == {stack.image("letta_server"), image}


def test_data_and_secrets_in_the_tree_get_into_no_context_and_no_image(stack, changed):
    """The ancestor's `COPY . .` took the database and every key along."""
    for name in ("id_rsa", "prod.env", "credentials.json", "dump.sql", "pgdata/PG_VERSION"):
        assert f"letta/server/{name}" in changed["said"]
    context = "/opt/letta/build"
    assert stack.host.shell(f"grep -rlF {MARK} {context} || true") == ""
    assert stack.host.shell(f"grep -rlF -f /opt/letta/secrets/db_password {context} || true") == ""
    held = stack.host.shell(f"cd {context}; find . -mindepth 1 -maxdepth 2 | sort").split()
    assert held == [
        "./.dockerignore", "./Dockerfile", "./build-requirements.txt", "./ca.crt", "./source", "./source/alembic",
        "./source/alembic.ini", "./source/letta", "./source/pyproject.toml", "./source/uv.lock",
    ]  # fmt: skip
    # Every layer, also what a later one hides. The word that is there proves that the search finds words.
    image = stack.image("letta_server")
    search = "docker save {image} | grep -aoF -m1 -e {word} | head -n1 || true"
    assert stack.host.shell(search.format(image=image, word="+changed")) == "+changed"
    assert stack.host.shell(search.format(image=image, word=MARK)) == ""
    assert stack.host.shell(search.format(image=image, word=stack.password)) == ""


def test_what_is_put_into_the_context_by_hand_does_not_reach_the_engine(stack):
    stack.host.write("/opt/letta/build/pgdata/PG_VERSION", f"{MARK}\n")
    stack.host.write("/opt/letta/build/probe.Dockerfile", "FROM letta/letta:0.16.8\nCOPY . /probe\n")
    try:
        build = "docker build --quiet --tag probe --file probe.Dockerfile ."
        stack.host.shell(f"cd /opt/letta/build; DOCKER_BUILDKIT=0 {build}")
        held = stack.host.run("docker", "run", "--rm", "--entrypoint", "ls", "probe", "-A", "/probe").split()
        assert sorted(held) == ["build-requirements.txt", "ca.crt", "source"]
    finally:
        stack.host.shell("docker rmi --force probe; rm -rf /opt/letta/build/pgdata /opt/letta/build/probe.Dockerfile")


def test_check_mode_says_which_image_follows_and_builds_nothing(stack, kept):
    before = stack.container("letta_server"), stack.sources()
    stack.say("+foreseen")
    run = stack.deploy("--check", "--diff")
    assert run.succeeded, run.said
    assert stack.image("letta_server") in run.said
    assert "health.py" in run.said
    assert (stack.container("letta_server"), stack.sources(), stack.version()) == (*before, "0.16.8+changed")


def test_a_source_that_does_not_start_is_taken_back(stack, agent, kept):
    before = stack.container("letta_server"), stack.image("letta_server")
    installed = stack.host.run("cat", "/opt/letta/compose.yaml")
    stack.host.shell(f"echo 'raise RuntimeError(\"this source is broken on purpose\")' >>{stack.app_py}")
    run = stack.deploy()
    assert not run.succeeded
    assert "this source is broken on purpose" in run.said
    assert "rolled_back" in run.said
    assert (stack.container("letta_server"), stack.image("letta_server")) == before
    assert stack.version() == "0.16.8+changed"
    assert agent.id in [found.id for found in stack.client.agents.list()]
    assert stack.host.run("cat", "/opt/letta/compose.yaml") == installed


def test_a_source_that_is_no_python_is_refused_before_anything_is_touched(stack, kept):
    started = stack.inspect("letta_server", "{{.State.StartedAt}}")
    stack.host.shell(f"echo 'def broken(:' >>{stack.health_py}")
    run = stack.deploy()
    assert not run.succeeded
    assert "cannot be built" in run.said
    assert "health.py" in run.said
    assert stack.inspect("letta_server", "{{.State.StartedAt}}") == started
    assert stack.version() == "0.16.8+changed"


def test_the_good_source_of_before_is_deployed_with_nothing_left_to_do(stack):
    run = stack.deploy()
    assert run.succeeded, run.said
    assert stack.version() == "0.16.8+changed"
    assert stack.deploy().changed == 0


def test_plain_compose_finds_nothing_to_replace(stack):
    before = stack.container("letta_server")
    stack.host.shell("cd /opt/letta && docker compose up --detach --wait")
    assert stack.container("letta_server") == before
