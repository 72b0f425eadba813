# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that cannot work are refused, by name, with what is allowed, and without showing a secret."""

from __future__ import annotations

import pytest

from tests.variants import table

COMPLAINTS = "{{ __letta_stack_complaints }}"


def test_the_defaults_are_fine(render):
    assert render("letta_stack", COMPLAINTS) == []


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("letta_stack_variant", "staging", "must be one of "),
        ("letta_stack_project", "My Letta", "lower-case letters"),
        ("letta_stack_directory", "opt/letta", "absolute path"),
        ("letta_stack_directory", "/", "not / itself"),
        ("letta_stack_directory", "/opt/my letta", "without spaces"),
        ("letta_stack_directory", "/opt/$letta", "colons or $"),
        ("letta_stack_listen_address", "localhost", "must be an IP address"),
        ("letta_stack_port", 0, "between 1 and 65535"),
        ("letta_stack_port", 70000, "between 1 and 65535"),
        ("letta_stack_stream_timeout", 7200, "10 to 1800"),
        ("letta_stack_drain_timeout", -1, "0 or more"),
        ("letta_stack_db_password", "s3cret-with-dashes", "letters and digits"),
        ("letta_stack_db_password", "short", "16 or more"),
        ("letta_stack_db_superuser_password", "p@ssw0rdp@ssw0rd", "letters and digits"),
        ("letta_stack_server_password", "has spaces in the middle", "sent as a bearer token"),
        ("letta_stack_encryption_key", "tooshort", "16 or more printable characters"),
        ("letta_stack_db_shm_size", "lots", "such as 256m"),
        ("letta_stack_limits", {"redis": {"memory": "2 GB"}}, "such as 512m"),
        ("letta_stack_environment", {"OPENAI_API_KEY": ""}, "letta_stack_environment.OPENAI_API_KEY: is empty"),
        ("letta_stack_environment", {"OPENAI_KEY": "sk-1"}, "did you mean OPENAI_API_KEY"),
    ],
)
def test_a_bad_setting_is_one_clear_complaint(render, name, value, allowed):
    (complaint,) = render("letta_stack", COMPLAINTS, **{name: value})
    assert name in complaint
    assert allowed in complaint
    if "password" in name or "key" in name:
        assert value not in complaint


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("letta/letta", "needs a tag or a digest"),
        ("host:5000/letta", "needs a tag or a digest"),
        ("letta:latest", "name a version"),
    ],
)
def test_an_image_has_a_version(render, reference, complaint):
    images = {"server": reference, "db": "pgvector/pgvector:0.8.1-pg17", "redis": "redis:8.0", "nginx": "nginx:1.30"}
    (found,) = render("letta_stack", COMPLAINTS, letta_stack_images=images)
    assert complaint in found


@pytest.mark.parametrize(
    "reference", ["host:5000/letta/letta:0.16.8", "letta/letta@sha256:" + "a" * 64, "agentfleet/letta:0.16.8"]
)
def test_a_reference_with_a_version_is_fine(render, reference):
    images = {"server": reference, "db": reference, "redis": reference, "nginx": reference}
    assert render("letta_stack", COMPLAINTS, letta_stack_images=images) == []


@pytest.mark.parametrize(
    ("settings", "clash"),
    [
        ({"letta_stack_db_port": 8283}, "letta_stack_db_port and letta_stack_port are both 8283"),
        (
            {"letta_stack_db_port": 7000, "letta_stack_redis_port": "7000"},
            "letta_stack_redis_port and letta_stack_db_port",
        ),
        ({"letta_stack_redis_port": 8283, "letta_stack_listen_address": "0.0.0.0"}, "letta_stack_redis_port and"),
        ({"letta_stack_db_port": 8283, "letta_stack_listen_address": "10.0.0.1"}, ""),
        ({"letta_stack_db_port": 8283, "letta_stack_listen_address": "::"}, ""),
        ({"letta_stack_db_port": 8283, "letta_stack_variant": "data_services"}, ""),
    ],
)
def test_a_port_of_an_address_is_published_once(render, settings, clash):
    found = render("letta_stack", COMPLAINTS, **settings)
    assert len(found) == bool(clash)
    assert clash in "".join(found)


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("production", "letta_stack_source"),
        ("vllm", "letta_stack_source"),
        ("production", "letta_stack_vllm_model"),
        ("development", "letta_stack_vllm_hf_token"),
        ("production", "letta_stack_app_server_token"),
        ("app_server", "letta_stack_server_password"),
    ],
)
def test_what_another_variant_is_for_is_refused(render, variant, name):
    value = "/srv/never-to-be-seen"
    settings = {**table.golden_cases(variant)["minimal"], name: value}
    (complaint,) = render("letta_stack", COMPLAINTS, **settings)
    assert complaint.startswith(f"{name}: letta_stack_variant {variant} has nothing")
    assert value not in complaint


def test_how_something_is_to_be_may_be_said_for_hosts_of_other_variants(render):
    settings = {
        "letta_stack_vllm_context": 65536,
        "letta_stack_vllm_arguments": ["--seed=1"],
        "letta_stack_source_target": "locked",
        "letta_stack_encryption_key": "EncryptionKey1234567",
        "letta_stack_server_password": "ServerPassword1234",
    }
    for variant in ("production", "data_services"):
        assert render("letta_stack", COMPLAINTS, letta_stack_variant=variant, **settings) == []
