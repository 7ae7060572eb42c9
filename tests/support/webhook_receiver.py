"""A receiver of webhooks: a real HTTP server that verifies every message with the official library.

``python -m tests.support.webhook_receiver PORT FILE``, with the secrets as a JSON list on a line of the standard input,
is one in a process of its own, which `ReceiverProcess` starts and kills.
"""

import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.production import ROOT
from tests.support.servers import die_with_parent, free_port

#: What a receiver does with a message, by its number of the request: a status, or a name of `_Handler`.
Behaviour = Callable[[int], int | str]


def url_at(port: int) -> str:
    return f"http://127.0.0.1:{port}/portal"


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
    #: 0: a free one.
    port: int = 0
    #: Called with each message before it is answered, one at a time.
    store: Callable[[Received], object] = lambda _received: None
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
                    receiver.store(receiver.received[-1])
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
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = int(self.server.server_address[1])
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
    def url(self) -> str:
        return url_at(self.port)

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


class ReceiverProcess:
    """A receiver that can be killed, and started again at its address. It stores a message, then answers."""

    def __init__(self, directory: Path) -> None:
        self.port, self.file = free_port(), directory / "received"
        self.url, self.secrets = url_at(self.port), list[str]()
        self.process: subprocess.Popen[str]

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self.port), str(self.file)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(self.secrets) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def documents(self) -> list[Any]:
        """Return the verified bodies in the order in which they arrived, None for what did not verify."""
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        return [json.loads(line) for line in lines]


def main(port: int, file: Path) -> None:
    secrets = json.loads(sys.stdin.readline())
    with file.open("ab", buffering=0) as lines:

        def store(message: Received) -> None:
            # In one write, so that no kill leaves a part of a line.
            lines.write(json.dumps(message.document).encode() + b"\n")

        with Receiver(secrets, port=port, store=store):
            print("ready", flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
