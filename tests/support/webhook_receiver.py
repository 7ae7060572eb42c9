"""A receiver of webhooks: a real HTTP server that verifies every message with the official library."""

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

#: What a receiver does with a message, by its number of the request: a status, or a name of `_Handler`.
Behaviour = Callable[[int], int | str]


@dataclass
class Received:
    """``document``: the verified body; None if no secret of the receiver verifies it."""

    headers: dict[str, str]
    document: Any
    raw: bytes

    @property
    def number(self) -> Any:
        return self.document["data"]["number"]


@dataclass
class Receiver:
    secrets: list[str] = field(default_factory=list)
    behaviour: Behaviour = lambda _n: 204
    certificate: Path | None = None
    received: list[Received] = field(default_factory=list)
    #: The largest number of requests that were in work at once.
    most_at_once: int = 0

    def __enter__(self) -> Self:
        receiver = self
        lock = threading.Lock()
        state = {"now": 0, "count": 0}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                if len(raw) < int(self.headers["Content-Length"]):
                    return  # the sender was killed while it sent
                with lock:
                    state["now"] += 1
                    state["count"] += 1
                    receiver.most_at_once = max(receiver.most_at_once, state["now"])
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    receiver.received.append(Received(headers, receiver.verify(headers, raw), raw))
                    behaviour = receiver.behaviour(state["count"])
                try:
                    self.answer(behaviour)
                finally:
                    with lock:
                        state["now"] -= 1

            def answer(self, behaviour: int | str) -> None:
                if behaviour == "never":
                    receiver.released.wait(60)
                elif behaviour == "garbage":
                    self.wfile.write(b"\x00\xffnot HTTP at all\r\n\r\n")
                elif behaviour == "endless":
                    self.send_response(200)
                    self.end_headers()
                    try:
                        while not receiver.released.is_set():
                            self.wfile.write(b"garbage" * 1000)
                            time.sleep(0.01)
                    except OSError:
                        pass
                else:
                    assert isinstance(behaviour, int)
                    self.send_response(behaviour)
                    if 300 <= behaviour < 400:
                        self.send_header("Location", receiver.url + "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """Clients that close the connection are expected."""

        self.released = threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/portal"

    def verify(self, headers: dict[str, str], raw: bytes) -> Any:
        for secret in self.secrets:
            try:
                return Webhook(secret).verify(raw, headers)
            except WebhookVerificationError:
                continue
        return None

    @property
    def numbers(self) -> list[Any]:
        return [json.loads(each.raw)["data"]["number"] for each in self.received]

    def events(self) -> list[str]:
        return [json.loads(each.raw)["data"]["event"] for each in self.received]
