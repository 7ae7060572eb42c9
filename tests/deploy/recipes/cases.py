"""What must hold on every proxy, written once: each case takes a running proxy.

A case is a function with a title, its line in the table of docs/gateway.md. It sends real requests through the proxy
and asserts what the client and the exchange get.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from apikeys.gateway.routes.table import PATH_PATTERN
from apikeys.models import ApiKey, GatewayToken
from apikeys.policy.choices import KeyState
from tests.support import people
from tests.support.binance_client import BinanceClient, Call
from tests.support.recipes import Front, Reply, settle

Pairs = Sequence[tuple[str, str]]
HOME, ELSEWHERE = "127.0.0.1", "203.0.113.9"
ORDER: Pairs = [("symbol", "BTC IRT"), ("quantity", "1.5")]
ACCOUNT, PLACE, AMEND = "/api/v3/account", "/api/v3/order", "/api/v3/order/amend/keepPriority"
WITHDRAWAL, TRADES, TIME = "/sapi/v1/capital/withdraw/apply", "/api/v3/historicalTrades", "/api/v3/time"
#: The limit of the portal for query string and body together.
LIMIT = 65_536


class Refused(AssertionError):
    """The proxy refused a request that should pass; nothing reached the exchange. Some recipes declare that."""


@dataclass(frozen=True)
class Case:
    title: str
    run: Callable[[Front], None]

    @property
    def name(self) -> str:
        return self.run.__name__


CASES: dict[str, Case] = {}


def case(title: str) -> Callable[[Callable[[Front], None]], Callable[[Front], None]]:
    """Enter a function into `CASES`."""

    def enter(run: Callable[[Front], None]) -> Callable[[Front], None]:
        assert run.__name__ not in CASES
        CASES[run.__name__] = Case(title, run)
        return run

    return enter


def key_with(*permissions: str, network: str = HOME) -> ApiKey:
    """Return a new customer's key with these permissions, from one address."""
    key = people.key_of(people.customer())
    key.apply([*permissions], "trusted", [network])
    settle()
    return key


def now() -> tuple[str, str]:
    return "timestamp", str(time.time_ns() // 1_000_000)


def signed(key: ApiKey, method: str, path: str, query: Pairs = (), body: Pairs = ()) -> Call:
    """Return a signed request; timestamp and signature are in the body if there is one, else in the query string."""
    client = BinanceClient(key.key_id, people.secret_of(key))
    if body:
        return client.call(method, path, query, [*body, now()], sign_in="body")
    return client.call(method, path, [*query, now()], content_type=None)


def with_key(key: ApiKey, method: str, path: str, query: bytes = b"", body: bytes = b"") -> Call:
    """Return a request with a key and no signature."""
    return Call(method, path, query, body, {"X-MBX-APIKEY": key.key_id})


def target_of(call: Call) -> str:
    return call.path + ("?" + call.query.decode() if call.query else "")


def assert_passed(reply: Reply, key: ApiKey | None, call: Call) -> None:
    """The exchange received this request once, unchanged, with the portal's headers and nobody else's."""
    if reply.status // 100 == 4 and reply.reached == []:
        raise Refused(reply.outcome, reply.body)
    assert reply.outcome == (200, 0), (reply.status, reply.body)
    [received] = reply.reached
    assert (received.method, received.target, received.body) == (call.method, target_of(call), call.body)
    assert received.one("x-portal-user") == (str(key.owner_id) if key else None)
    assert received.one("x-portal-subject") == (key.owner.external_id if key else None)
    assert received.one("x-portal-key") == (key.key_id if key else None)
    assert received.one("x-client-ip") == HOME
    assert received.all("x-required-permission") == received.all("x-required-security") == []
    assert "hbgw_" not in str(received.headers), "the exchange learns the gateway's token"


def assert_refused(reply: Reply, status: int, code: int) -> None:
    assert reply.outcome == (status, code), (reply.status, reply.body)
    assert reply.reached == []


@case("`GET` with a signature")
def read(front: Front) -> None:
    key = key_with("read")
    call = signed(key, "GET", ACCOUNT, [("symbol", "BTC IRT"), ("note", "a+b/ü")])
    assert_passed(front.send(call), key, call)
    key.owner.external_id = f"customer:{key.owner_id}"
    key.owner.save(update_fields=["external_id"])
    settle()
    call = signed(key, "GET", ACCOUNT, [("symbol", "BTC IRT"), ("note", "a+b/ü")])
    reply = front.send(call)
    assert_passed(reply, key, call)
    assert reply.reached[0].one("x-portal-permissions") == "read"
    assert reply.reached[0].one("x-portal-security") == "signed"


@case("`HEAD` needs what `GET` needs")
def head(front: Front) -> None:
    key = key_with("read")
    call = signed(key, "HEAD", ACCOUNT)
    reply = front.send(call)
    assert (reply.status, reply.body, [request.method for request in reply.reached]) == (200, b"", ["HEAD"])
    unsigned = front.send(with_key(key, "HEAD", ACCOUNT))
    assert (unsigned.status // 100, unsigned.reached) == (4, [])
    assert front.send(Call("HEAD", TIME, b"", b"", {})).status == 200


@case("`POST` with a form body")
def post_form(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", PLACE, body=ORDER)
    assert_passed(front.send(call), key, call)


@case("`PUT` and `DELETE` with a form body")
def put_and_delete_form(front: Front) -> None:
    key = key_with("read", "trade")
    for method, path in (("PUT", AMEND), ("DELETE", PLACE)):
        call = signed(key, method, path, body=ORDER)
        assert_passed(front.send(call), key, call)


@case("`POST`, `PUT` and `DELETE` with a query string alone")
def other_methods_without_body(front: Front) -> None:
    key = key_with("read", "trade")
    for method, path in (("POST", PLACE), ("PUT", AMEND), ("DELETE", PLACE)):
        call = signed(key, method, path, ORDER)
        assert_passed(front.send(call), key, call)
        # A body of length 0 that claims a type, as some clients send it.
        empty = replace(
            signed(key, method, path, ORDER), headers={**call.headers, "Content-Type": "application/json"}
        )
        assert_passed(front.send(empty, {"Content-Length": "0"}), key, empty)


@case("query string and body, both signed")
def mixed(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", PLACE, [("symbol", "BTCIRT"), ("side", "BUY")], [("quantity", "1")])
    assert_passed(front.send(call), key, call)


@case("a body that was changed: -1022")
def changed_body(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", PLACE, body=ORDER)
    changed = replace(call, body=call.body.replace(b"quantity=1.5", b"quantity=9.5"))
    assert changed.body != call.body
    reply = front.send(changed)
    if reply.code == -1000:
        raise Refused(reply.body)
    assert_refused(reply, 400, -1022)


@case("a body that was not signed: refused")
def unsigned_extra_body(front: Front) -> None:
    key = key_with("read", "trade")
    # "{...}" is a variable for some proxies, and may be empty.
    bodies = (b"quantity=1000000", b"&", b"{x}", b"{env.PORTAL_GATEWAY_TOKEN}", b"\n", b"\0", b"\xff", b"{}")
    for method, path, body, chunked in itertools.product(
        ("POST", "DELETE", "GET"), (PLACE, ACCOUNT), bodies, (False, True)
    ):
        for query in (ORDER, ()):
            call = replace(signed(key, method, path, query), body=body)
            connection = front.connection()
            try:
                reply = front.send_on(connection, call, chunked=chunked)
            except OSError as error:  # the proxy hung up while the body was sent
                assert isinstance(error, (ConnectionError, BrokenPipeError)), error
                continue
            finally:
                connection.close()
            assert (reply.status // 100, reply.reached) == (4, []), (method, chunked, reply.body)


@case("a withdrawal without the permission: -2015")
def permission_missing(front: Front) -> None:
    key = key_with("read", "trade")
    assert_refused(front.send(signed(key, "POST", WITHDRAWAL, ORDER)), 401, -2015)
    allowed = key_with("read", "trade", "withdraw")
    call = signed(allowed, "POST", WITHDRAWAL, ORDER)
    assert_passed(front.send(call), allowed, call)
    # Trading with a key that may only read, in each method.
    reader = key_with("read")
    for method in ("POST", "DELETE"):
        assert_refused(front.send(signed(reader, method, PLACE, ORDER)), 401, -2015)
    assert front.send(signed(reader, "GET", PLACE)).outcome == (200, 0)


@case("a route or a method that is not listed needs `withdraw`")
def not_listed(front: Front) -> None:
    key = key_with("read", "trade")
    for method, path in (
        ("GET", "/what/is/this"), ("GET", TIME + "s"), ("GET", TIME + "/"), ("GET", TIME.upper()), ("POST", TIME),
        ("PATCH", PLACE), ("OPTIONS", TIME), ("PURGE", TIME), ("GET", "/x" + TIME), ("GET", "/api/v3/ticker"),
    ):  # fmt: skip
        reply = front.send(signed(key, method, path))
        assert reply.status in (401, 405), (method, path, reply.status, reply.body)
        assert reply.reached == []
    allowed = key_with("read", "withdraw")
    call = signed(allowed, "GET", "/what/is/this")
    assert_passed(front.send(call), allowed, call)


@case("key-only route: passes without a signature, not with a deleted key")
def key_route(front: Front) -> None:
    key = key_with("read")
    call = with_key(key, "GET", TRADES, b"symbol=BTCIRT")
    reply = front.send(call)
    assert_passed(reply, key, call)
    assert reply.reached[0].one("x-portal-security") == "key"
    assert_refused(front.send(Call("GET", TRADES, b"", b"", {})), 401, -2014)
    assert_refused(front.send(with_key(key_with("read", network=ELSEWHERE), "GET", TRADES)), 401, -2015)
    stream = with_key(key, "POST", "/api/v3/userDataStream")
    assert_passed(front.send(stream), key, stream)
    key.set_state(KeyState.REVOKED)
    settle()
    assert_refused(front.send(call), 401, -2015)


@case("key-only route with a body that is not signed")
def key_route_body(front: Front) -> None:
    key = key_with("read")
    call = with_key(key, "PUT", "/api/v3/userDataStream", body=b"listenKey=abc")
    assert_passed(front.send(call), key, call)


@case("public route: passes without a key, and names nobody")
def public_route(front: Front) -> None:
    for path in (TIME, "/api/v3/ticker/24hr"):
        call = Call("GET", path, b"symbol=BTCIRT", b"", {})
        reply = front.send(call)
        assert_passed(reply, None, call)
        assert reply.reached[0].one("x-portal-security") == "none"
    key = key_with("read")
    named = with_key(key, "GET", TIME)
    assert_passed(front.send(named, {"X-Portal-User": "1", "X-Portal-Key": key.key_id}), None, named)


@case("a key that is deleted between two requests of a connection")
def revoked_in_the_middle(front: Front) -> None:
    key = key_with("read")
    connection = front.connection()
    try:
        calls = [signed(key, "GET", ACCOUNT) for _ in range(6)]
        for call in calls[:3]:
            assert_passed(front.send_on(connection, call), key, call)
        key.set_state(KeyState.REVOKED)
        settle()
        for call in calls[3:]:
            assert_refused(front.send_on(connection, call), 401, -2015)
    finally:
        connection.close()


@case("the contract's rejections: -1021, -1022, -1101, -1102, -2014, -2015")
def rejections(front: Front) -> None:
    key = key_with("read")
    client = BinanceClient(key.key_id, "w" * 64)
    assert_refused(front.send(client.call("GET", ACCOUNT, [now()])), 400, -1022)
    assert front.send(client.call("GET", ACCOUNT, [now()])).headers["Retry-After"] is None
    right = BinanceClient(key.key_id, people.secret_of(key))
    assert_refused(front.send(right.call("GET", ACCOUNT, [("timestamp", "1499827319559")])), 400, -1021)
    assert_refused(front.send(right.call("GET", ACCOUNT, [now(), ("a", "1"), ("a", "2")])), 400, -1101)
    assert_refused(front.send(right.call("GET", ACCOUNT)), 400, -1102)
    assert_refused(front.send(Call("GET", ACCOUNT, b"timestamp=1", b"", {})), 401, -2014)
    assert_refused(front.send(signed(key_with("read", network=ELSEWHERE), "GET", ACCOUNT)), 401, -2015)
    two = front.raw(
        b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nX-MBX-APIKEY: %b\r\nX-MBX-APIKEY: %b\r\nConnection: close\r\n\r\n"
        % (target_of(signed(key, "GET", ACCOUNT)).encode(), key.key_id.encode(), b"a" * 64)
    )
    assert (two.status // 100, two.reached) == (4, [])


@case("above the rate limit: 429 with `Retry-After`")
def rate_limit(front: Front) -> None:
    key = key_with("read")
    connection = front.connection()
    try:
        replies = (front.send_on(connection, signed(key, "GET", ACCOUNT)) for _ in range(3_000))
        limited = next(reply for reply in replies if reply.status != 200)
    finally:
        connection.close()
    assert_refused(limited, 429, -1003)
    assert re.fullmatch("[0-9]{1,2}", limited.headers["Retry-After"])


#: Each header that says something to the portal or to the exchange, with what an attacker would like it to say.
SPOOFED: Mapping[str, str] = {
    "X-Client-IP": ELSEWHERE, "X-Real-IP": ELSEWHERE, "X-Forwarded-For": ELSEWHERE, "X-Forwarded-Proto": "spoofed",
    "X-Forwarded-Host": "spoofed", "X-Forwarded-Port": "1", "X-Forwarded-Prefix": "/spoofed",
    "X-Forwarded-Method": "GET", "X-Forwarded-Uri": TIME, "Forwarded": f"for={ELSEWHERE}",
    "X-Required-Security": "none", "X-Required-Permission": "read",
    "X-Portal-User": "1", "X-Portal-Key": "k", "X-Portal-Permissions": "withdraw", "X-Portal-Security": "signed",
    "X-Portal-Subject": "1",
    "X-Portal-Status": "200", "X-Portal-Code": "0", "X-Portal-Message": "spoofed", "X-Portal-Answer": "client",
    "X-Original-Method": "GET", "X-Original-URI": TIME, "X-Original-URL": f"http://x{TIME}", "X-Rewrite-URL": TIME,
    "X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE", "X-Method-Override": "DELETE",
    "Authorization": "Bearer hbgw_mine", "X-Envoy-Auth-Partial-Body": "false", "X-Envoy-Original-Path": TIME,
}  # fmt: skip
#: Of these, the exchange sees only what the proxy and the portal say.
GUARDED = re.compile(
    "x-(client-ip|real-ip|forwarded-.*|required-.*|portal-.*|original-.*|rewrite-url|http-method.*|method-override)"
    "|forwarded"
)


def spellings(name: str) -> Iterator[str]:
    """Yield a header's name as servers that replace "_" by "-", or ignore case, may read it."""
    yield from (name, name.upper(), name.lower(), name.replace("-", "_"), name.replace("-", "_", 1))


def guarded(reply: Reply) -> list[tuple[str, str]]:
    """Return the headers that the exchange received and that only the proxy and the portal may set."""
    [received] = reply.reached
    return [
        (name, value)
        for name, value in received.headers
        if GUARDED.fullmatch(name.replace("_", "-"))
        and (name.partition("-")[2] != "forwarded-port" or value == "1")
    ]


@case("`X-Client-IP`, `X-Required-*`, `X-Portal-*`, `X-Forwarded-*` of a client change nothing")
def spoofed_headers(front: Front) -> None:
    key, other = key_with("read"), key_with("read", network=ELSEWHERE)
    plain = [(name, value) for name, value in guarded(front.send(signed(key, "GET", ACCOUNT)))]
    for spell in range(5):
        spoof = {[*spellings(name)][spell]: value for name, value in SPOOFED.items()}
        reply = front.send(signed(key, "GET", ACCOUNT), spoof)
        if any("_" in name for name in spoof) and reply.outcome == (400, -1000):
            continue  # the proxy refuses such names altogether
        assert reply.outcome == (200, 0), (spoof, reply.body)
        assert guarded(reply) == plain, spell
        # Neither the address, nor the needs, nor the target that was authorized.
        assert front.send(signed(other, "GET", ACCOUNT), spoof).outcome == (401, -2015)
        assert front.send(signed(key, "DELETE", PLACE), spoof).outcome == (401, -2015)
        unsigned = front.send(with_key(key, "GET", ACCOUNT), spoof)
        assert (unsigned.status // 100, unsigned.reached) == (4, [])
        public = front.send(Call("GET", TIME, b"", b"", {}), spoof)
        assert not [name for name, _value in guarded(public) if name in ("x-portal-user", "x-portal-key")]
    # One by one: several together may be refused for a contradiction.
    for name, value in SPOOFED.items():
        for spelling in {*spellings(name)}:
            unsigned = front.send(with_key(key, "GET", ACCOUNT), {spelling: value})
            assert (unsigned.status // 100, unsigned.reached) == (4, []), (spelling, unsigned.body)


@case("the original target in a header of the client is not the one that is authorized")
def spoofed_target(front: Front) -> None:
    key = key_with("read")
    right = target_of(signed(key, "GET", ACCOUNT))
    for name in ("X-Original-URI", "X-Forwarded-Uri", "X-Original-URL", "X-Rewrite-URL"):
        value = f"http://x{right}" if name == "X-Original-URL" else right
        reply = front.send(with_key(key, "GET", ACCOUNT, b"timestamp=1"), {name: value})
        assert (reply.status // 100, reply.reached) == (4, []), name


@case("`Connection: X-Portal-User` and the like remove nothing")
def connection_names_headers(front: Front) -> None:
    key = key_with("read")
    plain = guarded(front.send(signed(key, "GET", ACCOUNT)))
    for name in (
        *SPOOFED,
        "X-MBX-APIKEY",
        ", ".join(SPOOFED),
        "keep-alive, X-Portal-User",
        "close, X-Client-IP",
    ):
        reply = front.send(signed(key, "GET", ACCOUNT), {"Connection": name})
        if reply.status == 200:
            assert guarded(reply) == plain, name
            connection = ",".join(reply.reached[0].all("connection")).lower()
            assert "x-" not in connection, connection
        else:
            assert reply.reached == [], name
        unsigned = front.send(with_key(key, "GET", ACCOUNT), {"Connection": name})
        assert (unsigned.status // 100 in (4, 5), unsigned.reached) == (True, []), name


#: Targets that some server takes for another path than it says, or for another query string.
ODD_TARGETS = (
    "/api/v3/ticker/../account", "/api/v3/ticker/../../v3/account", "/api/v3/ticker/./24hr",
    "/api/v3/ticker/%2e%2e/account",
    "/api/v3/ticker/.%2e/account", "/api/v3/ticker/%2E%2E/account", "/api/v3/ticker/..%2faccount",
    "/api/v3/ticker/%252e%252e/account", "//api/v3/time", "/api//v3/time", "/api/v3/ticker//24hr", "/api/v3%2ftime",
    "/api%2Fv3/time", "/api/v3/ticker/..;/account", "/api/v3/time;x=1", "/api/v3/time;/../account", "/api/v3\\time",
    "/api/v3/ticker/..\\account", "/api/v3/ticker/%5c..%5caccount", "/api/v3/time%00", "/api/v3/time%0a",
    "/api/v3/time%20",
    "/api/v3/time%23", "/api/v3/time%3f", "/api/v3/tim%65", "/%61pi/v3/time", "/api/v3/ticker/%c0%ae%c0%ae/account",
    "/api/v3/ticker/%ef%bc%8f..%ef%bc%8faccount", "/api/v3/ticker/..", "/api/v3/ticker/.", "/..", "/.", "/%2e%2e",
    "/api/v3/time#", "/api/v3/time#/x", "/api/v3/account#/../time", "*", "api/v3/time", "", "http://127.0.0.1",
    "http://127.0.0.1?/api/v3/time", "http://127.0.0.1/api/v3/ticker/../account", "/api/v3/ticker/..?x=/api/v3/time",
    "/api/v3/ticker/{x}", '/api/v3/ticker/"', "/api/v3/ticker/|", "/api/v3/ticker/*", "/api/v3/ticker/&account",
    # "{...}" is a variable for some proxies, and may be empty.
    "/api/v3/ticker/{/../../account;}", "/api/v3/ticker/{x/../}account", "/api/v3/account{/../time}", "/api/v3/{?}time",
)  # fmt: skip


@case("`..`, `%2e%2e`, `//`, `%2f`, `;`, `\\\\`, `#` in a path: refused or normalised")
def odd_paths(front: Front) -> None:
    key = key_with("read")
    query = signed(key, "GET", ACCOUNT).query.decode()
    for target in ODD_TARGETS:
        for text in (target, f"{target}?{query}" if "?" not in target else f"{target}&{query}"):
            head = f"GET {text} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-MBX-APIKEY: {key.key_id}\r\nConnection: close\r\n\r\n"
            reply = front.raw(head.encode())
            if reply.reached == []:
                assert reply.status // 100 == 4, (text, reply.status)
                continue
            # It passed: then the exchange got a plain path, and what that path needs was there.
            [received] = reply.reached
            path = received.target.partition("?")[0]
            assert re.fullmatch(PATH_PATTERN, path), (text, received.target)
            needs = front.setting.table.needs(received.method, path)
            signature = received.target.endswith(query)
            assert str(needs) == "none -" or (signature and str(needs) == "signed read"), (
                text,
                received.target,
            )


@case("bytes outside the URI's characters, and text behind the signed query: refused")
def odd_queries(front: Front) -> None:
    key = key_with("read")
    for byte in (b"\xc3\xbc", b"\xff", b'"', b"<", b"|", b"[", b"\\", b"%"):
        query = b"symbol=B%bT&timestamp=%b&signature=%b" % (byte, now()[1].encode(), b"0" * 64)
        _assert_target_refused(front, key, b"%b?%b" % (ACCOUNT.encode(), query))
    for behind in (b"#x=1", b"?x=1", b"&x=1", b"#", b"%23", b"&"):
        right = target_of(signed(key, "GET", ACCOUNT)).encode()
        if not (front.recipe.drops_fragments and behind.startswith(b"#")):
            _assert_target_refused(front, key, right + behind)
            continue
        # The server dropped it: what was authorized is what the exchange gets.
        reply = front.raw(_request_for(key, right + behind))
        assert [request.target.encode() for request in reply.reached] == [right]


def _request_for(key: ApiKey, target: bytes) -> bytes:
    lines = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nX-MBX-APIKEY: %b\r\nConnection: close\r\n\r\n"
    return lines % (target, key.key_id.encode())


def _assert_target_refused(front: Front, key: ApiKey, target: bytes) -> None:
    reply = front.raw(_request_for(key, target))
    assert (reply.status, reply.reached) == (400, []), (target, reply.status, reply.body)


@case("HTTP/2: a form body without a length")
def http2_body_without_length(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", PLACE, body=ORDER)
    status, code = _http2(front, call)
    if status // 100 == 4 and front.exchange.received[-1:] != []:
        assert front.exchange.received[-1].body != call.body
    if status // 100 == 4:
        raise Refused(status, code)
    assert (status, code) == (200, 0)
    received = front.exchange.received[-1]
    assert (received.method, received.target, received.body) == ("POST", PLACE, call.body)
    assert received.one("x-portal-user") == str(key.owner_id)


@case("HTTP/2: a body that was not signed is refused or not passed on")
def http2_unsigned_body(front: Front) -> None:
    key = key_with("read", "trade")
    for method, path in (("GET", ACCOUNT), ("POST", PLACE), ("DELETE", PLACE)):
        before = len(front.exchange.received)
        call = replace(signed(key, method, path, ORDER), body=b"quantity=1000000")
        status, _code = _http2(front, call)
        reached = front.exchange.received[before:]
        # Without the body it is the request that was signed.
        assert [(request.target, request.body) for request in reached] in ([], [(target_of(call), b"")])
        assert status // 100 in (2, 4)


def _http2(front: Front, call: Call) -> tuple[int, int]:
    """Send ``call`` over HTTP/2, its body without a length; return status and code."""
    headers = [part for name, value in call.headers.items() for part in ("-H", f"{name}: {value}")]
    before = len(front.exchange.received)
    result = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "--max-time", "60", "-X", call.method, *headers,
         "-H", "X-Client-IP: " + ELSEWHERE, "-w", "\n%{http_code} %{http_version}", "-T", "-",
         f"http://127.0.0.1:{front.http2_port}{target_of(call)}"],
        input=call.body, capture_output=True,
    )  # fmt: skip
    if front.recipe.http2 == "no":
        assert (result.returncode, result.stdout[-2:]) != (0, b" 2"), "it speaks HTTP/2"
        assert front.exchange.received[before:] == []
        raise Refused(result.stderr)
    assert result.returncode == 0, result.stderr
    text, _, last = result.stdout.rpartition(b"\n")
    status, version = last.decode().split()
    assert version == "2"
    document = json.loads(text)
    return int(status), 0 if document.get("exchange") else int(document["code"])


@case("a byte that a proxy could replace by one that was signed")
def replaced_bytes(front: Front) -> None:
    key = key_with("read")
    for byte in (b"\xff", b"\xc3\xbc", b"\x80", b"^", b"`", b"{"):
        query = b"symbol=B%bT&timestamp=%b" % (byte, now()[1].encode())
        for replacement in (byte, b"!", b"?", b"\xef\xbf\xbd", b"%%%02X" % byte[0]):
            payload = query.replace(byte, replacement)
            signature = hmac.new(people.secret_of(key).encode(), payload, hashlib.sha256).hexdigest()
            target = b"%b?%b&signature=%b" % (ACCOUNT.encode(), query, signature.encode())
            _assert_target_refused(front, key, target)


@case("responses of the exchange are passed on, also 403 and 503")
def exchange_responses(front: Front) -> None:
    for status in (400, 401, 403, 404, 418, 429, 500, 502, 503):
        front.exchange.status = status
        try:
            reply = front.send(Call("GET", TIME, b"", b"", {}))
        finally:
            front.exchange.status = 200
        assert (reply.status, reply.code, len(reply.reached)) == (status, 0, 1)


@case("a chunked form body")
def chunked_body(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", PLACE, body=ORDER)
    connection = front.connection()
    try:
        assert_passed(front.send_on(connection, call, chunked=True), key, call)
    finally:
        connection.close()


@case("fields behind a chunked body do not reach the exchange")
def trailers(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", PLACE, body=ORDER)
    head = _head(call, b"Transfer-Encoding: chunked", b"Trailer: X-Portal-User")
    body = b"%x\r\n%b\r\n0\r\nX-Portal-User: 1\r\nX-Client-IP: 203.0.113.9\r\n\r\n" % (
        len(call.body),
        call.body,
    )
    reply = front.raw(head + body)
    if reply.reached:
        [received] = reply.reached
        assert received.body == call.body
        assert received.one("x-portal-user") == str(key.owner_id)
        assert received.one("x-client-ip") == HOME
    else:
        assert reply.status // 100 == 4


def _head(call: Call, *lines: bytes) -> bytes:
    """Return the head of an HTTP/1.1 request with these lines after the usual ones."""
    headers = [f"{name}: {value}".encode() for name, value in call.headers.items()]
    first = f"{call.method} {target_of(call)} HTTP/1.1".encode()
    return b"\r\n".join([first, b"Host: 127.0.0.1", b"Connection: close", *headers, *lines, b"", b""])


@case("a request with `Content-Length` and `Transfer-Encoding` smuggles nothing")
def two_lengths(front: Front) -> None:
    key = key_with("read", "trade")
    hidden = b"DELETE %b HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Portal-User: 1\r\n\r\n" % PLACE.encode()
    call = signed(key, "GET", ACCOUNT)
    for lines, body in (
        ((b"Content-Length: %d" % (len(hidden) + 5), b"Transfer-Encoding: chunked"), b"0\r\n\r\n" + hidden),
        ((b"Content-Length: 5", b"Transfer-Encoding: chunked"), b"0\r\n\r\n" + hidden),
        ((b"Content-Length: 0", b"Content-Length: %d" % len(hidden)), hidden),
        ((b"Transfer-Encoding: xchunked", b"Content-Length: 0"), hidden),
        ((b"Transfer-Encoding : chunked", b"Content-Length: 0"), b"0\r\n\r\n" + hidden),
        ((b"Content-Length: +0",), hidden),
    ):
        head = _head(call, *lines).replace(b"Connection: close\r\n", b"")
        before = len(front.exchange.received)
        with socket.create_connection((HOME, front.setting.port), timeout=30) as peer:
            peer.sendall(head + body)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65_536):
                pass
        for request in front.exchange.received[before:]:
            assert (request.method, request.target, request.body) == ("GET", target_of(call), b""), lines


@case("half a body: nothing reaches the exchange")
def half_body(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", PLACE, body=ORDER)
    half = call.body[: len(call.body) // 2]
    chunk = b"%x\r\n%b\r\n" % (len(half), half)
    for lines, body in (
        ([b"Content-Length: %d" % len(call.body)], half),
        ([b"Transfer-Encoding: chunked"], chunk),
    ):
        before = len(front.exchange.received)
        with socket.create_connection((HOME, front.setting.port), timeout=60) as peer:
            peer.sendall(_head(call, *lines) + body)
            peer.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while piece := peer.recv(65_536):
                    answer += piece
            except ConnectionError:
                pass
        assert b"exchange" not in answer, lines
        assert front.exchange.received[before:] == [], lines


@case("a body that arrives slowly")
def slow_body(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", PLACE, body=ORDER)
    connection = socket.create_connection((HOME, front.setting.port), timeout=60)
    before = len(front.exchange.received)
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_head(call, b"Content-Length: %d" % len(call.body)))
        for n in range(0, len(call.body), 16):
            connection.sendall(call.body[n : n + 16])
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    status = int(answer.split(b" ", 2)[1])
    if status // 100 == 4:
        assert front.exchange.received[before:] == []
        raise Refused(answer)
    assert status == 200, answer
    assert [request.body for request in front.exchange.received[before:]] == [call.body]


@case("a URL of 60 KB")
def long_url(front: Front) -> None:
    key = key_with("read")
    call = signed(key, "GET", ACCOUNT, [("note", "n" * 60_000)])
    assert_passed(front.send(call), key, call)


@case("a body of 60 KB")
def large_body(front: Front) -> None:
    key = key_with("read", "trade")
    for size in (20_000, 60_000):
        call = signed(key, "POST", PLACE, body=[*ORDER, ("note", "n" * size)])
        assert_passed(front.send(call), key, call)


@case("more than 64 KB: refused, 413 with -1000 where bodies are taken")
def too_large(front: Front) -> None:
    key = key_with("read", "trade")
    for chunked in (False, True):
        call = signed(key, "POST", PLACE, body=[*ORDER, ("note", "n" * (LIMIT + 1))])
        connection, before = front.connection(), len(front.exchange.received)
        try:
            reply = front.send_on(connection, call, chunked=chunked)
        except OSError:  # the proxy hung up while the body was sent
            assert front.exchange.received[before:] == []
            continue
        finally:
            connection.close()
        if reply.outcome == (400, -1000):
            raise Refused(reply.body)
        assert_refused(reply, 413, -1000)
    query = [("note", "n" * (LIMIT // 2))]
    both = front.send(signed(key, "POST", PLACE, query, [("note", "n" * (LIMIT // 2))]))
    assert both.outcome == ((400, -1000) if "mixed" in front.recipe.refuses else (413, -1000))


@case("a WebSocket upgrade is not passed on")
def websocket_upgrade(front: Front) -> None:
    key = key_with("read")
    upgrade = (
        b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    call = signed(key, "GET", ACCOUNT)
    reply = front.raw(_head(call, *upgrade).replace(b"Connection: close\r\n", b""), wait_for_close=False)
    if reply.status == 200:
        [received] = reply.reached
        assert received.one("upgrade") is None
        assert "upgrade" not in ",".join(received.all("connection")).lower()
        assert received.one("x-portal-user") == str(key.owner_id)
    else:
        assert (reply.status // 100, reply.reached) == (4, [])
    unsigned = front.raw(_head(with_key(key, "GET", ACCOUNT), *upgrade), wait_for_close=False)
    assert (unsigned.status // 100, unsigned.reached) == (4, [])


@case("300 requests on one connection")
def keep_alive(front: Front) -> None:
    key = key_with("read", "trade")
    connection = front.connection()
    connection.connect()
    local = connection.sock.getsockname()
    try:
        for n in range(300):
            if n % 3 == 2:
                assert front.send_on(connection, signed(key, "GET", "/not/listed")).outcome == (401, -2015)
                continue
            body = ORDER if n % 3 == 1 and "post_form" not in front.recipe.refuses else ()
            call = signed(key, "POST", PLACE, body=body) if body else signed(key, "GET", ACCOUNT)
            assert_passed(front.send_on(connection, call), key, call)
        assert connection.sock is not None, "the connection was closed"
        assert connection.sock.getsockname() == local, "the connection was closed"
    finally:
        connection.close()


@case("signed requests without a body are decided on the gateway's fast path")
def fast_path(front: Front) -> None:
    """The first of a key asks the database, and so do all while the machine is too busy to trust the key cache."""
    before, deadline = _decided(front), time.monotonic() + 120
    way = front.recipe.way
    while _decided(front).get(way, 0) < before.get(way, 0) + 15:
        assert time.monotonic() < deadline, (before, _decided(front))
        key = key_with("read")
        for n in range(10):
            call = signed(key, "GET", ACCOUNT, [("symbol", f"BTC{n}")])
            assert_passed(front.send(call), key, call)


def _decided(front: Front) -> dict[str, int]:
    """Return how many requests the gateway decided so far, by the kind of decision."""
    text = front.gateway.ask("GET", "/metrics").body.decode()
    lines = re.findall(r'portal_gateway_ways_total\{way="(\w+)"\} ([0-9.e+]+)', text)
    return {name: int(float(number)) for name, number in lines}


@case("portal stopped: 503 with -1001")
def portal_stopped(front: Front) -> None:
    key = key_with("read", "trade")
    with front.relay.stopped():
        _assert_nothing_passes(front, key)
    _assert_recovers(front, key)


@case("portal does not answer: 503 with -1001")
def portal_hangs(front: Front) -> None:
    key = key_with("read", "trade")
    with front.relay.hanging():
        _assert_nothing_passes(front, key)
    _assert_recovers(front, key)


@case("wrong token: 503 with -1001")
def token_wrong(front: Front) -> None:
    key = key_with("read", "trade")
    GatewayToken.objects.filter(name="proxy").delete()
    settle()
    _assert_nothing_passes(front, key)
    front.trust()
    _assert_recovers(front, key)


def _assert_nothing_passes(front: Front, key: ApiKey) -> None:
    assert_refused(front.send(signed(key, "GET", ACCOUNT)), 503, -1001)
    # Also where no signature is needed, and where the portal would be asked with a body.
    assert_refused(front.send(Call("GET", TIME, b"", b"", {})), 503, -1001)
    reply = front.send(signed(key, "POST", PLACE, body=ORDER))
    if "post_form" in front.recipe.refuses:
        assert (reply.status // 100, reply.reached) == (4, [])
    else:
        assert_refused(reply, 503, -1001)


def _assert_recovers(front: Front, key: ApiKey) -> None:
    """A proxy may take its time to see that the portal is back."""
    deadline = time.monotonic() + 60
    while True:
        call = signed(key, "GET", ACCOUNT)
        reply = front.send(call)
        if reply.status == 200:
            assert_passed(reply, key, call)
            return
        assert_refused(reply, 503, -1001)
        assert time.monotonic() < deadline
