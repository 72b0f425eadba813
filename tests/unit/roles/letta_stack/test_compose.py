# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compose file of the production variant: how it is closed, in which order it starts, where its secrets are not."""

from __future__ import annotations

import pytest
import yaml

TEMPLATE = "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
SECRET = "sk-never-to-be-seen"
SETTINGS = {
    "letta_stack_environment": {"OPENAI_API_KEY": SECRET, "OPENROUTER_TITLE": 'Costs $5: "five"', "LETTA_DEBUG": False},
    "letta_stack_db_password": "DatabasePassword1234",
    "letta_stack_server_password": "ServerPassword123456",
    "letta_stack_encryption_key": "EncryptionKey1234567",
}
SERVICES = ["letta_db", "redis", "migrate", "letta_server", "nginx"]


@pytest.fixture(scope="module")
def text(render):
    return render("letta_stack", TEMPLATE, **SETTINGS)


@pytest.fixture(scope="module")
def project(text):
    return yaml.safe_load(text)


@pytest.fixture(params=SERVICES)
def service(project, request):
    return project["services"][request.param]


def test_it_has_the_services_of_the_variant_in_their_order(project):
    assert list(project["services"]) == SERVICES


def test_it_reads_as_written_by_hand(text):
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert "\n\n\n" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_no_secret_is_in_it(text):
    values = [SECRET, *(value for name, value in SETTINGS.items() if isinstance(value, str))]
    assert [value for value in values if value in text] == []


def test_a_service_is_hardened(service):
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service
    uid, gid = service["user"].split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert not {"network_mode", "pid", "ipc", "devices"} & set(service)


def test_a_service_is_limited(service):
    assert service["mem_limit"]
    assert 0 < service["cpus"] <= 2
    assert service["pids_limit"] > 0
    assert service["logging"]["options"]["max-size"]
    assert all("size=" in mount for mount in service["tmpfs"])


def test_a_service_says_when_it_is_well_and_how_it_stops(project, service):
    if service is not project["services"]["migrate"]:
        assert service["restart"] == "unless-stopped"
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["stop_grace_period"]


def test_a_service_mounts_only_what_is_addressed_by_its_content_or_changes_in_place(service):
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source == "letta_db" or source == "./upstreams" or source.startswith("./files/")
        assert source == "letta_db" or volume.endswith(":ro")


def test_migrations_run_once_between_the_database_and_the_server(project):
    services = project["services"]
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"] == {"letta_db": {"condition": "service_healthy"}}
    assert services["letta_server"]["depends_on"] == {
        "letta_db": {"condition": "service_healthy"},
        "redis": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }
    assert services["migrate"]["image"] == services["letta_server"]["image"]


def test_only_nginx_is_published_and_only_on_the_address_that_was_asked_for(project, render):
    published = {name: service["ports"] for name, service in project["services"].items() if "ports" in service}
    assert published == {"nginx": ["127.0.0.1:8283:8080"]}
    other = yaml.safe_load(render("letta_stack", TEMPLATE, letta_stack_listen_address="::1", letta_stack_port=80))
    assert other["services"]["nginx"]["ports"] == ["[::1]:80:8080"]


def test_data_cannot_be_reached_from_outside_or_reach_out(project):
    internal = {name for name, network in project["networks"].items() if (network or {}).get("internal")}
    assert internal == {"data", "front"}
    networks = {name: set(service["networks"]) for name, service in project["services"].items()}
    assert networks["letta_db"] == networks["redis"] == networks["migrate"] == {"data"}
    assert not networks["nginx"] & networks["letta_db"]


def test_a_container_gets_only_the_secrets_that_it_needs(project):
    def targets(service):
        return {secret if isinstance(secret, str) else secret["target"] for secret in service.get("secrets", [])}

    assert {name: targets(service) for name, service in project["services"].items()} == {
        "letta_db": {"db_password", "db_superuser_password"},
        "redis": set(),
        "migrate": {"LETTA_PG_PASSWORD", "LETTA_ENCRYPTION_KEY"},
        "letta_server": {"LETTA_PG_PASSWORD", "LETTA_ENCRYPTION_KEY", "LETTA_SERVER_PASSWORD", "OPENAI_API_KEY"},
        "nginx": set(),
    }


def test_what_letta_must_be_told_is_told_and_the_rest_is_passed_on(project):
    environment = project["services"]["letta_server"]["environment"]
    assert environment["LETTA_SERVER_SECURE"] == "true"
    assert environment["LETTA_DISABLE_SQLALCHEMY_POOLING"] == "true"
    assert environment["LETTA_REDIS_HOST"] == "redis"
    assert environment["LETTA_DEBUG"] == "false"
    # Compose reads $$ as $.
    assert environment["OPENROUTER_TITLE"] == 'Costs $$5: "five"'
    assert all(isinstance(value, str) and value for value in environment.values())


def test_limits_are_changed_one_by_one(render):
    project = yaml.safe_load(render("letta_stack", TEMPLATE, letta_stack_limits={"letta_server": {"memory": "4g"}}))
    server = project["services"]["letta_server"]
    assert (server["mem_limit"], server["cpus"], server["pids_limit"]) == ("4g", 2, 512)


def test_the_server_and_nginx_get_the_time_to_end_the_longest_answer(render):
    services = yaml.safe_load(render("letta_stack", TEMPLATE, letta_stack_stream_timeout=900))["services"]
    assert services["letta_server"]["environment"]["LETTA_LLM_STREAM_TIMEOUT_SECONDS"] == "900"
    assert services["letta_server"]["stop_grace_period"] == "930s"
    assert services["nginx"]["stop_grace_period"] == "960s"


def test_a_rollout_routes_by_the_file_that_nginx_reads_and_drains_the_old_server(render):
    services = yaml.safe_load(render("letta_stack", TEMPLATE, letta_stack_drain_timeout=90))["services"]
    rollout = services["letta_server"]["x-rollout"]
    assert rollout["proxy"] == {"service": "nginx", "upstream": "letta", "port": 8283}
    assert rollout["drain_timeout"] == "90s"
    assert "./upstreams:/etc/nginx/upstreams:ro" in services["nginx"]["volumes"]
    # Where both are, Docker's DNS knows the server's containers by their names.
    assert set(services["letta_server"]["networks"]) & set(services["nginx"]["networks"]) == {"front"}


def test_python_is_not_process_1_which_would_be_deaf_to_signals_until_it_has_imported_the_server(project):
    assert project["services"]["letta_server"]["init"] is True
    assert project["services"]["migrate"]["init"] is True


@pytest.mark.parametrize("name", ["migrate", "letta_server"])
def test_the_volume_that_lettas_own_image_declares_is_not_made(project, name):
    assert "/var/lib/postgresql/data:size=1m" in project["services"][name]["tmpfs"]


def test_an_image_of_another_debian_release_sorts_the_data_the_same(project):
    arguments = project["services"]["letta_db"]["environment"]["POSTGRES_INITDB_ARGS"].split()
    assert {"--locale-provider=builtin", "--locale=C.UTF-8", "--auth-host=scram-sha-256"} == set(arguments)
