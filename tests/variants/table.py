# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variants and what tests have to know of each: one line of settings a variant, and all tests go by it.

Every test of what all variants have in common takes its cases from here: the golden files, the properties, what
`docker compose config` is asked about, and the tables in docs/variants. A variant without a line fails them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.unit.roles.conftest import ROLES

from .pairwise import pairwise

Settings = dict[str, Any]
Options = Mapping[str, Sequence[Settings]]

# Part of every secret that a case gives, so that one search finds any of them.
MARK = "NeverToBeSeen"


def _of_role(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROLES / "letta_stack" / path).read_text(encoding="utf-8")))


DEFAULTS = _of_role("defaults/main.yml")
SERVICES: dict[str, list[str]] = {
    name: variant["services"] for name, variant in _of_role("vars/main/variants.yml")["__letta_stack_variants"].items()
}


# The database and Redis, of which both can be somebody else's, and neither is published unless it is asked for.
_DATA = (
    ("letta_db", "{letta_stack_db_listen_address}:{letta_stack_db_port}:5432"),
    ("redis", "{letta_stack_redis_listen_address}:{letta_stack_redis_port}:6379"),
)
_ELSEWHERE = {"letta_stack_external_db": "letta_db", "letta_stack_external_redis": "redis"}
_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"
_TLS: Settings = {
    "letta_stack_db_tls": True,
    "letta_stack_db_tls_certificate": _CERTIFICATE,
    "letta_stack_db_tls_key": f"-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----\n",
}
_EXTERNAL: list[Settings] = [
    {
        "letta_stack_external_db": {"host": "db.example.com", "tls": "verify-full", "ca": _CERTIFICATE},
        "letta_stack_db_password": f"Database{MARK}1",
    },
    {
        "letta_stack_external_db": {"host": "10.0.0.7", "port": 6432, "user": "agents", "database": "agents_1"},
        "letta_stack_db_password": f"Database{MARK}1",
    },
]
_PASSWORDS: Settings = {
    "letta_stack_db_password": f"Database{MARK}1",
    "letta_stack_db_superuser_password": f"Superuser{MARK}1",
}


@dataclass(frozen=True)
class Variant:
    """What is special about a variant.

    needs: settings without which it is refused, in every case.
    publishes: (service, "ADDRESS:PORT:PORT OF THE CONTAINER") with names of settings in braces; a port that is 0 or
        empty is not published.
    options: what it has beside the common options, or another set of values for one of them; an empty set takes it out.
    mounts: the beginnings of paths on the host that it may mount beside what the role writes.
    devices: the services that may have devices of the host.
    root_group: the services that run with group 0, to which the files of their images belong; never with user 0.
    """

    needs: Settings = field(default_factory=dict)
    publishes: Sequence[tuple[str, str]] = (("nginx", "{letta_stack_listen_address}:{letta_stack_port}:8080"), *_DATA)
    options: Options = field(default_factory=dict)
    mounts: Sequence[str] = ()
    devices: Sequence[str] = ()
    root_group: Sequence[str] = ()


# Of what is built from a source, and of what mounts it.
_BY_HAND = (
    ("letta_server", "{letta_stack_listen_address}:{letta_stack_port}:8283"),
    ("letta_db", "127.0.0.1:{letta_stack_development_db_port}:5432"),
    _DATA[1],
)
_SOURCE: Options = {
    "source": [
        {},
        {
            "letta_stack_source_target": "locked",
            "letta_stack_source_python_index": "https://packages.example.com/$simple",
        },
        {"letta_stack_source": "/home/developer/letta"},
    ],
    "database": [{}, *_EXTERNAL, _TLS, {"letta_stack_development_db_port": 15432}],
}

VARIANTS: dict[str, Variant] = {
    "production": Variant(),
    "development": Variant(publishes=_BY_HAND, options=_SOURCE),
    "development_live": Variant(
        publishes=_BY_HAND,
        options={
            **_SOURCE,
            "mounts": [
                {},
                {
                    "letta_stack_live_credentials": "/home/developer/credentials",
                    "letta_stack_live_configuration": "/home/developer/conf.yaml",
                },
            ],
        },
        mounts=("/opt/letta/source/", "/srv/agents_2/source/", "/home/developer/"),
    ),
    "vllm": Variant(
        needs={"letta_stack_vllm_model": "Qwen/Qwen3-8B", "letta_stack_vllm_gpu_access": "reservation"},
        options={
            "model": [
                {},
                {
                    "letta_stack_vllm_model": "meta-llama/Llama-3.3-70B-Instruct",
                    "letta_stack_vllm_hf_token": f"hf_{MARK}",
                },
                {"letta_stack_vllm_model": "/srv/models/qwen3-8b", "letta_stack_vllm_offline": True},
                {
                    "letta_stack_vllm_model": "Qwen/Qwen3-32B",
                    "letta_stack_vllm_served_name": "local",
                    "letta_stack_vllm_context": 65536,
                    "letta_stack_vllm_tool_parser": "llama3_json",
                    "letta_stack_vllm_hf_token": f"hf_{MARK}$1",
                },
            ],
            "context": [{}, {"letta_stack_vllm_context": 4096}, {"letta_stack_vllm_context": 262144}],
            "gpus": [
                {},
                {
                    "letta_images_vllm": "agentfleet/vllm-cpu:0.32.0",
                    "letta_stack_vllm_gpus": "cpu",
                    "letta_stack_vllm_cpu_cache": 1,
                },
                {"letta_stack_vllm_gpus": 2, "letta_stack_vllm_gpu_access": "none"},
                {"letta_stack_vllm_gpus": 2, "letta_stack_vllm_tensor_parallel": 2},
                {"letta_stack_vllm_gpus": [0, "GPU-5e5e"], "letta_stack_vllm_gpu_access": "cdi"},
            ],
            "start": [
                {},
                {
                    "letta_stack_vllm_shm_size": "16g",
                    "letta_stack_vllm_start_period": 7200,
                    "letta_stack_vllm_arguments": ["--gpu-memory-utilization=0.92", "--chat-template=$HOME"],
                    "letta_stack_vllm_environment": {"VLLM_LOGGING_LEVEL": "$DEBUG"},
                },
            ],
        },
        mounts=("/srv/models/",),
        devices=("vllm",),
        root_group=("vllm",),
    ),
    "app_server": Variant(
        publishes=(("nginx", "{letta_stack_listen_address}:{letta_stack_port}:8080"),),
        options={
            "database": [],
            "redis": [],
            "secrets": [{}, {"letta_stack_app_server_token": f"Token-{MARK}1"}],
            "environment": [
                {},
                {"letta_stack_environment": {"LMSTUDIO_BASE_URL": "http://models.example.com:8000/v1"}},
                {"letta_stack_environment": {"ANTHROPIC_API_KEY": f"sk-ant-{MARK}$1", "TZ": "Europe/Zurich"}},
            ],
        },
    ),
    "data_services": Variant(
        publishes=_DATA,
        options={
            "address": [],
            "environment": [],
            "timeouts": [],
            "secrets": [{}, _PASSWORDS],
            "database": [{}, {"letta_stack_db_port": 15432}, {"letta_stack_db_port": 5432, **_TLS}],
            "database's address": [
                {},
                {"letta_stack_db_listen_address": "::1"},
                {"letta_stack_db_listen_address": "0.0.0.0"},
            ],
            "redis": [
                {},
                {
                    "letta_stack_redis_port": 16379,
                    "letta_stack_redis_listen_address": "0.0.0.0",
                    "letta_stack_redis_open": True,
                },
                {"letta_stack_redis_port": 6379, "letta_stack_redis_password": f"Redis{MARK}1"},
            ],
        },
    ),
}


def _common(variant: str) -> Options:
    """Give the options of all variants: in each the first value is the default, and the last makes the full case."""
    images: dict[str, str] = DEFAULTS["letta_stack_images"]
    digest = "sha256:" + "5e" * 32
    return {
        "address": [
            {},
            {"letta_stack_listen_address": "0.0.0.0"},
            {"letta_stack_listen_address": "::1", "letta_stack_port": 80},
        ],
        "place": [{}, {"letta_stack_project": "agents-2", "letta_stack_directory": "/srv/agents_2"}],
        "images": [
            {},
            {"letta_stack_images": {name: f"registry.example.com:5000/{image}" for name, image in images.items()}},
            {"letta_stack_images": {name: f"{image.split(':')[0]}@{digest}" for name, image in images.items()}},
        ],
        "environment": [
            {},
            {"letta_stack_environment": {"LETTA_DEBUG": False, "OPENROUTER_TITLE": 'Costs $5: "five" # ${HOME} \\ {{'}},
            {
                "letta_stack_environment": {
                    "ANTHROPIC_API_KEY": f"sk-ant-{MARK}",
                    "LETTA_CORS_ORIGINS": ["https://agents.example.com"],
                    "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example.com:4317",
                    "OPENAI_API_KEY": f"sk-{MARK}$1",
                    "TZ": "Europe/Zurich",
                }
            },
        ],
        "secrets": [
            {},
            {
                "letta_stack_server_password": f"Server{MARK}1",
                "letta_stack_db_password": f"Database{MARK}1",
                "letta_stack_db_superuser_password": f"Superuser{MARK}1",
                "letta_stack_encryption_key": f"Encryption-{MARK}$1",
            },
        ],
        "database": [
            {},
            {"letta_stack_db_port": 15432, "letta_stack_db_listen_address": "::1"},
            *_EXTERNAL,
            {**_TLS, "letta_stack_db_port": 5433},
        ],
        "redis": [{}, {"letta_stack_external_redis": {"host": "redis.example.com"}}, {"letta_stack_redis_port": 16379}],
        "timeouts": [
            {},
            {"letta_stack_stream_timeout": 10, "letta_stack_drain_timeout": 0},
            {"letta_stack_stream_timeout": 1800, "letta_stack_drain_timeout": 3600},
        ],
        "limits": [
            {},
            {"letta_stack_limits": {name: {"memory": "1536m"} for name in SERVICES[variant]}},
            {"letta_stack_limits": {name: {"memory": "3g", "cpus": 0.5, "pids": 99} for name in SERVICES[variant]}},
        ],
        "shared memory": [{}, {"letta_stack_db_shm_size": "1g"}],
        "logs": [
            {},
            {"letta_stack_log_driver": "json-file", "letta_stack_log_options": {"max-size": "1m", "max-file": "2"}},
        ],
    }


def services(variant: str, settings: Settings) -> list[str]:
    """Give the services of a case in their order: those of the variant without those that somebody else runs."""
    elsewhere = [service for setting, service in _ELSEWHERE.items() if settings.get(setting)]
    return [service for service in SERVICES[variant] if service not in elsewhere]


def options(variant: str) -> Options:
    """Give the options of a variant by name, each with its values."""
    return {name: values for name, values in {**_common(variant), **VARIANTS[variant].options}.items() if values}


def _with(variant: str, chosen: Iterable[Settings]) -> Settings:
    """Give the settings of a case of a variant, with a value of each option."""
    settings: Settings = {"letta_stack_variant": variant, **VARIANTS[variant].needs}
    for value in chosen:
        settings |= value
    return settings


def golden_cases(variant: str) -> dict[str, Settings]:
    """Give the settings of the cases that are kept as golden files, by name."""
    return {"minimal": _with(variant, []), "full": _with(variant, (values[-1] for values in options(variant).values()))}


def value_cases(variant: str) -> dict[str, Settings]:
    """Give the settings of the fewest cases in which every value of every option is chosen, and the golden ones."""
    chosen = options(variant).values()
    # The first value of all of them is the minimal case.
    cases = {
        f"values-{number}": _with(variant, (values[number % len(values)] for values in chosen))
        for number in range(1, max(map(len, chosen)))
    }
    return {**golden_cases(variant), **cases}


def pair_cases(variant: str) -> dict[str, Settings]:
    """Give the settings of the cases in which all options meet pair by pair, and the golden ones."""
    cases = {
        f"pairs-{number:02}": _with(variant, chosen.values())
        for number, chosen in enumerate(pairwise(options(variant)), start=1)
    }
    return {**golden_cases(variant), **cases}


def published(variant: str, settings: Settings) -> dict[str, set[str]]:
    """Give what a case asks to be published, by service: ADDRESS:PORT:PORT OF THE CONTAINER."""
    known = {
        name: f"[{value}]" if name.endswith("_address") and ":" in str(value) else value
        for name, value in {**DEFAULTS, **settings}.items()
    }
    found: dict[str, set[str]] = {}
    for service, template in VARIANTS[variant].publishes:
        address, port, target = template.format_map(known).rsplit(":", 2)
        if service in services(variant, settings) and port not in ("", "0"):
            found.setdefault(service, set()).add(f"{address}:{port}:{target}")
    return found
