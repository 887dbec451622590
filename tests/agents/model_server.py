"""A small local model server: the OpenAI chat API and the Anthropic messages API, streamed or whole. Only the standard library.

    python model_server.py [--port N] [--delay-ms MS] [--tls CERTIFICATE KEY]

Prints ``listening on http://127.0.0.1:PORT`` (and, with --tls, ``listening on https://localhost:PORT``) and serves until it is
ended. It is no model: model_answers.py makes up what it says.
"""

from __future__ import annotations

import argparse
import json
import random
import ssl
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from model_answers import answer, chat_completion, chat_events, message, message_events

KEY = "sk-local-demo"


class Handler(BaseHTTPRequestHandler):
    """``POST /v1/chat/completions``, ``POST /v1/messages`` and ``GET /v1/models``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    delay_s = 0.0

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            self.send_error(404)
            return
        self._send_json({"object": "list", "data": [{"id": "little-model", "object": "model"}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if KEY not in (self.headers.get("Authorization", "").removeprefix("Bearer "), self.headers.get("x-api-key")):
            self.send_error(401)
            return
        said = answer(request)
        whole, stream = request.get("model") != "little-model", bool(request.get("stream"))
        if whole:
            time.sleep(random.uniform(0, 8) * self.delay_s)  # who of several askers is first is up to chance
        match self.path, stream:
            case "/v1/chat/completions", True:
                self._send_stream((None, event) for event in chat_events(said))
            case "/v1/chat/completions", False:
                self._send_json(chat_completion(said))
            case "/v1/messages", True:
                self._send_stream((event["type"], event) for event in message_events(said))
            case "/v1/messages", False:
                self._send_json(message(said))
            case _:
                self.send_error(404)

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_stream(self, events: Iterable[tuple[str | None, dict[str, Any]]]) -> None:
        """Server-sent events, one chunk each; those of the chat API have no names and a last word."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        name = None
        for name, event in events:
            head = f"event: {name}\n" if name else ""
            self._send_chunk(f"{head}data: {json.dumps(event)}\n\n".encode())
            if self.delay_s:
                time.sleep(self.delay_s)
        if name is None:
            self._send_chunk(b"data: [DONE]\n\n")
        self._send_chunk(b"")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the agent's transcript is what a person reads."""


class TlsServer(ThreadingHTTPServer):
    """The same over TLS; each connection shakes hands in its own thread."""

    def __init__(self, address: tuple[str, int], certificate: str, key: str) -> None:
        super().__init__(address, Handler)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(Handler.timeout)
        with self.context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--delay-ms", type=float, default=1.0, help="between two pieces of an answer")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="serve HTTPS too, on a port of its own")
    options = parser.parse_args()
    Handler.delay_s = options.delay_ms / 1000
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    if options.tls:
        secure = TlsServer(("127.0.0.1", 0), *options.tls)
        print(f"listening on https://localhost:{secure.server_port}", flush=True)
        threading.Thread(target=secure.serve_forever, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
