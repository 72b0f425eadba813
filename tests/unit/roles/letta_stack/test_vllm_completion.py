# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that a model completes: it passes with an answer, and says what is wrong with anything else."""

from __future__ import annotations

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[4] / "roles" / "letta_stack" / "files" / "vllm-completion.py"
MODELS = {"data": [{"id": "oak", "max_model_len": 16384}]}
COMPLETION = {"choices": [{"message": {"role": "assistant", "content": "yes"}}], "usage": {"completion_tokens": 1}}


class Vllm(BaseHTTPRequestHandler):
    """A server that is healthy, and answers a completion with what its test says."""

    def do_GET(self):
        self.answer(200, MODELS)

    def do_POST(self):
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.server.completion is None:
            self.close_connection = True
            return
        self.answer(*self.server.completion)

    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vllm)
    server.asked, server.completion = [], (200, COMPLETION)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def script(server):
    spec = importlib.util.spec_from_file_location("vllm_completion", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PORT = server.server_port
    return module


def test_it_asks_as_letta_does(script, server):
    script.main(["oak", "16384"])
    (request,) = server.asked
    assert request["model"] == "oak"
    assert request["tool_choice"] == "auto"
    assert request["tools"]


@pytest.mark.parametrize(
    ("arguments", "completion", "message"),
    [
        (
            ["elm", "16384"],
            (200, COMPLETION),
            "elm with a context of 16384 tokens is not what it serves: {'oak': 16384}",
        ),
        (["oak", "4096"], (200, COMPLETION), "oak with a context of 4096 tokens is not what it serves"),
        (["oak", "16384"], (500, {"error": "EngineDeadError"}), "gave 500: .*EngineDeadError"),
        (["oak", "16384"], (200, {"choices": []}), "no completion: 'usage'"),
        (["oak", "16384"], (200, {**COMPLETION, "usage": {"completion_tokens": 0}}), "holds no completion"),
        (["oak", "16384"], None, "no completion: "),
        (["oak"], (200, COMPLETION), "usage: "),
        (["oak", "many"], (200, COMPLETION), "usage: "),
    ],
)
def test_anything_else_than_an_answer_of_the_model_fails(script, server, arguments, completion, message):
    server.completion = completion
    with pytest.raises(SystemExit, match=message):
        script.main(arguments)


def test_a_server_that_is_gone_fails(script, server):
    script.PORT = 9
    with pytest.raises(SystemExit, match=r"no completion: .*refused"):
        script.main(["oak", "16384"])
