"""Attacks on the gateway over a raw socket: no request is allowed, no response is 5xx, and it stays available."""

import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from apikeys.models import ApiKey
from tests.support import people
from tests.support.binance_client import BinanceClient
from tests.support.gateways import ADDRESS, GatewayProcess, auth_headers, token

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]
IDLE = 10_000
#: Closed connections release their port at once: the machine has 28,000 ports for all tests.
RESET = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def process(kept_db: None) -> Iterator[GatewayProcess]:
    with GatewayProcess(token()) as process:
        yield process


@pytest.fixture
def gateway(process: GatewayProcess) -> Iterator[GatewayProcess]:
    yield process
    assert process.ask("GET", "/gateway/v1/openapi.json").status == 200


@pytest.fixture
def key() -> ApiKey:
    return people.key_of(people.customer())


def lines(gateway: GatewayProcess, key: ApiKey, **changed: bytes | None) -> list[bytes]:
    """Return the header lines of an allowed request, with changes (None: omitted)."""
    call = BinanceClient(key.key_id, people.secret_of(key)).call(
        "GET", "/api/v3/account", [("timestamp", str(time.time_ns() // 1_000_000))]
    )
    header_lines = {name: value.encode() for name, value in auth_headers(call).items()}
    header_lines |= {"Host": b"gateway", "Authorization": f"Bearer {gateway.bearer}".encode()}
    for name, value in changed.items():
        header_lines.pop(name.replace("_", "-"), None)
        if value is not None:
            header_lines[name.replace("_", "-")] = value
    return [name.encode() + b": " + value for name, value in header_lines.items()]


def raw(gateway: GatewayProcess, data: bytes, *, pause: bytes = b"", seconds: float = 20) -> bytes:
    """Return everything received until the server closes or sends nothing; ``pause``: sent half a second later."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=seconds) as peer:
        try:
            peer.sendall(data)
            if pause:
                time.sleep(0.5)
                peer.sendall(pause)
            peer.settimeout(3)
            received = b""
            while piece := peer.recv(65_536):
                received += piece
        except (TimeoutError, ConnectionError):
            pass
        return received


def get(header_lines: list[bytes], path: bytes = b"/gateway/v1/auth", method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" " + path + b" HTTP/1.1", *header_lines, b"Connection: close", b"", b""])


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_correct_request_is_allowed(gateway: GatewayProcess, key: ApiKey) -> None:
    assert status(raw(gateway, get(lines(gateway, key)))) == 204


@pytest.mark.parametrize("name", ["X-MBX-APIKEY", "X-Client-IP", "X-Original-URI", "X-Required-Permission"])
def test_duplicate_header_is_rejected(gateway: GatewayProcess, key: ApiKey, name: str) -> None:
    header_lines = lines(gateway, key)
    again = next(line for line in header_lines if line.startswith(name.encode() + b":"))
    assert status(raw(gateway, get([*header_lines, again]))) in (401, 403)
    assert status(raw(gateway, get([again, *header_lines]))) in (401, 403)


def test_second_original_uri_is_rejected_unless_it_is_the_same(gateway: GatewayProcess, key: ApiKey) -> None:
    header_lines = lines(gateway, key)
    uri = next(line for line in header_lines if line.startswith(b"X-Original-URI:"))
    other = uri.replace(b"X-Original-URI", b"X-Forwarded-Uri")
    assert status(raw(gateway, get([*header_lines, other]))) == 204
    assert status(raw(gateway, get([*header_lines, other + b"&a=1"]))) == 403
    assert status(raw(gateway, get([*header_lines, other, other]))) == 403
    alone = [other if line is uri else line for line in header_lines]
    assert status(raw(gateway, get(alone))) == 204


@pytest.mark.parametrize(
    "changed",
    [
        {"X_MBX_APIKEY": b"\xff" * 64},
        {"X_MBX_APIKEY": b"k" * 100_000},
        {"X_Client_IP": b"\xe9"},
        {"X_Client_IP": b"203.0.113.9, 203.0.113.9"},
        {"X_Client_IP": b"203.0.113.09"},
        {"X_Client_IP": b"::ffff:203.0.113.9%1"},
        {"X_Client_IP": None},
        {"X_Required_Permission": b"\xff"},
        {"X_Required_Permission": b""},
        {"X_Required_Permission": b"READ"},
        {"X_Required_Permission": b"read,withdraw"},
        {"X_Original_URI": b"/x?\xff"},
        {"X_Original_URI": b"/x?" + b"a=1&" * 15_000},
        {"X_Original_URI": b"http://[::1"},
        {"X_Original_URI": b""},
        {"Authorization": b"Bearer \xff"},
        {"Authorization": b"Basic aGJnd186eA=="},
        {"Authorization": b"Bearer"},
    ],
)  # fmt: skip
def test_malformed_values_are_rejected(
    gateway: GatewayProcess, key: ApiKey, changed: dict[str, bytes | None]
) -> None:
    assert status(raw(gateway, get(lines(gateway, key, **changed)))) in (400, 401, 403, 431)


def test_header_value_is_not_split_into_two_headers(gateway: GatewayProcess, key: ApiKey) -> None:
    split = lines(gateway, key, X_MBX_APIKEY=b"k\r\nX-Portal-User: 1")
    answer = raw(gateway, get(split))
    assert status(answer) in (400, 401)
    assert b"x-portal-user" not in answer.lower()


def test_oversized_bodies_are_rejected_and_slow_ones_time_out(gateway: GatewayProcess, key: ApiKey) -> None:
    header_lines = lines(gateway, key)
    assert status(raw(gateway, get([*header_lines, b"X-More: " + b"a" * 1_000_000]))) in (0, 400, 431)
    assert status(raw(gateway, get([*header_lines, *(b"X-%d: a" % n for n in range(20_000))]))) in (
        0,
        400,
        431,
    )
    body = b"x" * 3_000_000
    length = b"Content-Length: %d" % len(body)
    assert status(raw(gateway, get([*header_lines, length], b"/gateway/v1/authorize", b"POST") + body)) in (
        0,
        413,
    )
    chunked = get([*header_lines, b"Transfer-Encoding: chunked"], b"/gateway/v1/authorize", b"POST")
    assert status(raw(gateway, chunked + b"2dc6c0\r\n" + body + b"\r\n0\r\n\r\n")) in (0, 413)
    begun = get([*header_lines, b"Content-Length: 100"], b"/gateway/v1/authorize", b"POST")
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        slow.sendall(begun + b"{")  # the rest is never sent; other requests are handled meanwhile
        assert status(raw(gateway, get(header_lines))) == 204


@pytest.mark.parametrize(
    "framing",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: -1"],
        [b"Content-Length: 1e3"],
        [b"Transfer-Encoding: chunked, identity"],
        [b"Transfer-Encoding : chunked"],
    ],
)
def test_ambiguous_body_framing_smuggles_no_request(
    gateway: GatewayProcess, key: ApiKey, framing: list[bytes]
) -> None:
    inner = get(lines(gateway, key))
    outer = get(
        [*lines(gateway, key, Authorization=b"Bearer no"), *framing], b"/gateway/v1/authorize", b"POST"
    )
    answer = raw(gateway, outer + b"0\r\n\r\n" + inner)
    assert b" 204 " not in answer
    assert b"x-portal-user" not in answer.lower()


@pytest.mark.parametrize("upgrade", [False, True])
def test_body_is_part_of_the_decision_with_and_without_an_upgrade_offer(
    gateway: GatewayProcess, key: ApiKey, upgrade: bool
) -> None:
    client, body = BinanceClient(key.key_id, people.secret_of(key)), b"symbol=BTCIRT"
    query = [("timestamp", str(time.time_ns() // 1_000_000))]
    header_lines = [
        line for line in lines(gateway, key) if not line.startswith((b"X-Original", b"X-Forwarded"))
    ]
    offer = (
        [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAA"]
        if upgrade
        else []
    )

    def answer(signed: list[tuple[str, str]], sent: bytes) -> int:
        call = client.call("GET", "/api/v3/account", query, signed)
        path = b"/gateway/v1/envoy" + call.path.encode() + b"?" + call.query
        return status(
            raw(gateway, get([*header_lines, *offer, b"Content-Length: %d" % len(sent)], path) + sent)
        )

    assert answer([], b"") == answer([("symbol", "BTCIRT")], body) == 200
    assert answer([], body) == answer([("symbol", "BTCIRT")], b"") == 400


def test_pipelined_requests_get_their_own_responses_in_order(gateway: GatewayProcess, key: ApiKey) -> None:
    good = get(lines(gateway, key)).replace(b"Connection: close\r\n", b"")
    bad = get(lines(gateway, key, X_Client_IP=b"x")).replace(b"Connection: close\r\n", b"")
    answer = raw(gateway, good + bad + good + get(lines(gateway, key, Authorization=b"Bearer no")))
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [204, 401, 204, 403]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"requests": []}', b'{"requests": {}}', b'{"api_key": 1}', b'{"Api_key": "x"}',
     b'{"requests": [[]]}', b"[" * 100_000, b'{"query": "\\ud800"}', b'{"api_key": "\\u0000", "query": null}', b"\xff",
     b'{"requests": [' + b",".join([b"{}"] * 101) + b"]}", b'{"a": 1e999}'],
)  # fmt: skip
def test_malformed_documents_get_400(gateway: GatewayProcess, body: bytes) -> None:
    answer = gateway.ask("POST", "/gateway/v1/authorize", body=body)
    assert answer.status in (200, 400)
    document = answer.json()
    assert "error" in document or document["allowed"] is False


def test_ten_thousand_idle_connections_do_not_block_others(gateway: GatewayProcess, key: ApiKey) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    idle = []
    try:
        for n in range(IDLE):
            idle.append(socket.create_connection(("127.0.0.1", gateway.port), timeout=20))
            if n % 2:
                idle[-1].sendall(b"GET /gateway/v1/auth HTTP/1.1\r\nHost: a\r\n")
        assert status(raw(gateway, get(lines(gateway, key)))) == 204
    finally:
        for peer in idle:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()


@pytest.mark.parametrize(("files", "wanted"), [(1_024, 896), (10_000, 8_750), (19_000, 16_384)])
def test_connections_are_bounded_by_the_open_files_limit(files: int, wanted: int) -> None:
    script = "from apikeys.management.commands import run_gateway; print(run_gateway.connections())"
    output = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, files)),
    ).stdout  # fmt: skip
    assert int(output) == wanted


def test_source_address_is_the_last_one_of_x_forwarded_for(gateway: GatewayProcess, key: ApiKey) -> None:
    key.apply(["read"], "trusted", [ADDRESS])
    for forwarded, wanted in ((f"198.51.100.1, {ADDRESS}", 204), (f"{ADDRESS}, 198.51.100.1", 401)):
        changed: dict[str, bytes | None] = {"X_Client_IP": None, "X_Forwarded_For": forwarded.encode()}
        assert status(raw(gateway, get(lines(gateway, key, **changed)))) == wanted
