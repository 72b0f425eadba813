# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every variant with every pair of options, and what the installed and the oldest Compose make of it."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.integration.compose_rollout import debian
from tests.variants import properties, rendering, table

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {(variant, name): each for variant in table.VARIANTS for name, each in table.pair_cases(variant).items()}
INSTALLED = "installed"


@pytest.fixture(scope="module", params=[INSTALLED, debian.OLD_COMPOSE], ids="compose-{}".format)
def environment(request) -> dict[str, str]:
    """The environment in which `docker compose` is the version under test."""
    chosen = dict(os.environ)
    if request.param == debian.OLD_COMPOSE:
        cache = ROOT / ".cache" / "integration"
        cache.mkdir(parents=True, exist_ok=True)
        chosen["DOCKER_CONFIG"] = str(debian.old_compose(cache))
    command = ["docker", "compose", "version", "--short"]
    found = subprocess.run(command, env=chosen, capture_output=True, text=True, check=True).stdout.strip()
    major, minor = (int(part) for part in found.removeprefix("v").split(".")[:2])
    assert found.startswith(debian.OLD_COMPOSE) if request.param == debian.OLD_COMPOSE else (major, minor) >= (2, 40)
    return chosen


@cache
def rendered(variant: str, name: str) -> str:
    """Give the Compose file of a case, which is the same for every version of Docker Compose."""
    return rendering.compose(SETTINGS[variant, name])


@cache
def cases(variant: str) -> dict[str, properties.Case]:
    """Give the cases of a variant as they are rendered."""
    return {
        name: properties.Case(variant, settings, rendered(variant, name))
        for name, settings in table.pair_cases(variant).items()
    }


@pytest.mark.parametrize("variant", table.VARIANTS)
@pytest.mark.parametrize("holds", properties.ALL, ids=lambda holds: holds.__name__)
def test_it_holds_with_every_pair_of_options(variant, holds):
    properties.prove(holds, cases(variant))


class Case:
    """A rendered Compose file as Compose understands it, and what was asked for."""

    def __init__(self, variant: str, name: str, directory: Path, environment: dict[str, str]) -> None:
        self.variant = variant
        self.settings = SETTINGS[variant, name]
        (directory / "compose.yaml").write_text(rendered(variant, name), encoding="utf-8")
        done = subprocess.run(
            ["docker", "compose", "config"], cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        self.text = done.stdout
        self.services = yaml.safe_load(done.stdout)["services"]


@pytest.fixture(scope="module", params=[pytest.param(case, id="-".join(case)) for case in SETTINGS])
def case(request, environment, tmp_path_factory) -> Case:
    variant, name = request.param
    return Case(variant, name, tmp_path_factory.mktemp(f"{variant}-{name}"), environment)


def test_it_is_accepted_with_the_services_of_the_variant(case):
    assert set(case.services) == set(table.services(case.variant, case.settings))


def test_nothing_is_published_but_what_was_asked_for(case):
    def written(port: dict) -> str:
        address = port.get("host_ip", "")
        return f"{f'[{address}]' if ':' in address else address}:{port['published']}:{port['target']}"

    published = {name: set(map(written, each["ports"])) for name, each in case.services.items() if "ports" in each}
    assert published == table.published(case.variant, case.settings)
    assert [name for name, each in case.services.items() if each.get("network_mode")] == []


def test_no_service_runs_as_root_or_without_limits(case):
    for name, service in case.services.items():
        user, group = (int(number) for number in service["user"].split(":"))
        assert user > 0, name
        assert group > 0 or name in table.VARIANTS[case.variant].root_group, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) > 0, name
        assert float(service["cpus"]) > 0, name
        assert int(service["pids_limit"]) > 0, name
        assert service["logging"]["options"]["max-size"], name


def test_no_secret_is_in_the_text(case):
    assert table.MARK not in case.text


def test_what_the_server_is_told_arrives_as_it_was_given(case):
    told = [str(value) for value in case.settings.get("letta_stack_environment", {}).values() if isinstance(value, str)]
    # Compose writes $$ for a $ that is to stay one.
    environments = [service.get("environment", {}) for service in case.services.values()]
    environment = [str(value).replace("$$", "$") for each in environments for value in each.values()]
    assert [value for value in told if table.MARK not in value and value not in environment] == []
