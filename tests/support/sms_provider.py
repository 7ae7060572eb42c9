"""SMS provider for tests on 127.0.0.1, with the documented protocols of Kavenegar, SMS.ir and the webhook.

``mode`` selects a failure. ``received`` has every complete request, also those that were refused.
"""

import json
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

API_KEY = "4B65795F6F665F7468655F74657374733D/+="  # with characters that must be escaped in a path
QUOTED_KEY = "4B65795F6F665F7468655F74657374733D%2F%2B%3D"
SECONDS = 5.0  # the longest that a mode delays a caller
#: The modes, and the `ProviderError.reason` that they cause; None if it depends on the protocol.
MODES = {
    "delay": "ReadTimeout",
    "drip body": "Deadline",
    "drip head": "Deadline",
    "down": "HTTP 503",
    "reset": "ReadError",
    "garbage": "RemoteProtocolError",
    "bad header": "RemoteProtocolError",
    "not json": "HTTP 200, not understood",
    "deep json": "HTTP 200, not understood",
    "shape": "HTTP 200, not understood",
    "large": "TooLong",
    "redirect": "HTTP 302",
    "refuse": None,
    "refuse message": None,
}


@dataclass(frozen=True)
class ReceivedRequest:
    path: str
    headers: dict[str, str]
    fields: dict[str, Any]


class ProviderServer(ThreadingHTTPServer):
    """``with ProviderServer() as provider``: listens at ``provider.url`` until the end of the block."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        self.mode = "ok"
        self.received: list[ReceivedRequest] = []
        self.sent: dict[str, int] = {}  # by localid: Kavenegar sends nothing twice
        self.closing = threading.Event()
        self.client_waited = False  # whether a client waited until the end of a slow response

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: in several modes the client closes the connection."""


class Handler(BaseHTTPRequestHandler):
    server: ProviderServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:  # only for a followed redirect
        self.server.received.append(ReceivedRequest(self.path, {}, {}))
        self._send_json(200, {"return": {"status": 200}, "status": 1, "id": "1"})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        fields = {k: v[0] for k, v in parse_qs(raw, strict_parsing=True).items()} if form else json.loads(raw)
        self.server.received.append(ReceivedRequest(self.path, dict(self.headers), fields))
        status, answer = self._response(fields)
        self._respond(self.server.mode, status, json.dumps(answer).encode())

    def _response(self, fields: dict[str, Any]) -> tuple[int, Any]:
        if self.server.mode == "shape":
            return 200, [{"return": 200, "status": "1"}]
        if self.path.endswith(".json"):
            return self._kavenegar(fields)
        if self.path == "/v1/send/bulk":
            return self._smsir()
        refused = {"refuse": 401, "refuse message": 422}.get(self.server.mode)
        return (refused, {"error": "no"}) if refused else (202, {"id": "own-77"})

    def _kavenegar(self, fields: dict[str, Any]) -> tuple[int, Any]:
        status = {"refuse": 418, "refuse message": 411}.get(self.server.mode, 200)
        if self.path.split("/")[2] != QUOTED_KEY:
            status = 403
        if status != 200:
            return status, {"return": {"status": status, "message": fields["message"]}, "entries": None}
        number = len(self.server.sent) + 8_792_343
        number = self.server.sent.setdefault(fields.get("localid", str(number)), number)
        entry = {"messageid": number, "message": fields["message"], "status": 1, "cost": 120}
        return 200, {"return": {"status": 200, "message": "تایید شد"}, "entries": [entry]}

    def _smsir(self) -> tuple[int, Any]:
        status = {"refuse": 102, "refuse message": 104}.get(self.server.mode, 1)
        if self.headers["X-API-KEY"] != API_KEY:
            return 401, {"status": 10, "message": "no", "data": None}
        data = {"packId": "a40a2f34-b4d1-4d0e-8d16-b4d1", "messageIds": [89545112], "cost": 1.0}
        return (200, {"status": 1, "data": data}) if status == 1 else (400, {"status": status, "data": None})

    def _respond(self, mode: str, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.close_connection = True
        if mode == "delay":
            self.server.closing.wait(SECONDS)
        if mode == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        head, body = self._faulty(mode) or (head, body)
        for part, dripping in ((head, mode == "drip head"), (body, mode == "drip body")):
            if dripping:
                self._drip(part)
            else:
                self.wfile.write(part)

    def _faulty(self, mode: str) -> tuple[bytes, bytes] | None:
        if mode == "down":
            return b"HTTP/1.1 503 Down\r\nContent-Length: 2\r\n\r\n", b"{}"
        if mode == "redirect":
            where = f"{self.server.url}/elsewhere".encode()
            return b"HTTP/1.1 302 Found\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n", b""
        if mode == "garbage":
            return b"\x00\x01 nothing of HTTP\r\n\r\n", b""
        if mode in ("bad header", "not json", "deep json", "large"):
            page = b"<html>200</html>"
            body = {"large": b"[" + b"1," * 500_000, "deep json": b"[" * 60_000}.get(mode, page)
            bad = b"no header at all\r\n" if mode == "bad header" else b""
            return b"HTTP/1.1 200 OK\r\n" + bad + f"Content-Length: {len(body)}\r\n\r\n".encode(), body
        return None

    def _drip(self, data: bytes) -> None:
        """Send single bytes slowly, and the rest after SECONDS: a client that waits gets a complete, valid response."""
        for number, byte in enumerate(data):
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if number * 0.05 < SECONDS and self.server.closing.wait(0.05):
                return
        self.server.client_waited = True

    def _send_json(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.wfile.write(f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
