"""Beside the middlewares of deploy/middleware: the one of Python as a module, and a portal that allows each request."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.shipped_modules import load


def shipped() -> Any:
    """Load deploy/middleware/portal_asgi.py, which is a file to copy and no module of the portal."""
    return load("middleware/portal_asgi.py")


class AllowingPortal(ThreadingHTTPServer):
    """Allow each request, and keep its request line and header names. ``may_answer`` cleared: answers wait."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.lines: list[str] = []
        self.names: list[list[str]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.may_answer.set()
        self.shutdown()
        self.server_close()
        self._thread.join()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AllowingPortal

    def do_GET(self) -> None:
        self.server.lines.append(self.requestline)
        self.server.names.append(sorted(name.lower() for name in self.headers))
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.may_answer.wait()
        self.send_response(200)
        self.send_header("X-Portal-Security", "signed")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass
