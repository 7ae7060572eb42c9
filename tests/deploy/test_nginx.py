"""The nginx in front of the portal: the file that operators get, in a real nginx, with a caller who lies."""

import gzip
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.portal_nginx import HOST, PortalNginx


class Echo(BaseHTTPRequestHandler):
    """Says as JSON what arrived."""

    protocol_version = "HTTP/1.1"

    #: What this one answers with 404, as a server of the version before does to the files of the new one.
    lacks = "/nothing"

    def do_GET(self) -> None:
        if self.path.startswith(self.lacks):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps(
            {
                "path": self.path,
                "headers": [list(pair) for pair in self.headers.items()],
                "port": self.connection.getsockname()[1],
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


class OldEcho(Echo):
    lacks = "/static/new"


class Front:
    """nginx before two of `Echo`."""

    def __init__(self, directory: Path) -> None:
        self.old, self.new = (ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (OldEcho, Echo))
        self.state, self.drain = directory / "state", directory / "drain"
        for each in (self.state / "static", self.drain):
            each.mkdir(parents=True)
        self.nginx = PortalNginx(
            directory, self.old.server_port, self.new.server_port, state=self.state, drain=self.drain
        )
        self.plain, self.tls, self.directory = self.nginx.plain, self.nginx.tls, directory
        for server in (self.old, self.new):
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(self, path: str, headers: dict[str, str] | None = None, host: str = HOST) -> tuple[int, Any]:
        answer, body = self.answer(path, headers, host)
        return answer.status, json.loads(body) if answer.status == 200 else body

    def answer(
        self, path: str, headers: dict[str, str] | None = None, host: str = HOST
    ) -> tuple[http.client.HTTPResponse, bytes]:
        context = self.nginx.context
        connection = http.client.HTTPSConnection("127.0.0.1", self.tls, timeout=10, context=context)
        raw = socket.create_connection(("127.0.0.1", self.tls), 10)
        try:
            connection.sock = context.wrap_socket(raw, server_hostname=host)
        except ssl.SSLError:
            raw.close()
            raise
        connection.request("GET", path, headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def stop(self) -> None:
        for server in (self.old, self.new):
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    front = Front(tmp_path_factory.mktemp("nginx"))
    with front.nginx:
        yield front
    front.stop()


def test_nginx_says_who_calls_and_nobody_else_does(front: Front) -> None:
    forged = {
        "X-Forwarded-For": "198.51.100.1", "X_Forwarded_For": "198.51.100.2", "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example", "Forwarded": "for=198.51.100.3", "X-Real-IP": "198.51.100.4",
    }  # fmt: skip
    status, seen = front.ask("/keys/?a=b%2Fc&d", forged)
    assert (status, seen["path"]) == (200, "/keys/?a=b%2Fc&d")
    headers: dict[str, list[str]] = {}
    for name, value in seen["headers"]:
        headers.setdefault(name.lower(), []).append(value)
    assert headers["x-forwarded-for"] == ["127.0.0.1"]
    assert headers["x-forwarded-proto"] == ["https"]
    assert headers["host"] == [HOST]
    assert {"x_forwarded_for", "x-forwarded-host", "forwarded"} & set(headers) == set()


def test_nginx_compresses_pages_but_not_those_that_show_a_secret_again(front: Front) -> None:
    headers = {"Accept-Encoding": "gzip", "X-Long": "a" * 2000}
    for path in ("/dashboard/", "/keys/", "/help/create/", "/settings/", "/login/"):
        answer, body = front.answer(path, headers)
        assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip"), path
        assert len(body) < 1000
    for path in (
        "/enrol/totp/",
        "/enrol/recovery-codes/",
        "/settings/totp/new/",
        "/settings/recovery-codes/new/",
    ):
        assert front.answer(path, headers)[0].headers["Content-Encoding"] is None, path
    # Another way to write the same address.
    assert front.answer("/settings//totp/new/", headers)[0].headers["Content-Encoding"] is None
    assert front.answer("/%65nrol/totp/", headers)[0].headers["Content-Encoding"] is None


def test_nginx_keeps_metrics_and_the_authorization_api_inside(front: Front) -> None:
    for path in ("/metrics", "/readyz", "/gateway/v1/auth", "//metrics", "/%6detrics"):
        assert front.ask(path)[0] == 404, path
    assert front.ask("/healthz")[0] == 200


def test_nginx_writes_no_one_time_link_and_no_query_into_its_log(front: Front) -> None:
    for path in ("/n/Secr3tPart/", "/signup/invited/Secr3tPart/", "/sapi/v1/x?signature=Secr3tPart"):
        assert front.ask(path)[0] == 200
    log = front.directory / "access.log"
    deadline = time.monotonic() + 10
    while "/sapi/v1/x" not in log.read_text("utf-8") and time.monotonic() < deadline:
        time.sleep(0.05)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert {"/n/(hidden)", "/signup/invited/(hidden)", "/sapi/v1/x"} <= {line["path"] for line in lines}
    assert "Secr3tPart" not in log.read_text("utf-8")


def test_nginx_answers_no_other_name_and_sends_plain_http_to_https(front: Front) -> None:
    with pytest.raises(ssl.SSLError):
        front.ask("/", host="other.example")
    connection = http.client.HTTPConnection("127.0.0.1", front.plain, timeout=10)
    connection.request("GET", "/login/?next=/keys/", headers={"Host": HOST})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}/login/?next=/keys/")
    connection.close()


def test_nginx_sends_static_files_itself_and_asks_the_portal_for_those_it_lacks(front: Front) -> None:
    content = {"main.0123456789ab.css": b"a{}\n" * 500, "icons.0123456789ab.svg": b"<svg/>"}
    for name, data in content.items():
        (front.state / "static" / name).write_bytes(data)
    (front.state / "static/main.0123456789ab.css.gz").write_bytes(
        gzip.compress(content["main.0123456789ab.css"])
    )
    (front.state / "private").write_text("not static")
    for name, kind in (
        ("main.0123456789ab.css", "text/css; charset=utf-8"),
        ("icons.0123456789ab.svg", "image/svg+xml"),
    ):
        answer, body = front.answer(f"/static/{name}")
        assert (answer.status, body, answer.headers["Content-Type"]) == (200, content[name], kind)
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    answer, body = front.answer("/static/main.0123456789ab.css", {"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == content["main.0123456789ab.css"]
    assert front.ask("/static/elsewhere.css")[1]["path"] == "/static/elsewhere.css"
    for path in ("/static/../private", "/static/%2e%2e/private", "/static..%2fprivate", "/private"):
        assert b"not static" not in front.answer(path)[1], path


def test_a_server_that_is_drained_gets_no_request(front: Front) -> None:
    for name, server in (("a", front.old), ("b", front.new)):
        other = front.new if server is front.old else front.old
        (front.drain / name).touch()
        answers = [
            front.ask(path)[1] for path in ("/keys/", "/static/none.css", "/api/v3/time") for _ in range(4)
        ]
        assert {answer["port"] for answer in answers} == {other.server_port}
        (front.drain / name).unlink()
    assert len({front.ask("/keys/")[1]["port"] for _ in range(6)}) == 2


def test_an_upgrade_is_seen_by_nobody(front: Front) -> None:
    """Files of the new version while one server is of the old one; then that one is gone for a while."""
    assert {front.ask("/static/new.css")[0] for _ in range(6)} == {200}
    front.old.shutdown()
    front.old.server_close()
    assert {front.ask("/dashboard/")[0] for _ in range(6)} == {200}


def test_people_read_in_their_language_that_no_server_answers(tmp_path: Path) -> None:
    front = Front(tmp_path)
    front.stop()
    with front.nginx:
        for cookie, text in (
            ("", "در دسترس نیست"),
            ("a=b; __Host-language=en", "temporarily unavailable"),
            ("language=fa; b=language=en", "در دسترس نیست"),
        ):
            answer, body = front.answer("/keys/", {"Cookie": cookie})
            assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
            assert answer.headers["Content-Type"] == "text/html"
            assert text in body.decode()


def test_nginx_answers_programs_for_bytes_that_the_portals_server_does_not_take(front: Front) -> None:
    context = front.nginx.context

    def answer(target: bytes) -> bytes:
        result = b""
        with (
            socket.create_connection(("127.0.0.1", front.tls), 10) as raw,
            context.wrap_socket(raw, server_hostname=HOST) as peer,
        ):
            peer.sendall(
                b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (target, HOST.encode())
            )
            while piece := peer.recv(65_536):
                result += piece
        return result

    for byte in (b'"', b"<", b">", b"\x80", b"\xd8", b"\xff", "ü".encode()):
        for path in (b"/sapi/v1/account/apiRestrictions", b"/api/v3/time"):
            head, _, body = answer(path + b"?note=" + byte + b"&timestamp=1").partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 "), byte
            assert b"Content-Type: application/json" in head
            assert json.loads(body) == {"code": -1022, "msg": "Signature for this request is not valid."}
    assert json.loads(answer(b"/api/v3/time?note=%22&a=b").partition(b"\r\n\r\n")[2])["path"].endswith(
        "%22&a=b"
    )
    assert answer(b"/api/v3/time?note=\x7f").startswith(b"HTTP/1.1 400 ")
