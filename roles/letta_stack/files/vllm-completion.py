# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have vLLM complete a chat, as Letta asks for it: ``vllm-completion.py MODEL CONTEXT``.

vLLM says that it is healthy before it has computed anything, also with a model that it cannot compute. This runs in its
container and exits with 0 only after the model of that name, with that length of context, has answered, with a tool to
choose from.
"""

from __future__ import annotations

import http.client
import json
import sys
from typing import Any

PORT = 8000
SECONDS = 110

TOOL = {
    "type": "function",
    "function": {
        "name": "send_message",
        "description": "Say something.",
        "parameters": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
    },
}


class WrongAnswerError(Exception):
    """It answered, and not as it should; the message says how."""


def ask(method: str, path: str, body: object = None) -> Any:
    """Return what the API of this container answers, as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=SECONDS)
    try:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise WrongAnswerError(f"{method} {path} gave {answer.status}: {content[:500].decode(errors='replace')}")
    return json.loads(content)


def prove(model: str, context: int) -> None:
    """Raise WrongAnswerError where the model is not served as it should be."""
    lengths = {entry["id"]: entry["max_model_len"] for entry in ask("GET", "/v1/models")["data"]}
    if lengths.get(model) != context:
        raise WrongAnswerError(f"{model} with a context of {context} tokens is not what it serves: {lengths}")
    request = {
        "model": model,
        "messages": [{"role": "system", "content": "You answer."}, {"role": "user", "content": "Say yes."}],
        "tools": [TOOL],
        "tool_choice": "auto",
        "max_completion_tokens": 8,
    }
    answer = ask("POST", "/v1/chat/completions", request)
    if not answer["usage"]["completion_tokens"] or "message" not in answer["choices"][0]:
        raise WrongAnswerError(f"the answer holds no completion: {json.dumps(answer)[:500]}")


def main(arguments: list[str]) -> None:
    """Exit with what is wrong, or return."""
    if len(arguments) != 2 or not arguments[1].isdecimal():
        sys.exit("usage: vllm-completion.py MODEL CONTEXT")
    try:
        prove(arguments[0], int(arguments[1]))
    except (OSError, http.client.HTTPException, WrongAnswerError, ValueError, LookupError, TypeError) as error:
        sys.exit(f"no completion: {error or repr(error)}")


if __name__ == "__main__":
    main(sys.argv[1:])
