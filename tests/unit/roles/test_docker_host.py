# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role makes of the host that it finds: a daemon.json of someone else, an engine, a Docker Compose."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.compose_cli import MINIMUM

PROJECT = Path(__file__).resolve().parents[3]
ENGINE = PROJECT / "files/local/engine"
ROLE = PROJECT / "roles/docker_host"


def unknown_keys(render, content: str | None, **settings):
    previous = {"msg": "file not found: /etc/docker/daemon.json"}
    if content is not None:
        previous = {"content": base64.b64encode(content.encode()).decode()}
    return render("docker_host", "{{ __docker_host_unknown_keys }}", __docker_host_previous=previous, **settings)


@pytest.mark.parametrize("content", [None, "", "\n", "{}"])
def test_a_host_without_configuration_is_fine(render, content):
    assert unknown_keys(render, content) == []


def test_keys_that_would_be_lost_are_named(render):
    present = {"userns-remap": "default", "data-root": "/srv/docker", "log-driver": "journald"}
    assert unknown_keys(render, json.dumps(present)) == ["data-root", "userns-remap"]


def test_keys_that_were_taken_over_are_fine(render):
    present = json.dumps({"data-root": "/srv/docker"})
    assert unknown_keys(render, present, docker_host_daemon_config={"data-root": "/srv/docker"}) == []


def test_what_the_role_itself_wrote_is_never_unknown(render):
    settings = {
        "docker_host_registry_mirrors": ["https://mirror.example.com"],
        "docker_host_insecure_registries": ["registry.example.com:5000"],
    }
    written = render("docker_host", "{{ __docker_host_daemon_config | to_json }}", **settings)
    assert unknown_keys(render, written, **settings) == []
    assert unknown_keys(render, written) == []


@pytest.mark.parametrize(
    ("state", "started", "written", "older"),
    [
        # 1782907200 is 2026-07-01 12:00:00 UTC.
        ("active", "Wed 2026-07-01 12:00:00.250000 UTC", 1782907200.5, True),
        ("active", "Wed 2026-07-01 12:00:00.750000 UTC", 1782907200.5, False),
        ("active", "Wed 2026-07-01 12:00:00.250000 UTC", None, False),
        ("inactive", "Wed 2026-07-01 12:00:00.250000 UTC", 1782907200.5, False),
        ("inactive", "", 1782907200.5, False),
        ("active", "", 1782907200.5, False),
    ],
)
def test_only_a_running_engine_can_be_older_than_its_file(render, state, started, written, older):
    found = render(
        "docker_host",
        "{{ __docker_host_engine_is_older }}",
        __docker_host_unit={"stdout": f"ExecMainStartTimestamp={started}\nActiveState={state}"},
        __docker_host_file={"stat": {"exists": written is not None, "mtime": written}},
    )
    assert found is older


@pytest.mark.parametrize(
    ("rc", "version", "serves"),
    [
        (0, "2.24.0", True),
        (0, "v2.40.3", True),
        (0, "2.26.1-4", True),
        (0, "2.5.0", False),
        (0, "2.23.3", False),
        (125, "", False),
    ],
)
def test_a_compose_that_the_rollout_would_refuse_does_not_serve(render, rc, version, serves):
    found = {"rc": rc, "stdout": version}
    assert render("docker_host", "{{ __docker_host_compose_serves }}", __docker_host_compose=found) is serves


def test_everyone_asks_for_the_same_compose(render):
    minimum = render("docker_host", "{{ __docker_host_compose_minimum }}")
    assert minimum == ".".join(map(str, MINIMUM))
    assert f"COMPOSE_MINIMUM={minimum}\n" in ENGINE.read_text(encoding="utf-8")


def fingerprint(render, role_path=ROLE, **variables):
    return render("docker_host", "{{ __docker_host_fingerprint }}", role_path=str(role_path), **variables)


def test_the_fingerprint_is_that_of_all_variables_and_of_nothing_that_a_run_finds_out(render):
    plain = fingerprint(render)
    assert re.fullmatch("[0-9a-f]{64}", plain)
    assert fingerprint(render, docker_host_live_restore=False) != plain
    assert fingerprint(render, docker_host_daemon_config={"icc": False}) != plain
    assert fingerprint(render, docker_host_is_prepared=True, docker_host_answers=False) == plain


@pytest.mark.parametrize("part", ["handlers/main.yml", "tasks/main.yml", "templates/daemon.json.j2", "vars/main.yml"])
def test_another_version_of_the_role_has_another_fingerprint(render, tmp_path, part):
    shutil.copytree(ROLE, tmp_path / "role")
    assert fingerprint(render, tmp_path / "role") == fingerprint(render)
    with (tmp_path / "role" / part).open("a") as file:
        file.write("# More.\n")
    assert fingerprint(render, tmp_path / "role") != fingerprint(render)
