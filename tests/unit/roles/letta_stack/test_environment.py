# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of the server: what may be set, what is refused, and with which advice."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.agentfleet.letta.plugins.filter.letta_environment import letta_environment

ROLE = Path(__file__).resolve().parents[4] / "roles" / "letta_stack"
TABLES = yaml.safe_load((ROLE / "vars" / "main" / "environment.yml").read_text(encoding="utf-8"))
KNOWN = TABLES["__letta_stack_environment_known"]
RESERVED = TABLES["__letta_stack_environment_reserved"]
DEAD = TABLES["__letta_stack_environment_dead"]
GROUPS = TABLES["__letta_stack_environment_groups"]
NEEDS = TABLES["__letta_stack_environment_needs"]
CONFLICTS = TABLES["__letta_stack_environment_conflicts"]


def sort(environment):
    return letta_environment(
        environment, known=KNOWN, reserved=RESERVED, dead=DEAD, groups=GROUPS, needs=NEEDS, conflicts=CONFLICTS
    )


def test_secrets_are_kept_apart_from_what_may_be_shown():
    result = sort({"VLLM_API_BASE": "http://vllm:8000/v1", "OPENAI_API_KEY": "sk-12345", "LETTA_DEBUG": True})
    assert result == {
        "public": {"LETTA_DEBUG": "true", "VLLM_API_BASE": "http://vllm:8000/v1"},
        "secret": {"OPENAI_API_KEY": "sk-12345"},
        "errors": [],
    }


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("LETTA_DEBUG", False, "false"),
        ("LETTA_DEBUG", "True", "true"),
        ("TOOL_SANDBOX_TIMEOUT", 90, "90"),
        ("TOOL_SANDBOX_TIMEOUT", "90.5", "90.5"),
        ("LETTA_LLM_REQUEST_TIMEOUT_SECONDS", 1800, "1800"),
        (
            "LETTA_CORS_ORIGINS",
            ["https://a.example", "https://b.example"],
            '["https://a.example", "https://b.example"]',
        ),
        ("LETTA_CORS_ORIGINS", '["https://a.example"]', '["https://a.example"]'),
        ("ZAI_BASE_URL", "https://api.example/v4/", "https://api.example/v4/"),
        ("LETTA_OBJECT_STORE_URI", "gs://bucket/prefix?project=p", "gs://bucket/prefix?project=p"),
        ("OPENROUTER_TITLE", "Costs $5", "Costs $5"),
        ("AZURE_API_VERSION", "2024-09-01-preview", "2024-09-01-preview"),
    ],
)
def test_a_value_becomes_the_text_that_a_process_gets(name, value, text):
    result = sort({name: value})
    assert (result["public"], result["errors"]) == ({name: text}, [])


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("AZURE_API_VERSION", "", "AZURE_API_VERSION: is empty; leave the variable out"),
        ("OPENAI_API_KEY", None, "OPENAI_API_KEY: is empty; leave the variable out"),
        ("LETTA_DEBUG", "yes please", "LETTA_DEBUG: must be true or false"),
        ("LETTA_LLM_REQUEST_TIMEOUT_SECONDS", 5, "must be a number of at least 10 and at most 1800"),
        ("LETTA_LLM_REQUEST_TIMEOUT_SECONDS", "nan", "must be a number"),
        ("ANTHROPIC_MAX_RETRIES", 1.5, "must be a whole number of at least 0"),
        ("ANTHROPIC_MAX_RETRIES", True, "must be a whole number"),
        ("VLLM_API_BASE", "vllm:8000", "must be a URL"),
        ("VLLM_API_BASE", "http://vllm:8000/v1/", "must not end in a slash"),
        ("OLLAMA_BASE_URL", "http://me:hunter2@ollama:11434", "must not carry a password"),
        ("LETTA_CORS_ORIGINS", "https://a.example", "must be a list of strings"),
        ("OPENAI_API_KEY", "sk-1\nsk-2", "must be one line"),
        ("OPENAI_API_KEY", {"a": 1}, "must be a string"),
        ("OPENAI_API_KEY", "hunter2", "is a secret of fewer than 8 characters"),
        ("SENTRY_DSN", "hunter2-is-no-dsn", "must be a URL"),
        ("LETTA_SUMMARIZER_MODE", "aggressive", "must be one of 'partial_evict_message_buffer_mode'"),
    ],
)
def test_a_value_that_letta_could_not_use_is_refused_without_showing_it(name, value, complaint):
    result = sort({name: value})
    assert len(result["errors"]) == 1
    assert complaint in result["errors"][0]
    assert "hunter2" not in result["errors"][0]
    assert name not in result["public"]
    assert name not in result["secret"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("OPENAI_API_KY", "did you mean OPENAI_API_KEY?"),
        ("openai_api_key", "did you mean OPENAI_API_KEY?"),
        ("DEBUG", "did you mean LETTA_DEBUG?"),
        ("SOMETHING_ELSE_ENTIRELY", "README lists"),
        ("LETTA_PG_URI", "set by the role: the database belongs to the stack"),
        ("LETTA_SERVER_PASSWORD", "use letta_stack_server_password"),
        ("PORT", "use letta_stack_port"),
        ("SECURE", "always asks for its password"),
        ("OPENLLM_API_KEY", "has no effect: the provider is gone"),
        ("LETTA_LLM_ENDPOINT_TYPE", "has no effect: no code reads it; use VLLM_API_BASE"),
        ("LETTA_LLM_MODEL", "has no effect: no code reads it; use VLLM_API_BASE"),
        ("LETTA_LOGGING_LOG_LEVEL", "has no effect: no code reads it; use LETTA_DEBUG"),
        ("LETTA_PG_POOL_SIZE", "has no effect: connection pooling is off"),
    ],
)
def test_a_name_that_cannot_be_set_is_refused_with_advice(name, advice):
    result = sort({name: "value"})
    assert len(result["errors"]) == 1
    assert result["errors"][0].startswith(f"{name}: ")
    assert advice in result["errors"][0]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0])
def test_half_of_what_belongs_together_is_refused(group):
    values = dict.fromkeys(group, "http://host:1")
    assert sort(values)["errors"] == []
    for missing in group:
        half = {name: value for name, value in values.items() if name != missing}
        (error,) = sort(half)["errors"]
        assert f"without {missing}" in error


@pytest.mark.parametrize("name", NEEDS)
def test_what_does_nothing_alone_is_refused_alone(name):
    value = {"bool": True, "int": 1}.get(KNOWN[name]["type"], "value")
    (error,) = sort({name: value})["errors"]
    assert error == f"{name}: of no use without {' or '.join(NEEDS[name])}"
    with_it = {name: value, NEEDS[name][0]: "http://host:1"}
    assert [error for error in sort(with_it)["errors"] if error.startswith(f"{name}:")] == []


def test_what_is_switched_off_needs_nothing():
    assert sort({"LETTA_STORE_LLM_TRACES": False})["errors"] == []


def test_traces_have_one_destination():
    both = {
        "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
        "SIGNOZ_ENDPOINT": "https://ingest.example.com:443",
        "SIGNOZ_INGESTION_KEY": "key-of-signoz",
    }
    (error,) = sort(both)["errors"]
    assert error == "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT, SIGNOZ_ENDPOINT: only one of them can be set"


def test_everything_that_is_wrong_is_said_at_once():
    assert len(sort({"PORT": 1, "OPENAI_API_KY": "x", "LETTA_DEBUG": "maybe"})["errors"]) == 3


def test_only_a_dictionary_will_do():
    with pytest.raises(AnsibleFilterError, match="dictionary"):
        sort(["OPENAI_API_KEY=sk"])


def test_the_tables_do_not_contradict_each_other():
    assert set(KNOWN).isdisjoint(RESERVED)
    for pattern in DEAD:
        prefix = pattern.rstrip("*")
        matches = [
            name for name in [*KNOWN, *RESERVED] if name == pattern or (prefix != pattern and name.startswith(prefix))
        ]
        assert matches == [], f"{pattern} is dead, but {matches} can be set"
    assert {name for group in GROUPS for name in group} <= set(KNOWN)


def test_every_key_and_token_is_a_secret():
    shown = [name for name, rule in KNOWN.items() if not rule.get("secret")]
    assert [name for name in shown if name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_DSN"))] == []


def test_the_readme_lists_every_variable():
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    assert [name for name in KNOWN if f"`{name}`" not in readme] == []
