# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database and Redis alone: who can reach them, by what, and what they ask for."""

from __future__ import annotations

import pytest
import yaml

TEMPLATE = "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
COMPLAINTS = "{{ __letta_stack_complaints }}"
FILES = {
    name: f"{name}.000000000001"
    for name in (
        *("db_password", "db_superuser_password", "db_tls_certificate", "db_tls_key", "redis_password"),
        *("external_db_password", "encryption_key", "server_password"),
    )
}
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"
KEY = "-----BEGIN PRIVATE KEY-----\nnever-to-be-seen\n-----END PRIVATE KEY-----"


@pytest.fixture(scope="module")
def compose(render):
    """Return a function that renders the variant's Compose file with some settings."""

    def project(**settings):
        secrets = {"__letta_stack_secrets": {"files": FILES}}
        given = {"letta_stack_variant": "data_services", **secrets, **settings}
        return yaml.safe_load(render("letta_stack", TEMPLATE, **given))

    return project


@pytest.fixture(scope="module")
def complaints(render):
    def found(**settings):
        return render("letta_stack", COMPLAINTS, **{"letta_stack_variant": "data_services", **settings})

    return found


def test_nothing_is_published_unless_asked_for(compose, complaints):
    assert complaints() == []
    project = compose()
    assert list(project["services"]) == ["letta_db", "redis"]
    assert [name for name, service in project["services"].items() if "ports" in service] == []
    assert project["networks"] == {"data": {"internal": True}}


def test_a_port_is_published_on_its_address_by_a_network_that_leads_nowhere(compose):
    project = compose(letta_stack_db_port=15432, letta_stack_redis_port=16379, letta_stack_redis_listen_address="::1")
    assert project["services"]["letta_db"]["ports"] == ["127.0.0.1:15432:5432"]
    assert project["services"]["redis"]["ports"] == ["[::1]:16379:6379"]
    assert project["services"]["letta_db"]["networks"] == ["data", "published"]
    options = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert project["networks"]["published"] == {"driver_opts": options}


def test_the_front_door_is_what_is_published(render):
    template = "{{ __letta_stack_final_checks.data }}"
    assert render("letta_stack", template) == []
    settings = {"letta_stack_db_port": 5432, "letta_stack_db_listen_address": "0.0.0.0"}
    assert render("letta_stack", template, **settings) == [{"tcp": {"host": "127.0.0.1", "port": 5432}}]


def test_with_tls_the_database_lets_nobody_in_without(compose):
    service = compose(letta_stack_db_tls=True)["services"]["letta_db"]
    assert {"--ssl=on", "--hba_file=/etc/letta/pg_hba.conf"} <= set(service["command"])
    assert {"db_tls_certificate", "db_tls_key"} <= set(service["secrets"])
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    assert {"/etc/letta/pg_hba.conf", "/etc/letta/start-database.sh"} <= mounted


def test_a_given_key_is_a_secret(compose):
    project = compose(letta_stack_db_tls=True, letta_stack_db_tls_certificate=CERTIFICATE, letta_stack_db_tls_key=KEY)
    assert "never-to-be-seen" not in yaml.safe_dump(project)


def test_the_passwords_are_asked_for_and_stand_nowhere(compose):
    project = compose(letta_stack_redis_password="RedisPassword1234", letta_stack_db_password="DatabasePassword1")
    redis = project["services"]["redis"]
    assert redis["secrets"] == ["redis_password"]
    assert redis["entrypoint"] == ["sh", "/etc/letta/start-redis.sh"]
    assert "PONG" in redis["healthcheck"]["test"][1]
    text = yaml.safe_dump(project)
    assert "RedisPassword1234" not in text
    assert "DatabasePassword1" not in text


def test_the_stacks_own_server_uses_the_tls_of_its_database(compose):
    services = compose(letta_stack_variant="production", letta_stack_db_tls=True)["services"]
    assert services["letta_server"]["environment"]["PGSSLMODE"] == "require"
    assert services["migrate"]["environment"]["PGSSLMODE"] == "require"
    plain = compose(letta_stack_variant="production")["services"]["letta_server"]["environment"]
    assert "PGSSLMODE" not in plain


def test_a_certificate_is_good_for_every_name_of_the_database(render):
    subjects = render(
        "letta_stack",
        "{{ __letta_stack_db_tls_subjects }}",
        letta_stack_db_listen_address="10.0.0.5",
        letta_stack_db_tls_names=["db.example.com", "fd00::5"],
        inventory_hostname="data1.example.com",
    ).split(",")
    assert {"DNS:letta_db", "IP:10.0.0.5", "DNS:db.example.com", "IP:fd00::5", "DNS:data1.example.com"} <= set(subjects)


@pytest.mark.parametrize(("given", "makes"), [({}, True), ({"letta_stack_db_tls_key": KEY}, False)])
def test_a_certificate_is_made_only_where_none_is_given(render, given, makes):
    settings = {"letta_stack_variant": "data_services", "letta_stack_db_tls": True, **given}
    assert render("letta_stack", "{{ __letta_stack_makes_certificate }}", **settings) is makes
    assert render("letta_stack", "{{ __letta_stack_makes_certificate }}") is False


@pytest.mark.parametrize("check_mode", [True, False])
def test_only_what_a_run_can_make_up_is_made_up(render, check_mode):
    settings = {
        "letta_stack_variant": "data_services",
        "letta_stack_db_tls": True,
        "letta_stack_redis_password": "RedisPassword1234",
        "ansible_check_mode": check_mode,
    }
    required = set(render("letta_stack", "{{ __letta_stack_required_secrets }}", **settings))
    needed = set(render("letta_stack", "{{ __letta_stack_needed_secrets }}", **settings))
    assert needed == {"db_password", "db_superuser_password", "db_tls_certificate", "db_tls_key", "redis_password"}
    assert required == (set() if check_mode else {"db_tls_certificate", "db_tls_key", "redis_password"})


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"letta_stack_db_port": 70000}, "must be between 1 and 65535, or 0"),
        ({"letta_stack_db_listen_address": "any"}, "must be IP addresses"),
        ({"letta_stack_redis_port": 6379, "letta_stack_redis_listen_address": "0.0.0.0"}, "wants a password"),
        (
            {
                "letta_stack_redis_port": 6379,
                "letta_stack_redis_listen_address": "0.0.0.0",
                "letta_stack_redis_open": "false",
            },
            "wants a password",
        ),
        ({"letta_stack_redis_password": "short"}, "16 or more"),
        (
            {"letta_stack_redis_password": "RedisPassword1234", "letta_stack_variant": "production"},
            "not with production, whose server is Letta V1, which cannot send one",
        ),
        ({"letta_stack_db_tls": True, "letta_stack_db_tls_key": KEY}, "give both, or none"),
        (
            {"letta_stack_db_tls_certificate": CERTIFICATE, "letta_stack_db_tls_key": KEY},
            "are of no use while letta_stack_db_tls is false",
        ),
        (
            {
                "letta_stack_db_tls": True,
                "letta_stack_db_tls_certificate": "/etc/db.crt",
                "letta_stack_db_tls_key": KEY,
            },
            "letta_stack_db_tls_certificate: must be the text of a PEM file",
        ),
        (
            {
                "letta_stack_db_tls": True,
                "letta_stack_db_tls_certificate": CERTIFICATE,
                "letta_stack_db_tls_key": KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            },
            "with a key that is not encrypted",
        ),
        ({"letta_stack_db_tls_names": ["db one"]}, "must be DNS names and IP addresses"),
        ({"letta_stack_external_redis": {"host": "redis.example.com"}}, "has no Letta server that could use them"),
    ],
)
def test_what_cannot_work_is_one_complaint_without_a_secret(complaints, settings, complaint):
    (found,) = complaints(**settings)
    assert complaint in found
    assert "never-to-be-seen" not in found
    assert "RedisPassword1234" not in found


@pytest.mark.parametrize(
    "settings",
    [
        {"letta_stack_redis_listen_address": "127.0.0.1"},
        {"letta_stack_redis_listen_address": "0.0.0.0", "letta_stack_redis_open": True},
        {"letta_stack_redis_listen_address": "0.0.0.0", "letta_stack_redis_password": "RedisPassword1234"},
    ],
    ids=["on the host", "said so", "with a password"],
)
def test_redis_is_published_beyond_the_host_only_knowingly(complaints, settings):
    assert complaints(letta_stack_redis_port=6379, **settings) == []
