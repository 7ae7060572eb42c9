"""The nginx in front of the portal: the file that operators get, in a real nginx, with a caller who lies."""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import unavailable
from tests.support.production import ROOT
from tests.support.servers import die_with_parent, free_port, nginx_temporary

HOST = "keys.example.com"


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
            {"path": self.path, "headers": [list(pair) for pair in self.headers.items()]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


def certificate(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "tls-certificate").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "tls-key").write_bytes(key.private_bytes(*form))


class OldEcho(Echo):
    lacks = "/static/new"


class Front:
    """nginx with deploy/nginx/portal.conf before two of `Echo`; only ports, paths and addresses are replaced."""

    def __init__(self, directory: Path, nginx: str) -> None:
        self.old, self.new = (ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (OldEcho, Echo))
        self.plain, self.tls = free_port(), free_port()
        self.directory = directory
        certificate(directory)
        text = (ROOT / "deploy/nginx/portal.conf").read_text(encoding="utf-8")
        for old, new in (
            ("portal-a:8000", f"127.0.0.1:{self.old.server_port}"),
            ("portal-b:8000", f"127.0.0.1:{self.new.server_port}"),
            ("listen 8080", f"listen 127.0.0.1:{self.plain}"),
            ("listen 8443", f"listen 127.0.0.1:{self.tls}"),
            ("/run/secrets", str(directory)),
            ("/dev/stdout", f"{directory}/access.log"),
            ("/dev/stderr", f"{directory}/error.log"),
        ):
            assert old in text
            text = text.replace(old, new)
        (directory / "nginx.conf").write_text(
            f"daemon off; pid {directory}/pid; error_log {directory}/error.log; events {{}}\n"
            f"http {{ {nginx_temporary(directory)}\n{text} }}"
        )
        command = [
            nginx,
            "-e",
            f"{directory}/error.log",
            "-c",
            f"{directory}/nginx.conf",
            "-p",
            str(directory),
        ]
        for server in (self.old, self.new):
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.process = subprocess.Popen(command, preexec_fn=die_with_parent, stdin=subprocess.DEVNULL)

    def ask(self, path: str, headers: dict[str, str] | None = None, host: str = HOST) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=str(self.directory / "tls-certificate"))
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
        return answer.status, json.loads(body) if answer.status == 200 else body

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        for server in (self.old, self.new):
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        unavailable("nginx is not installed")
        raise AssertionError
    front = Front(tmp_path_factory.mktemp("nginx"), nginx)
    deadline = time.monotonic() + 20
    while not (front.directory / "pid").exists() and time.monotonic() < deadline:
        assert front.process.poll() is None, (front.directory / "error.log").read_text()
        time.sleep(0.05)
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


def test_an_upgrade_is_seen_by_nobody(front: Front) -> None:
    """Files of the new version while one server is of the old one; then that one is gone for a while."""
    assert {front.ask("/static/new.css")[0] for _ in range(6)} == {200}
    front.old.shutdown()
    front.old.server_close()
    assert {front.ask("/dashboard/")[0] for _ in range(6)} == {200}


def test_nginx_answers_programs_for_bytes_that_the_portals_server_does_not_take(front: Front) -> None:
    context = ssl.create_default_context(cafile=str(front.directory / "tls-certificate"))

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
