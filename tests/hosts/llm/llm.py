"""A provider of language models with the API of OpenAI, as far as Letta uses it, that streams at a walking pace.

It serves one model, `tiny`, which answers everything with the same words, one each 0.4 seconds.
"""

# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = ["Slow", " and", " steady", " is", " how", " this", " model", " speaks", "."]
PAUSE = 0.4
USAGE = {"prompt_tokens": 10, "completion_tokens": len(WORDS), "total_tokens": 10 + len(WORDS)}


class Provider(BaseHTTPRequestHandler):
    """Answers /v1/models and /v1/chat/completions."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """List the one model, whatever is asked."""
        self._send({"object": "list", "data": [{"id": "tiny", "object": "model", "max_model_len": 32768}]})

    def do_POST(self) -> None:
        """Complete a chat, as a stream when that is asked for."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if request.get("stream"):
            self._stream()
            return
        time.sleep(PAUSE * len(WORDS))
        message = {"role": "assistant", "content": "".join(WORDS)}
        self._send(self._completion("chat.completion", {"message": message, "finish_reason": "stop"}, USAGE))

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self._event(self._completion("chat.completion.chunk", {"delta": {"role": "assistant", "content": ""}}))
        for word in WORDS:
            time.sleep(PAUSE)
            self._event(self._completion("chat.completion.chunk", {"delta": {"content": word}}))
        self._event(self._completion("chat.completion.chunk", {"delta": {}, "finish_reason": "stop"}, USAGE))
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    @staticmethod
    def _completion(kind: str, choice: dict, usage: dict | None = None) -> dict:
        return {
            "id": "chatcmpl-1",
            "object": kind,
            "created": int(time.time()),
            "model": "tiny",
            "choices": [{"index": 0, "finish_reason": None, **choice}],
            "usage": usage,
        }

    def _event(self, completion: dict) -> None:
        self.wfile.write(f"data: {json.dumps(completion)}\n\n".encode())
        self.wfile.flush()

    def _send(self, answer: dict) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8000), Provider).serve_forever()
