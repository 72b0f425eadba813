# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring what Letta remembers of vLLM in line with the vLLM that it is told of, before each start of the server.

Letta 0.16.8 writes a provider's URL down once, into the provider's row and into every agent, and never again. It marks
a model as deleted when the provider stops serving it, and cannot take it back when the provider serves it again: the
new row would collide with the marked one, and is dropped without a word. A provider that was taken away and comes back
stays marked, too. So, in one transaction that changes nothing where all is right:

* the provider has the URL that VLLM_API_BASE says, and is there;
* the models that it serves now are there, with the length of context that it serves them with;
* agents of the provider ask it at that URL, and ask for no longer a context than it gives.

The launcher runs it, in the server's image; and once more in the container of before when a rollout was taken back.
"""

from __future__ import annotations

import importlib
import os
import ssl
import sys
from collections.abc import Mapping
from typing import Any

SECONDS = 30

# Users' own providers have an organization; the server's own have none.
MEND_PROVIDER = """
UPDATE providers SET base_url = :url, is_deleted = false, updated_at = now()
WHERE name = 'vllm' AND organization_id IS NULL AND (base_url IS DISTINCT FROM :url OR is_deleted)
"""
LEAD_AGENTS = """
UPDATE agents SET llm_config = jsonb_set(llm_config::jsonb, '{model_endpoint}', to_jsonb(CAST(:url AS text)))::json
WHERE llm_config->>'provider_name' = 'vllm' AND coalesce(llm_config->>'provider_category', 'base') = 'base'
    AND llm_config->>'model_endpoint' IS DISTINCT FROM :url
"""
# An agent that took the whole context of before takes the whole of now; one that chose a shorter one keeps it.
FIT_AGENTS = """
UPDATE agents SET llm_config = jsonb_set(llm_config::jsonb, '{context_window}', to_jsonb(CAST(:context AS int)))::json
WHERE llm_config->>'provider_name' = 'vllm' AND coalesce(llm_config->>'provider_category', 'base') = 'base'
    AND llm_config->>'model' = :model
    AND (llm_config->>'context_window')::int <> :context
    AND ((llm_config->>'context_window')::int > :context
        OR (llm_config->>'context_window')::int IN (
            SELECT max_context_window FROM provider_models JOIN providers ON providers.id = provider_id
            WHERE providers.name = 'vllm' AND providers.organization_id IS NULL
                AND provider_models.name = :model AND model_type = 'llm'))
"""
MEND_MODEL = """
UPDATE provider_models SET is_deleted = false, max_context_window = :context, updated_at = now()
WHERE name = :model AND model_type = 'llm'
    AND provider_id IN (SELECT id FROM providers WHERE name = 'vllm' AND organization_id IS NULL)
    AND (is_deleted OR max_context_window IS DISTINCT FROM :context)
"""


def endpoint(base: str) -> str:
    """Return the URL that Letta makes of VLLM_API_BASE."""
    return base if base.endswith("/v1") else f"{base}/v1"


def served(url: str) -> dict[str, int]:
    """Ask vLLM which models it serves, as Letta asks it: the length of context in tokens, by name."""
    answer = importlib.import_module("httpx").get(f"{url}/models", timeout=SECONDS)
    answer.raise_for_status()
    return {model["id"]: int(model["max_model_len"]) for model in answer.json()["data"]}


def mend(connection: Any, url: str, models: Mapping[str, int]) -> dict[str, int]:
    """Bring the rows in line, and return how many were not: providers, agents, models. The caller commits."""
    text = importlib.import_module("sqlalchemy").text

    def rows(statement: str, **values: object) -> int:
        return int(connection.execute(text(statement), values).rowcount)

    changed = {"providers": rows(MEND_PROVIDER, url=url), "agents": rows(LEAD_AGENTS, url=url), "models": 0}
    for model, context in models.items():
        # Before the model's row forgets the length of before.
        changed["agents"] += rows(FIT_AGENTS, model=model, context=context)
        changed["models"] += rows(MEND_MODEL, model=model, context=context)
    return changed


def main(tls: ssl.SSLContext | bool | None) -> None:
    """Mend the database of LETTA_PG_URI for the vLLM of VLLM_API_BASE, whole or not at all. `tls`: pg8000's."""
    url = endpoint(os.environ["VLLM_API_BASE"])
    try:
        models = served(url)
    except Exception as error:  # noqa: BLE001  whatever keeps vLLM from answering: Letta starts without it, too
        sys.stderr.write(f"mend_providers: {url} does not say what it serves: {error}\n")
        models = {}
    # The driver that migrations use as well.
    database = os.environ["LETTA_PG_URI"].replace("postgresql://", "postgresql+pg8000://", 1)
    engine = importlib.import_module("sqlalchemy").create_engine(database, connect_args={"ssl_context": tls})
    # Commits at its end, and takes everything back when it fails.
    with engine.begin() as connection:
        changed = mend(connection, url, models)
    engine.dispose()
    told = ", ".join(f"{what}: {count}" for what, count in changed.items() if count)
    sys.stderr.write(f"mend_providers: brought in line with {url}: {told or 'nothing had to be'}\n")
