"""Clients that send what Envoy and Traefik must not pass on, and portals that do not answer."""

import contextlib
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import pytest

from apikeys.models import GatewayToken
from apikeys.policy.choices import KeyState
from tests.deploy.recipes.cases import HOME, key_with, signed
from tests.support import people, recipes
from tests.support.binance_client import BinanceClient, Call
from tests.support.gateways import GatewayProcess
from tests.support.recipes import Front, Reply, settle

pytestmark = [pytest.mark.verify, pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]
BEARER = "hbgw_for-the-hostile-clients-of-the-tests"
RATES = {"PORTAL_GATEWAY_KEY_RATE": "400", "PORTAL_GATEWAY_ADDRESS_RATE": "100000"}
NAMES = [name for name in recipes.RECIPES if name.startswith(("envoy", "traefik"))]


@pytest.fixture(scope="module")
def gateway(kept_db: None) -> Iterator[GatewayProcess]:
    with GatewayProcess(BEARER, RATES, grpc=True) as process:
        yield process


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NAMES]
)
def running(
    request: pytest.FixtureRequest, gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    recipe = recipes.RECIPES[request.param]
    with recipes.front(recipe, gateway, tmp_path_factory.mktemp(recipe.name)) as front:
        yield front


@pytest.fixture
def front(running: Front) -> Front:
    running.trust()
    return running


def passed(reply: Reply, call: Call) -> bool:
    """Return whether exactly this request reached the exchange."""
    if reply.outcome != (200, 0):
        return False
    [received] = reply.reached
    target = call.path + ("?" + call.query.decode() if call.query else "")
    return (received.method, received.target, received.body) == (call.method, target, call.body)


def test_portal_that_hangs_is_answered_with_503(front: Front) -> None:
    key = key_with("read")
    with front.relay.hanging():
        assert front.send(signed(key, "GET", "/api/v3/account")).outcome == (503, -1001)
    call = signed(key, "GET", "/api/v3/account")
    assert passed(front.send(call), call)


def test_portal_that_is_stopped_is_answered_with_503_for_a_body_too(front: Front) -> None:
    key = key_with("read", "trade")
    with front.relay.stopped():
        assert front.send(signed(key, "POST", "/api/v3/order", body=[("a", "1")])).outcome == (503, -1001)
        assert front.send(Call("GET", "/api/v3/time", b"", b"", {})).outcome == (503, -1001)


def test_wrong_token_is_answered_with_503(front: Front) -> None:
    key = key_with("read", "trade")
    GatewayToken.objects.filter(name="proxy").delete()
    settle()
    assert front.send(signed(key, "GET", "/api/v3/account")).outcome == (503, -1001)
    assert front.send(signed(key, "POST", "/api/v3/order", body=[("a", "1")])).outcome == (503, -1001)
    assert front.send(Call("GET", "/api/v3/time", b"", b"", {})).outcome == (503, -1001)


def test_answers_of_the_exchange_are_passed_on(front: Front) -> None:
    """Also 403 and 500, which mean something else when they come from the portal."""
    for status in (400, 403, 404, 418, 429, 500, 502, 503):
        front.exchange.status = status
        try:
            reply = front.send(Call("GET", "/api/v3/time", b"", b"", {}))
        finally:
            front.exchange.status = 200
        assert (reply.status, json.loads(reply.body)["exchange"]) == (status, True)


SPOOFED = {
    "X-Portal-User": "1", "X-Portal-Key": "k", "X-Portal-Permissions": "withdraw", "X-Portal-Security": "signed",
    "X-Portal-Answer": "headers", "X-Portal-Status": "200", "X-Client-IP": "203.0.113.9", "X-Real-IP": "203.0.113.9",
    "X-Forwarded-For": "203.0.113.9", "X-Required-Permission": "read", "X-Required-Security": "none",
    "X-Original-Method": "GET", "X-Forwarded-Method": "GET", "X-Original-URI": "/api/v3/time",
    "X-Original-URL": "http://a/api/v3/time", "X-Forwarded-Uri": "/api/v3/time", "X-Forwarded-Host": "a",
    "Authorization": "Bearer hbgw_mine", "X-Envoy-Auth-Partial-Body": "false",
    "X-Envoy-Original-Path": "/api/v3/time", "X-HTTP-Method-Override": "GET",
}  # fmt: skip


@pytest.mark.parametrize("name", ["", *SPOOFED])
def test_what_a_client_says_of_itself_changes_nothing(front: Front, name: str) -> None:
    sent = {name: SPOOFED[name]} if name else SPOOFED
    key = key_with("read", "trade")
    for call in (
        signed(key, "GET", "/api/v3/account"), signed(key, "POST", "/api/v3/order", body=[("symbol", "A")]),
    ):  # fmt: skip
        reply = front.send(call, sent)
        assert passed(reply, call), (reply.status, reply.body)
        [received] = reply.reached
        assert received.one("x-portal-user") == str(key.owner_id)
        assert received.one("x-portal-key") == key.key_id
        assert received.one("x-portal-permissions") == "read,trade"
        assert received.one("x-portal-security") == "signed"
        assert received.one("x-client-ip") == HOME
        assert not [value for _name, value in received.headers if BEARER in value]
    forged = Call(
        "POST", "/sapi/v1/capital/withdraw/apply", b"timestamp=1", b"", {"X-MBX-APIKEY": key.key_id}
    )
    assert front.send(forged, sent).outcome[0] in (400, 401)
    unlisted = signed(key, "GET", "/sapi/v1/unlisted")
    assert front.send(unlisted, sent).outcome == (401, -2015)
    key.apply(["read"], "trusted", ["203.0.113.9"])
    settle()
    assert front.send(signed(key, "GET", "/api/v3/account"), sent).outcome == (401, -2015)
    public = front.send(Call("GET", "/api/v3/time", b"", b"", {}), sent)
    assert public.outcome == (200, 0)
    assert [public.reached[0].one(f"x-portal-{what}") for what in ("user", "key", "permissions", "security")] == [
        None, None, None, "none",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["X_Portal_User", "X-Portal_Key", "X_Client_IP", "x_required_security"])
def test_names_with_underscores_do_not_reach_the_exchange(front: Front, name: str) -> None:
    key = key_with("read")
    reply = front.send(signed(key, "GET", "/api/v3/account"), {name: "1"})
    if reply.outcome != (400, -1000):
        assert reply.outcome == (200, 0)
        assert not [known for known, _value in reply.reached[0].headers if "_" in known]


@pytest.mark.parametrize(
    "names",
    [
        "X-Portal-User",
        "close, X-Portal-User, X-Portal-Permissions",
        "X-Client-IP, X-Required-Security, Authorization",
    ],
)
def test_connection_header_removes_no_header_of_the_portal(front: Front, names: str) -> None:
    key = key_with("read")
    reply = front.send(signed(key, "GET", "/api/v3/account"), {"Connection": names})
    if reply.outcome[0] != 400:
        assert reply.outcome == (200, 0)
        [received] = reply.reached
        assert received.one("x-portal-user") == str(key.owner_id)
        assert received.one("x-portal-permissions") == "read"
        assert received.one("x-client-ip") == HOME


@pytest.mark.parametrize("name", ["X-MBX-APIKEY", "X-Required-Security", "X-Portal-User", "Authorization"])
def test_header_that_occurs_twice_does_not_help(front: Front, name: str) -> None:
    key, other = key_with("read"), key_with("read")
    call = signed(key, "GET", "/api/v3/account")
    value = {"X-MBX-APIKEY": other.key_id, "X-Required-Security": "none"}.get(name, "1")
    lines = [f"GET {call.path}?{call.query.decode()} HTTP/1.1", "Host: a", f"X-MBX-APIKEY: {key.key_id}"]
    lines += [f"{name}: {value}", f"{name.lower()}: {value}", "Connection: close", "", ""]
    reply = front.raw("\r\n".join(lines).encode())
    if name == "X-MBX-APIKEY":
        assert reply.outcome == (401, -2014)
    else:
        assert passed(reply, call)
        assert reply.reached[0].one("x-portal-user") == str(key.owner_id)


PATHS = [
    "/api/v3/account/../order", "/api/v3/../v3/order", "/api/v3/%2e%2e/v3/order", "/api/v3//order",
    "//api/v3/order",
    "/api/v3%2forder", "/api/v3%2Forder", "/api/v3%5corder", "/api/v3\\order", "/api/v3/order;x", "/api/v3/order%3bx",
    "/api/v3/./order", "/api/v3/orde%72", "/api/v3/order%00", "/api/v3/order%23", "/api/v3/order%3f",
    "/api/v3/time/..;/order",
    "/api/v3/time%2f..%2forder",
    "/api/v3/time%252f..%252forder", "/API/V3/ORDER", "/api/v3/order/", "/api/v3/order.json",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_other_spelling_of_a_path_needs_no_less(front: Front, path: str) -> None:
    """It is refused, or normalised before the route is chosen: a key that may only read never reaches the order."""
    reader = key_with("read")
    for method in ("POST", "DELETE"):
        reply = front.send(signed(reader, method, path))
        assert reply.outcome in ((400, -1000), (401, -2015))
    reply = front.send(Call("POST", path, b"", b"", {}))
    assert reply.outcome in ((400, -1000), (401, -2014))


@pytest.mark.parametrize(
    "byte", [b"\xc3\xbc", b"\xff", b"\x80", b'"', b"<", b">", b"|", b"%", b"[", b"\\", b"^", b"`", b"{"]
)
def test_byte_that_no_query_has_is_a_wrong_signature(front: Front, byte: bytes) -> None:
    key = key_with("read")
    query = b"symbol=B%bT&timestamp=%d" % (byte, time.time_ns() // 1_000_000)
    for signed_bytes in (query, query.replace(byte, b"!"), query.replace(byte, "\ufffd".encode())):
        signature = hmac.new(people.secret_of(key).encode(), signed_bytes, hashlib.sha256).hexdigest()
        target = b"/api/v3/account?%b&signature=%b" % (query, signature.encode())
        head = b"GET %b HTTP/1.1\r\nHost: a\r\nX-MBX-APIKEY: %b\r\nConnection: close\r\n\r\n"
        reply = front.raw(head % (target, key.key_id.encode()))
        assert reply.status == 400
        assert reply.reached == []
        assert reply.code in (-1022, -1000)


@pytest.mark.parametrize("behind", [b"#x=1", b"?x=1", b"&x=1", b"#", b"%23x=1"])
def test_what_stands_behind_the_signed_query_does_not_pass(front: Front, behind: bytes) -> None:
    key = key_with("read")
    call = signed(key, "GET", "/api/v3/account")
    head = b"GET %b?%b%b HTTP/1.1\r\nHost: a\r\nX-MBX-APIKEY: %b\r\nConnection: close\r\n\r\n"
    reply = front.raw(head % (call.path.encode(), call.query, behind, key.key_id.encode()))
    if reply.outcome == (200, 0):  # the fragment was cut off, and is not forwarded either
        assert behind.startswith(b"#")
        assert reply.reached[0].target == f"{call.path}?{call.query.decode()}"
    else:
        assert reply.status == 400


def test_bodies_in_every_framing(front: Front) -> None:
    key = key_with("read", "trade")
    for method in ("POST", "PUT", "DELETE"):
        path = "/api/v3/order" if method != "PUT" else "/api/v3/order/amend/keepPriority"
        for query in ((), (("symbol", "A"),)):
            call = signed(key, method, path, query, [("quantity", "1"), ("note", "a b")])
            assert passed(front.send(call), call)
            chunked = front.connection()
            assert passed(front.send_on(chunked, call, chunked=True), call)
            chunked.close()
            status, document, received = over_http2(front, call)
            assert (status, document) == (200, 0)
            assert [(each.method, each.body) for each in received] == [(method, call.body)]
            for changed in (
                call.body + b"&a=1",
                call.body.replace(b"quantity=1", b"quantity=2"),
                call.body + b" ",
                b"a=1&" + call.body,
            ):
                other = Call(method, path, call.query, changed, call.headers)
                assert front.send(other).outcome == (400, -1022)
                assert over_http2(front, other)[:2] == (400, -1022)
    get = signed(key, "GET", "/api/v3/account")
    assert front.send(Call("GET", get.path, get.query, b"a=1", get.headers)).outcome == (400, -1022)


def over_http2(front: Front, call: Call) -> tuple[int, int, list[recipes.Received]]:
    """Send a request over HTTP/2 without a content-length. Return status, code, and what reached the exchange."""
    before = len(front.exchange.received)
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    status, body = 0, b""
    with socket.create_connection(("127.0.0.1", front.setting.http2_port), timeout=30) as peer:
        client.initiate_connection()
        target = call.path + ("?" + call.query.decode() if call.query else "")
        headers = [(":method", call.method), (":path", target), (":scheme", "http"), (":authority", "a")]
        headers += [(name.lower(), value) for name, value in call.headers.items()]
        client.send_headers(1, headers, end_stream=not call.body)
        if call.body:
            half = len(call.body) // 2
            client.send_data(1, call.body[:half])
            client.send_data(1, call.body[half:], end_stream=True)
        peer.sendall(client.data_to_send())
        ended = False
        while not ended:
            data = peer.recv(65_536)
            assert data, "the proxy closed the connection"
            for event in client.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                ended = ended or isinstance(event, h2.events.StreamEnded | h2.events.StreamReset)
            peer.sendall(client.data_to_send())
    document = json.loads(body)
    return status, 0 if document.get("exchange") else document["code"], front.exchange.received[before:]


def test_sizes(front: Front) -> None:
    key = key_with("read", "trade")
    large = signed(key, "POST", "/api/v3/order", body=[("a", "x" * 60_000)])
    assert passed(front.send(large), large)
    long = signed(key, "GET", "/api/v3/account", [("a", "x" * 60_000)])
    assert passed(front.send(long), long)
    for size in (65_536, 70_000, 2_000_000):
        call = signed(key, "POST", "/api/v3/order", body=[("a", "x" * size)])
        reply = front.send(call)
        assert reply.outcome == (413, -1000)
        assert reply.reached == []


def test_body_that_breaks_off_does_not_pass(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", "/api/v3/order", body=[("symbol", "A")])
    before = len(front.exchange.received)
    head = (
        f"POST {call.path} HTTP/1.1\r\nHost: a\r\nX-MBX-APIKEY: {key.key_id}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(call.body) + 9}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", front.setting.port), timeout=30) as peer:
        peer.sendall(head.encode() + call.body)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65_536):
            pass
    after = signed(key, "GET", "/api/v3/account")
    assert passed(front.send(after), after)
    assert [received.method for received in front.exchange.received[before:]] == ["GET"]


def test_trailers_do_not_reach_the_exchange(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", "/api/v3/order", body=[("symbol", "A")])
    head = (
        f"POST {call.path} HTTP/1.1\r\nHost: a\r\nX-MBX-APIKEY: {key.key_id}\r\nConnection: close\r\n"
        f"Transfer-Encoding: chunked\r\nTrailer: X-Portal-User\r\n\r\n{len(call.body):x}\r\n"
    )
    reply = front.raw(head.encode() + call.body + b"\r\n0\r\nX-Portal-User: 1\r\nquantity: 5\r\n\r\n")
    if reply.outcome[0] != 400:
        assert reply.outcome == (200, 0)
        [received] = reply.reached
        assert (received.body, received.one("x-portal-user")) == (call.body, str(key.owner_id))
        assert received.one("quantity") is None


def test_rejections_are_the_contracts(front: Front) -> None:
    key = key_with("read")
    wrong = BinanceClient(key.key_id, "w" * 64).call(
        "GET", "/api/v3/account", [("timestamp", str(time.time_ns() // 10**6))]
    )
    reply = front.send(wrong)
    assert reply.outcome == (400, -1022)
    assert json.loads(reply.body)["msg"] == "Signature for this request is not valid."
    assert not [name for name in reply.headers if name.lower().startswith("x-portal")]
    assert front.send(signed(key, "POST", "/api/v3/order")).outcome == (401, -2015)
    assert front.send(Call("GET", "/api/v3/account", b"timestamp=1", b"", {})).outcome == (401, -2014)
    held = Call("GET", "/api/v3/historicalTrades", b"symbol=A", b"", {"X-MBX-APIKEY": key.key_id})
    assert passed(front.send(held), held)
    with contextlib.closing(front.connection()) as connection:
        assert front.send_on(connection, Call("HEAD", "/api/v3/time", b"", b"", {})).status == 200
    preflight = Call(
        "OPTIONS", "/api/v3/order", b"", b"", {"Access-Control-Request-Method": "POST", "Origin": "https://a"}
    )
    assert front.send(preflight).outcome == (401, -2014)
    key.set_state(KeyState.REVOKED)
    settle()
    assert front.send(signed(key, "GET", "/api/v3/account")).outcome == (401, -2015)
    assert front.send(held).outcome == (401, -2015)


def test_rate_limit_says_when_to_come_back(front: Front) -> None:
    key = key_with("read")
    replies = (front.send(signed(key, "GET", "/api/v3/account")) for _ in range(4_000))
    refused = next(reply for reply in replies if reply.status != 200)
    assert refused.outcome == (429, -1003)
    assert 0 < int(refused.headers["Retry-After"]) < 61


def test_many_requests_on_one_connection(front: Front) -> None:
    key = key_with("read", "trade")
    connection = front.connection()
    for number in range(300):
        call = (
            signed(key, "POST", "/api/v3/order", body=[("n", str(number))])
            if number % 3
            else signed(key, "GET", "/api/v3/account", [("n", str(number))])
        )
        assert passed(front.send_on(connection, call), call)
    connection.close()


def test_websocket_upgrade_is_authorized(front: Front) -> None:
    key = key_with("read")
    call = signed(key, "GET", "/api/v3/account")
    upgrade = {
        "Host": "a", "X-MBX-APIKEY": key.key_id, "Connection": "Upgrade", "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "QUFBQUFBQUFBQUFBQUFBQQ==",
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in upgrade.items())
    for query, passes in ((call.query, True), (call.query + b"&a=1", False)):
        before = len(front.exchange.received)
        with socket.create_connection(("127.0.0.1", front.setting.port), timeout=30) as peer:
            peer.sendall(f"GET {call.path}?{query.decode()} HTTP/1.1\r\n{head}\r\n".encode())
            stream = peer.makefile("rb")
            status = int(stream.readline().split()[1])
            assert status == (101 if passes else 400)
            while stream.readline().strip():
                pass
            received = front.exchange.received[before:]
            assert [each.target for each in received] == ([f"{call.path}?{query.decode()}"] if passes else [])
            if passes:
                assert received[0].one("x-portal-user") == str(key.owner_id)
                frame = b"\x81\x85\x00\x00\x00\x00hello"
                peer.sendall(frame)
                assert stream.read(len(frame)) == frame
