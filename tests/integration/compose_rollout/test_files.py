# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounted files, configs and secrets: delivered by every Compose version, and seen when they change."""

from __future__ import annotations

import io
import os
import tarfile
from typing import Any

import pytest
import yaml

from .project import Project, becomes_healthy, healthcheck, read_in, service, wait_for
from .test_refusals import assert_refused

ODD_VALUES = {
    "PLAIN": "t0ken",
    "EMPTY": "",
    "DOLLARS": "pa$$word ${PLAIN} $PLAIN",
    "LINES": "-----BEGIN-----\nabc\n-----END-----\n\n",
    "QUOTES": """it's "so": {#x} \\n """,
    "NUMBER": "0123",
    "NOTHING": "null",
    "DATE": "2026-01-01",
    "CONTROL": "tab\there, return\r\n, bell\a, delete\x7f",
    "LETTERS": "é✓ \u2028",
}


def seen(container: Any, path: str) -> tuple[str, str, int, int]:
    """A file in a container: content, mode, owner, group."""
    chunks, _stat = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        (entry,) = tar.getmembers()
        content = tar.extractfile(entry)
        assert content is not None
        return content.read().decode(), oct(entry.mode & 0o7777), entry.uid, entry.gid


def read(project: Project, name: str, path: str) -> str:
    """What the only container of a service sees in a file."""
    (container,) = project.containers(name, running=True)
    return read_in(container, path)


def assert_nothing_to_do(project: Project) -> None:
    """Neither for the module nor for Compose, as a person would call it."""
    before = project.ids()
    result = project.deploy()
    assert (result["outcome"], result["changed"]) == ("unchanged", False)
    project.compose("up", "--detach")
    assert project.ids() == before


@pytest.mark.every_compose
def test_another_content_of_a_mounted_file_replaces_the_containers_that_see_it_and_no_others(project: Project):
    (project.directory / "web.conf").write_text("old")
    (project.directory / "password").write_text("old")
    web = service(volumes=["./web.conf:/etc/web.conf:ro"], configs=[{"source": "conf", "target": "/conf"}])
    project.write(
        {"web": web, "db": service(secrets=["password"]), "other": service()},
        configs={"conf": {"file": "./web.conf"}},
        secrets={"password": {"file": "./password"}},
    )
    project.deploy()
    assert_nothing_to_do(project)
    db, other = project.ids("db"), project.ids("other")
    (project.directory / "web.conf").write_text("new")

    planned, result = project.roll_out(check=True), project.deploy()

    reasons = [
        "file ./web.conf (mounted at /etc/web.conf): content changed",
        "config conf (file ./web.conf): content changed",
    ]
    for told in (planned, result):
        assert told.service("web")["action"] == "update"
        assert told.service("web")["reasons"] == reasons
        assert [told.service(name)["action"] for name in ("db", "other")] == ["none", "none"]
    assert (project.ids("db"), project.ids("other")) == (db, other)
    assert (read(project, "web", "/etc/web.conf"), read(project, "web", "/conf")) == ("new", "new")
    assert_nothing_to_do(project)

    (project.directory / "password").write_text("new")
    assert project.deploy().service("db")["reasons"] == ["secret password (file ./password): content changed"]
    assert read(project, "db", "/run/secrets/password") == "new"
    assert_nothing_to_do(project)


def test_a_file_that_was_touched_or_written_again_with_the_same_content_changes_nothing(project: Project):
    mounted = project.directory / "web.conf"
    mounted.write_text("same")
    project.deploy({"web": service(volumes=["./web.conf:/etc/web.conf:ro"])})
    before = project.ids()

    os.utime(mounted, (1, 1))
    assert project.deploy()["changed"] is False
    mounted.unlink()
    mounted.write_text("same")
    assert project.deploy()["changed"] is False
    assert project.ids() == before


@pytest.mark.every_compose
def test_inline_configs_and_secrets_are_delivered_and_seen_when_they_change(project: Project):
    web = service(
        secrets=["token", {"source": "token", "target": "deep/er/name", "uid": "12", "gid": "34", "mode": 0o400}],
        configs=["page", {"source": "page", "target": "/etc/app/page", "mode": 0o640}, "level"],
    )
    sections = {
        "secrets": {"token": {"environment": "TOKEN"}},
        "configs": {"page": {"content": "level ${LEVEL} costs 5$$\n"}, "level": {"environment": "LEVEL"}},
    }
    project.write({"web": web, "other": service()}, **sections)
    (project.directory / ".env").write_text("TOKEN=first-t0ken\nLEVEL=1\n")
    project.deploy()

    def delivered() -> list[tuple[str, str, int, int]]:
        paths = ("/run/secrets/token", "/run/secrets/deep/er/name", "/page", "/etc/app/page", "/level")
        (container,) = project.containers("web", running=True)
        return [seen(container, path) for path in paths]

    def expected(token: str, level: int) -> list[tuple[str, str, int, int]]:
        page = f"level {level} costs 5$\n"
        return [
            (token, "0o444", 0, 0),
            (token, "0o400", 12, 34),
            (page, "0o444", 0, 0),
            (page, "0o640", 0, 0),
            (str(level), "0o444", 0, 0),
        ]

    assert delivered() == expected("first-t0ken", 1)
    assert_nothing_to_do(project)
    other = project.ids("other")

    (project.directory / ".env").write_text("TOKEN=second-t0ken\nLEVEL=1\n")
    result = project.deploy(diff=True)
    assert result.service("web")["reasons"] == ["secret token (environment TOKEN): content changed"]
    assert "t0ken" not in result.output
    assert delivered() == expected("second-t0ken", 1)
    assert_nothing_to_do(project)

    (project.directory / ".env").write_text("TOKEN=second-t0ken\nLEVEL=2\n")
    assert project.deploy().service("web")["reasons"] == [
        "config page (inline): content changed",
        "config level (environment LEVEL): content changed",
    ]
    assert delivered() == expected("second-t0ken", 2)
    assert_nothing_to_do(project)
    assert project.ids("other") == other


@pytest.mark.every_compose
def test_a_variable_s_value_is_delivered_as_it_is(project: Project):
    project.environment = {**project.environment, **ODD_VALUES}
    (project.directory / ".env").write_text("FROM_FILE='a b'\n")
    values = {**ODD_VALUES, "FROM_FILE": "a b"}
    secrets = {name.lower(): {"environment": name} for name in values}
    project.write({"web": service(secrets=[*secrets])}, secrets=secrets)
    project.deploy()

    (container,) = project.containers("web", running=True)
    assert {name: seen(container, f"/run/secrets/{name.lower()}")[0] for name in values} == values


def test_a_secret_that_comes_from_elsewhere_replaces_its_containers_though_their_hash_is_the_same(project: Project):
    (project.directory / "token").write_text("t0ken")
    project.write({"web": service(secrets=["token"])}, secrets={"token": {"file": "./token"}})
    project.deploy()
    (project.directory / ".env").write_text("TOKEN=t0ken\n")
    project.write({"web": service(secrets=["token"])}, secrets={"token": {"environment": "TOKEN"}})

    assert project.deploy().service("web")["reasons"] == ["secret token: file ./token -> environment TOKEN"]
    (container,) = project.containers("web", running=True)
    assert not [mount for mount in container.attrs["Mounts"] if mount["Destination"].startswith("/run/secrets")]
    assert read(project, "web", "/run/secrets/token") == "t0ken"


def test_a_file_that_is_shared_may_change(project: Project):
    mounted = project.directory / "acme.json"
    mounted.write_text("{}")
    project.deploy({"web": service(volumes=["./acme.json:/acme.json"], **{"x-rollout": {"shared": ["/acme.json"]}})})
    mounted.write_text('{"certificate": 1}')

    assert project.deploy()["changed"] is False


def test_files_of_a_project_without_a_record_are_taken_as_they_are(project: Project):
    mounted = project.directory / "web.conf"
    mounted.write_text("one")
    project.write({"web": service(volumes=["./web.conf:/etc/web.conf:ro"])})
    project.compose("up", "--detach")
    before = project.ids()
    mounted.write_text("two")

    for check in (True, False):
        assert project.roll_out(check=check)["changed"] is False
    assert project.ids() == before
    mounted.write_text("three")
    assert project.deploy().service("web")["action"] == "update"


def test_check_mode_leaves_no_trace_of_what_it_read(project: Project):
    (project.directory / "web.conf").write_text("one")
    project.write({"web": service(volumes=["./web.conf:/etc/web.conf:ro"])})

    assert not project.roll_out(check=True).failed
    assert not project.state.exists()


def test_a_change_that_fails_its_gate_is_tried_again_by_the_next_run(project: Project):
    state = project.directory / "state"
    state.write_text("good")
    check = healthcheck("grep -q good /state")
    web = service(volumes=["./state:/state:ro"], healthcheck=check, **{"x-rollout": {"timeout": "3s"}})
    project.deploy({"web": web})
    before = project.all_ids()
    # Another file, as editors and templates write it: the old container keeps the one that it has.
    state.unlink()
    state.write_text("bad")

    for _again in range(2):
        result = project.roll_out()
        assert (result.failed, result["outcome"]) == (True, "rolled_back")
        assert result.service("web")["reasons"] == ["file ./state (mounted at /state): content changed"]
        assert project.all_ids() == before
    state.write_text("good again")
    assert project.deploy().service("web")["action"] == "update"
    assert_nothing_to_do(project)


@pytest.mark.every_compose
def test_a_container_that_has_to_be_made_again_gets_the_secret_that_it_had(project: Project):
    (project.directory / ".env").write_text("TOKEN=good\n")
    web = service(
        container_name=f"{project.name}-fixed",
        secrets=["token"],
        healthcheck=healthcheck("grep -q good /run/secrets/token"),
        **{"x-rollout": {"timeout": "3s"}},
    )
    project.write({"web": web}, secrets={"token": {"environment": "TOKEN"}})
    project.deploy()
    (project.directory / ".env").write_text("TOKEN=bad\n")

    result = project.roll_out()
    assert (result.failed, result["outcome"]) == (True, "rolled_back"), result["msg"]
    assert result.service("web")["reasons"][0] == "secret token (environment TOKEN): content changed"
    assert read(project, "web", "/run/secrets/token") == "good"
    assert project.names() == [f"{project.name}-fixed"]


def test_containers_of_a_killed_run_are_replaced_because_nobody_knows_what_they_saw(project: Project):
    mounted = project.directory / "web.conf"
    mounted.write_text("one")
    web = becomes_healthy(2.0, volumes=["./web.conf:/etc/web.conf:ro"])
    project.deploy({"web": web})
    mounted.write_text("two")
    run = project.start()
    wait_for("a second container", lambda: len(project.names("web")) == 2)
    run.kill()
    killed = project.all_ids()

    project.deploy()
    assert not killed & project.all_ids()
    assert len(project.names("web")) == 1
    assert read(project, "web", "/etc/web.conf") == "two"
    assert_nothing_to_do(project)


def test_what_an_inline_secret_holds_is_taken_out_of_evidence(project: Project):
    (project.directory / ".env").write_text("TOKEN=first-t0ken\n")
    web = service("echo the token is $(cat /run/secrets/token); exit 3", secrets=["token"])
    project.write({"web": web}, secrets={"token": {"environment": "TOKEN"}})

    result = project.roll_out(diff=True, stable=1)
    assert result.failed
    assert result["failure"]["logs"] == ["the token is [redacted]"]
    assert "t0ken" not in result.output


@pytest.mark.every_compose
def test_every_file_that_is_missing_and_every_variable_that_is_not_set(project: Project):
    app = service(
        volumes=[{"type": "bind", "source": "./gone", "target": "/gone"}, "./made:/made"],
        secrets=["password", "token"],
        configs=["page"],
    )
    secrets = {"password": {"file": "./password"}, "token": {"environment": "AGENTFLEET_TEST_NOT_SET"}}
    project.write({"app": app}, secrets=secrets, configs={"page": {"file": "/nowhere/page"}})

    assert_refused(
        project,
        "services.app.volumes: ./gone is not on this host",
        "secrets.password.file: ./password is not on this host",
        "configs.page.file: /nowhere/page is not on this host",
        "secrets.token.environment: the variable AGENTFLEET_TEST_NOT_SET is not set",
    )
    assert not (project.directory / "made").exists()


def test_a_check_of_a_definition_awaits_what_tasks_before_it_would_write(project: Project):
    app = service(secrets=["password"])
    definition = yaml.safe_dump({"services": {"app": app}, "secrets": {"password": {"file": "./password"}}})

    check = project.roll_out(check=True, definition=definition)
    assert (check.failed, check["changed"]) == (False, True), check["msg"]
    assert "a run needs what is not on this host yet: secrets.password.file: ./password" in check.warnings
    run = project.roll_out(definition=definition)
    assert run.failed
    assert "secrets.password.file: ./password is not on this host" in run["msg"]


def test_a_secret_that_compose_cannot_deliver(project: Project):
    project.write({"app": service(secrets=["token"])}, secrets={"token": {"external": True}})

    assert_refused(project, "secrets.token", "allowed: file, environment")
