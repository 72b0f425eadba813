# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every variant with every combination of options: it is closed, limited, and says how it is.

A property is a function of a case that asserts it. The unit tests ask for all of them where each value is chosen once,
the integration tests where each pair of values is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from traceback import format_exception_only
from typing import Any

import pytest
import yaml

from . import rendering, table

# Docker keeps no more than the options say only with these.
ROTATING = ("local", "json-file")


class Case:
    """One rendered Compose file, and what was asked for."""

    def __init__(self, variant: str, settings: table.Settings, text: str) -> None:
        self.variant = variant
        self.settings = settings
        self.text = text
        self.project = yaml.safe_load(text)
        self.services = self.project["services"]

    def setting(self, name: str) -> Any:
        return self.settings.get(name, table.DEFAULTS[name])

    def wrong(self, holds: Callable[[dict], bool]) -> list[str]:
        """Name the services for which something does not hold."""
        return [name for name, service in self.services.items() if not holds(service)]


Property = Callable[[Case], None]
ALL: list[Property] = []


def holds_always(function: Property) -> Property:
    """Have the tests ask for a property."""
    ALL.append(function)
    return function


def prove(holds: Property, cases: Mapping[str, Case]) -> None:
    """Fail with the names of the cases for which a property does not hold, each with what was seen."""
    failures = []
    for name, case in cases.items():
        try:
            holds(case)
        except Exception as error:  # noqa: BLE001  a service without a key fails as one with the wrong value does
            failures.append(f"{name}: {''.join(format_exception_only(error))}")
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)


def number(service: dict, which: int) -> int:
    """Give the number of its user (0) or of its group (1)."""
    return int(service["user"].split(":")[which])


def one_shot(service: dict) -> bool:
    return service["restart"] == "no"


@holds_always
def the_role_has_nothing_against_it(case):
    assert rendering.complaints(case.settings) == []


@holds_always
def it_has_the_services_of_the_variant_in_their_order(case):
    assert list(case.services) == table.services(case.variant, case.settings)


@holds_always
def it_reads_as_written_by_hand(case):
    assert [line for line in case.text.splitlines() if line != line.rstrip()] == []
    assert "\n\n\n" not in case.text
    # Between services and sections only.
    assert "\n\n    " not in case.text
    assert case.text.endswith("\n")
    assert not case.text.endswith("\n\n")


@holds_always
def no_secret_is_in_it(case):
    assert table.MARK not in case.text


@holds_always
def secrets_are_files_that_are_used(case):
    used = {
        secret if isinstance(secret, str) else secret["source"]
        for service in case.services.values()
        for secret in service.get("secrets", [])
    }
    assert set(case.project.get("secrets", {})) == used
    assert all(set(secret) == {"file"} for secret in case.project.get("secrets", {}).values())
    assert all(secret["file"].startswith("secrets/") for secret in case.project.get("secrets", {}).values())


@holds_always
def no_service_runs_as_root_or_may_become_it(case):
    assert case.wrong(lambda service: number(service, 0) > 0) == []
    assert set(case.wrong(lambda service: number(service, 1) > 0)) <= set(table.VARIANTS[case.variant].root_group)
    assert case.wrong(lambda service: service["security_opt"] == ["no-new-privileges:true"]) == []


@holds_always
def no_service_has_a_capability_or_a_root_that_it_can_write(case):
    assert case.wrong(lambda service: service["cap_drop"] == ["ALL"] and "cap_add" not in service) == []
    assert case.wrong(lambda service: service["read_only"] is True and "privileged" not in service) == []


@holds_always
def no_service_shares_a_namespace_of_the_host(case):
    shared = {"network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup", "cgroup_parent", "extra_hosts"}
    assert case.wrong(lambda service: not shared & set(service)) == []


@holds_always
def only_what_is_there_for_it_has_devices(case):
    def has_devices(service: dict) -> bool:
        reservations = service.get("deploy", {}).get("resources", {}).get("reservations", {})
        return bool({"devices", "gpus", "runtime", "device_cgroup_rules"} & set(service) or "devices" in reservations)

    assert set(case.wrong(lambda service: not has_devices(service))) <= set(table.VARIANTS[case.variant].devices)


@holds_always
def every_service_is_limited(case):
    assert case.wrong(lambda service: service["mem_limit"] and service["pids_limit"] > 0) == []
    assert case.wrong(lambda service: 0 < service["cpus"] <= 2) == []
    assert case.wrong(lambda service: all("size=" in mount for mount in service.get("tmpfs", []))) == []
    for name, service in case.services.items():
        keys = {"memory": "mem_limit", "cpus": "cpus", "pids": "pids_limit"}
        limits = case.setting("letta_stack_limits").get(name, {})
        assert {key: service[keys[key]] for key in limits} == limits


@holds_always
def no_log_grows_without_end(case):
    def ends(service: dict) -> bool:
        return service["logging"]["driver"] in ROTATING and bool(service["logging"]["options"]["max-size"])

    assert case.wrong(ends) == []


@holds_always
def every_service_says_when_it_is_well_and_how_it_stops(case):
    needed = {"test", "interval", "timeout", "retries", "start_period"}
    assert case.wrong(lambda service: one_shot(service) or needed <= set(service["healthcheck"])) == []
    assert case.wrong(lambda service: one_shot(service) or service["restart"] == "unless-stopped") == []
    assert case.wrong(lambda service: service["stop_grace_period"]) == []


@holds_always
def a_service_waits_until_what_it_needs_is_well_or_done(case):
    for service in case.services.values():
        for name, needed in service.get("depends_on", {}).items():
            done = "service_completed_successfully" if one_shot(case.services[name]) else "service_healthy"
            assert needed == {"condition": done}


@holds_always
def who_talks_to_a_service_waits_for_it(case):
    asked = {"nginx": {"letta_server", "app_server"}, "letta_server": {"letta_db", "redis", "migrate", "vllm"}}
    for name, others in asked.items():
        if name in case.services:
            assert others & set(case.services) <= set(case.services[name].get("depends_on", {}))


@holds_always
def the_database_is_well_only_when_it_takes_connections(case):
    if "letta_db" in case.services:
        assert "--host=127.0.0.1" in case.services["letta_db"]["healthcheck"]["test"]


@holds_always
def inside_of_the_network_the_database_is_always_at_its_own_port(case):
    elsewhere = case.setting("letta_stack_external_db")
    place = (elsewhere["host"], str(elsewhere.get("port", 5432))) if elsewhere else ("letta_db", "5432")
    for name in {"letta_server", "migrate"} & set(case.services):
        environment = case.services[name]["environment"]
        assert (environment["LETTA_PG_HOST"], environment["LETTA_PG_PORT"]) == place


@holds_always
def two_projects_on_a_host_do_not_meet(case):
    assert case.wrong(lambda service: "container_name" not in service) == []
    named = [*case.project.get("networks", {}).values(), *case.project.get("volumes", {}).values()]
    assert [each for each in named if "name" in (each or {}) or "external" in (each or {})] == []


@holds_always
def every_image_has_a_version(case):
    references = [service["image"] for service in case.services.values()]
    assert [name for name in references if ":" not in name.rpartition("/")[2] or name.endswith(":latest")] == []


@holds_always
def nothing_is_published_but_what_was_asked_for(case):
    published = {name: set(service["ports"]) for name, service in case.services.items() if "ports" in service}
    assert published == table.published(case.variant, case.settings)


@holds_always
def what_is_published_can_be_reached_and_every_network_is_of_use(case):
    networks = case.project.get("networks", {})
    used = {network for service in case.services.values() for network in service["networks"]}
    assert set(networks) == used
    open_networks = {name for name, network in networks.items() if not (network or {}).get("internal")}
    assert case.wrong(lambda service: "ports" not in service or open_networks & set(service["networks"])) == []


@holds_always
def it_mounts_only_volumes_what_is_addressed_by_its_content_and_what_the_variant_is_for(case):
    allowed = ("./files/", *table.VARIANTS[case.variant].mounts)
    named = set()
    for service in case.services.values():
        for source, *rest in (volume.split(":") for volume in service.get("volumes", [])):
            if source in case.project.get("volumes", {}):
                named.add(source)
            else:
                assert source == "./upstreams" or source.startswith(allowed)
                assert rest[-1] == "ro"
    assert named == set(case.project.get("volumes", {}))


@holds_always
def environments_are_text_and_never_empty_which_letta_would_take_for_a_value(case):
    values = [value for service in case.services.values() for value in service.get("environment", {}).values()]
    assert [value for value in values if not isinstance(value, str) or not value] == []
    assert case.wrong(lambda service: "env_file" not in service) == []
