"""What must hold on every proxy, written once: each case takes a running proxy.

A case is a function with a title, its line in the table of docs/gateway.md. It sends real requests through the proxy
and asserts what the client and the exchange get.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apikeys.models import ApiKey
from tests.support import people
from tests.support.binance_client import BinanceClient, Call
from tests.support.recipes import Front, Reply, settle

Pairs = Sequence[tuple[str, str]]
HOME = "127.0.0.1"


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


def key_with(*permissions: str) -> ApiKey:
    """Return a new customer's key with these permissions, from the address of the tests."""
    key = people.key_of(people.customer())
    key.apply([*permissions], "trusted", [HOME])
    settle()
    return key


def now() -> tuple[str, str]:
    return "timestamp", str(time.time_ns() // 1_000_000)


def signed(key: ApiKey, method: str, path: str, query: Pairs = (), body: Pairs = (), **options: str) -> Call:
    """Return a signed request; the timestamp is in the body if there is one, else in the query string."""
    client = BinanceClient(key.key_id, people.secret_of(key))
    if body:
        return client.call(method, path, query, [*body, now()], **{"sign_in": "body", **options})  # type: ignore[arg-type]
    return client.call(method, path, [*query, now()], content_type=None, **options)  # type: ignore[arg-type]


def assert_passed(reply: Reply, key: ApiKey | None, call: Call) -> None:
    """The exchange received this request once, unchanged, with the portal's headers and nobody else's."""
    if reply.outcome[0] // 100 == 4:
        raise Refused(reply.status, reply.body)
    assert reply.outcome == (200, 0), (reply.status, reply.body)
    [received] = reply.reached
    target = call.path + ("?" + call.query.decode() if call.query else "")
    assert (received.method, received.target, received.body) == (call.method, target, call.body)
    assert received.one("x-portal-user") == (str(key.owner_id) if key else None)
    assert received.one("x-portal-key") == (key.key_id if key else None)
    assert received.one("x-client-ip") == HOME
    if call.body:
        assert received.one("content-length") == str(len(call.body)) or received.one("transfer-encoding")


@case("GET with a signature: 200")
def read(front: Front) -> None:
    key = key_with("read")
    call = signed(key, "GET", "/api/v3/account", [("symbol", "BTC IRT"), ("note", "a+b/ü")])
    reply = front.send(call)
    assert_passed(reply, key, call)
    assert reply.reached[0].one("x-portal-permissions") == "read"
    assert reply.reached[0].one("x-portal-security") == "signed"


@case("POST with a form body: 200")
def post_form(front: Front) -> None:
    key = key_with("read", "trade")
    call = signed(key, "POST", "/api/v3/order", body=[("symbol", "BTCIRT"), ("quantity", "1.5")])
    assert_passed(front.send(call), key, call)


@case("public route: 200 without a key")
def public_route(front: Front) -> None:
    call = Call("GET", "/api/v3/time", b"", b"", {})
    reply = front.send(call)
    assert_passed(reply, None, call)
    assert reply.reached[0].one("x-portal-security") == "none"


@case("portal stopped: 503 with -1001")
def portal_stopped(front: Front) -> None:
    key = key_with("read")
    with front.relay.stopped():
        assert front.send(signed(key, "GET", "/api/v3/account")).outcome == (503, -1001)
    call = signed(key, "GET", "/api/v3/account")
    assert_passed(front.send(call), key, call)
