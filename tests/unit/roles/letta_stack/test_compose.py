# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the production variant's own in its Compose file. What all have in common stands in tests/variants."""

from __future__ import annotations

import pytest
import yaml

from tests.unit.roles.conftest import ROLES

TEMPLATE = "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
SETTINGS = {
    "letta_stack_environment": {
        "OPENAI_API_KEY": "sk-of-a-test",
        "OPENROUTER_TITLE": 'Costs $5: "five"',
        "LETTA_DEBUG": False,
    }
}


@pytest.fixture(scope="module")
def project(render):
    return yaml.safe_load(render("letta_stack", TEMPLATE, **SETTINGS))


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


def test_debugging_is_off_unless_it_is_asked_for(render):
    services = yaml.safe_load(render("letta_stack", TEMPLATE))["services"]
    assert "LETTA_DEBUG" not in services["letta_server"]["environment"]


def test_the_database_is_made_without_dropping_anything():
    script = (ROLES / "letta_stack" / "files" / "init-database.sh").read_text(encoding="utf-8")
    assert "CREATE ROLE letta LOGIN NOSUPERUSER" in script
    assert "DROP" not in script.upper()
    assert "SCHEMA" not in script.upper()


def test_options_of_the_log_are_passed_on_as_they_are(render):
    given = {"env-regex": "^(os|host)$", "max-file": 2}
    project = yaml.safe_load(render("letta_stack", TEMPLATE, letta_stack_log_options=given))
    # Compose reads $$ as $.
    assert project["services"]["redis"]["logging"]["options"] == {"env-regex": "^(os|host)$$", "max-file": "2"}


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
