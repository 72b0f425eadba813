# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are pulled and built before a rollout: what is brought, and that a refused run leaves the tags alone."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from . import debian
from .project import Project, service, wait_for
from .registry import Registry, running


@pytest.fixture
def registry(project: Project, cache: Path, tmp_path: Path) -> Iterator[Registry]:
    with running(project.engine, cache, tmp_path) as registry:
        yield registry
        # Images go after the containers that were made of them.
        project.remove()


def tag_of(project: Project, reference: str) -> str | None:
    try:
        return str(project.engine.images.get(reference).id)
    except docker.errors.ImageNotFound:
        return None


def level(project: Project, name: str = "web") -> str:
    """What the image of a service's only container says."""
    (container,) = project.containers(name, running=True)
    return next(entry for entry in container.attrs["Config"]["Env"] if entry.startswith("LEVEL="))


def assert_up_changes_nothing(project: Project) -> None:
    before = project.ids()
    project.compose("up", "--detach")
    assert project.ids() == before


# Pulling


@pytest.mark.every_compose
def test_a_moved_tag_is_rolled_out_when_it_is_to_be_pulled(project: Project, registry: Registry):
    image = registry.publish("web", "1")
    project.deploy({"web": {**service(), "image": image}})
    registry.publish("web", "2")

    assert project.deploy()["changed"] is False
    assert level(project) == "LEVEL=1"
    planned = project.roll_out(pull="always", check=True)
    assert "whether web gets another image is known only when that was pulled or built" in planned.warnings
    assert level(project) == "LEVEL=1"
    result = project.deploy(pull="always")

    assert result["changed"] is True
    assert level(project) == "LEVEL=2"
    assert project.deploy(pull="always")["changed"] is False


@pytest.mark.every_compose
def test_an_image_that_cannot_be_pulled_is_named_with_its_service_and_the_registry_s_words(
    project: Project, registry: Registry
):
    web, other = registry.publish("web", "1"), registry.publish("other", "1")
    project.deploy({"web": {**service(), "image": web}})
    before, tag = project.ids(), tag_of(project, web)
    registry.publish("web", "2")
    missing = other.replace(":1", ":7")
    project.write({"web": {**service(), "image": web}, "other": {**service(), "image": missing}})

    result = project.roll_out(pull="always")

    assert result.failed
    assert result["outcome"] == "rolled_back"
    assert result["failure"]["service"] == "other"
    assert result["failure"]["reason"] == "pull"
    assert f"other: image {missing} cannot be pulled: " in result["msg"]
    assert "manifest" in result["msg"]
    assert "This run had changed nothing" in result["msg"]
    assert "\n" not in result["msg"]
    assert project.ids() == before
    # The other one came, and is not to be started by the next `up`.
    assert tag_of(project, web) == tag


def test_a_registry_that_cannot_be_reached_is_named(project: Project, free_port: int):
    project.deploy({"web": service()})
    before = project.objects()
    image = f"127.0.0.1:{free_port}/web:1"
    project.write({"web": {**service(), "image": image}})

    result = project.roll_out()

    assert result["failure"]["reason"] == "pull"
    assert f"image {image} cannot be pulled" in result["msg"]
    assert "connection refused" in result["msg"]
    assert f"serving: {project.name}-web-1" in result["msg"]
    assert result["changed"] is False
    assert project.objects() == before


@pytest.mark.every_compose
def test_a_pull_that_a_refused_plan_follows_leaves_the_tag_as_it_was(project: Project, registry: Registry):
    image = registry.publish("web", "1")
    project.deploy({"web": {**service(volumes=["/data"]), "image": image}})
    before, tag = project.ids(), tag_of(project, image)
    registry.publish("web", "2")

    # The new image needs a new container, which would not see what is in the anonymous volume.
    result = project.roll_out(pull="always")

    assert result.failed
    assert "x-rollout.anonymous_volumes" in result["msg"]
    assert "No container was changed" in result["msg"]
    assert tag_of(project, image) == tag
    assert project.ids() == before
    assert_up_changes_nothing(project)


def test_a_pulled_image_that_fails_its_gate_is_not_what_the_tag_names_afterwards(project: Project, registry: Registry):
    image = registry.publish("web", "1")
    script = "case $LEVEL in 1) sleep 1000;; esac; exit 7"
    project.deploy({"web": {**service(script), "image": image}, "other": {**service(), "image": image}})
    before, tag = project.ids(), tag_of(project, image)
    registry.publish("web", "2")

    result = project.roll_out(pull="always", stable=1)

    assert result["outcome"] == "rolled_back"
    assert tag_of(project, image) == tag
    assert set(project.ids()) == set(before)
    assert_up_changes_nothing(project)


def test_what_is_refused_anyway_is_refused_before_anything_is_pulled(project: Project, registry: Registry):
    image = registry.publish("web", "1")
    db = service(volumes=["/data"])
    project.deploy({"db": db})
    project.write({"db": {**db, "environment": {"LEVEL": "2"}}, "web": {**service(), "image": image}})

    result = project.roll_out()

    assert "x-rollout.anonymous_volumes" in result["msg"]
    assert tag_of(project, image) is None


# Building


def dockerfile(project: Project, *lines: str) -> None:
    text = "\n".join([f"FROM {debian.IMAGE}", *lines, ""])
    (project.directory / "Dockerfile").write_text(text, encoding="utf-8")


def built(**keys: Any) -> dict[str, Any]:
    """A service whose image has no name of its own, so that it can be built and not pulled."""
    return {**{key: value for key, value in service().items() if key != "image"}, "build": ".", **keys}


@pytest.fixture
def image(project: Project) -> Iterator[str]:
    """The name that Compose gives to the image of the service web."""
    reference = f"{project.name}-web:latest"
    yield reference
    project.remove()
    if tag_of(project, reference):
        project.engine.images.remove(reference, force=True)


@pytest.mark.every_compose
@pytest.mark.parametrize("builder", ["BuildKit", "classic"])
def test_what_is_missing_is_built_and_what_changed_when_it_is_asked_for(project: Project, image: str, builder: str):
    if builder == "classic":
        project.environment = {**project.environment, "DOCKER_BUILDKIT": "0"}
    dockerfile(project, "ENV LEVEL=1")
    project.write({"web": built()})

    planned = project.roll_out(check=True)
    assert planned["changed"] is True
    assert tag_of(project, image) is None
    assert project.deploy()["changed"] is True
    assert level(project) == "LEVEL=1"
    dockerfile(project, "ENV LEVEL=2")
    assert project.deploy()["changed"] is False
    result = project.deploy(build="always")

    assert result.service("web")["action"] == "update"
    assert level(project) == "LEVEL=2"
    assert project.deploy(build="always")["changed"] is False
    assert_up_changes_nothing(project)


def test_a_service_may_ask_to_be_built_each_time(project: Project, image: str):
    dockerfile(project, "ENV LEVEL=1")
    project.deploy({"web": built(pull_policy="build")})
    dockerfile(project, "ENV LEVEL=2")

    assert project.deploy(build="never")["changed"] is False
    assert project.deploy()["changed"] is True
    assert level(project) == "LEVEL=2"


def test_what_is_missing_and_not_to_be_built_is_refused(project: Project, image: str):
    dockerfile(project)
    project.write({"web": built()})

    result = project.roll_out(build="never")

    assert f"services.web.image: {project.name}-web is not on this host, and was not to be built" in result["msg"]
    assert project.all_ids() == set()


def test_an_image_that_no_registry_has_is_built(project: Project, free_port: int, image: str):
    named = f"127.0.0.1:{free_port}/{project.name}:1"
    dockerfile(project, "ENV LEVEL=1")
    try:
        project.deploy({"web": built(image=named)})
        assert level(project) == "LEVEL=1"
    finally:
        project.remove()
        project.engine.images.remove(named, force=True)


@pytest.mark.every_compose
def test_a_build_that_fails_is_named_and_changes_nothing(project: Project, image: str):
    dockerfile(project, "ENV LEVEL=1")
    project.deploy({"web": built()})
    before, tag = project.ids(), tag_of(project, image)
    dockerfile(project, 'RUN ["/bin/sh", "-c", "exit 3"]')

    result = project.roll_out(build="always")

    assert result["failure"]["reason"] == "build"
    assert result["failure"]["service"] == "web"
    assert f"web: image {project.name}-web cannot be built: " in result["msg"]
    assert "exit code: 3" in result["msg"]
    assert "\n" not in result["msg"]
    assert project.ids() == before
    assert tag_of(project, image) == tag


@pytest.mark.every_compose
def test_a_signal_while_an_image_is_built_ends_the_build_and_puts_tags_back(project: Project, image: str):
    dockerfile(project, "ENV LEVEL=1")
    project.deploy({"web": built(), "slow": built(build={"context": ".", "dockerfile": "Slow"}, scale=0)})
    before, tag = project.ids(), tag_of(project, image)
    dockerfile(project, "ENV LEVEL=2")
    with socket.create_server(("127.0.0.1", 0)) as waited_for:
        # Built after web, and not before somebody answers there.
        wait = f"nc 127.0.0.1 {waited_for.getsockname()[1]}"
        slow = f"FROM {debian.IMAGE}\nARG ONCE\nRUN : $ONCE; {wait}\n"
        (project.directory / "Slow").write_text(slow, encoding="utf-8")
        build = {"context": ".", "dockerfile": "Slow", "network": "host", "args": {"ONCE": project.name}}
        project.write({"web": built(), "slow": built(build=build, depends_on=["web"])})
        run = project.start(build="always")
        connection, _address = waited_for.accept()
        with connection:
            assert tag_of(project, image) != tag
            run.process.send_signal(signal.SIGTERM)
            result = run.finish()
            assert "interrupted by SIGTERM" in result["msg"]
            assert "No container was changed" in result["msg"]
            assert tag_of(project, image) == tag
            wait_for("the build ends", lambda: not at_work(project))
    assert project.ids() == before
    assert project.all_ids() == set(before)
    assert tag_of(project, f"{project.name}-slow:latest") is None
    assert_up_of_web_changes_nothing(project)


def at_work(project: Project) -> list[str]:
    """The command lines of this project's Compose."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(project.directory) in line and "compose" in line and int(process.parent.name) != os.getpid():
            found.append(line)
    return found


def assert_up_of_web_changes_nothing(project: Project) -> None:
    before = project.ids()
    project.compose("up", "--detach", "web")
    assert project.ids() == before
