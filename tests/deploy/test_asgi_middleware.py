"""What the ASGI middleware sends to the portal, byte by byte; what it does with a real gateway is in recipes/."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.middleware import AllowingPortal, shipped

ROUTES = {
    "path": "/[a-z0-9/]*",
    "default": {"security": "signed", "permission": "withdraw"},
    "routes": [],
}


@pytest.fixture
def portal() -> Iterator[AllowingPortal]:
    with AllowingPortal() as server:
        yield server


def ask(portal: AllowingPortal, query: bytes, *, method: str = "GET", body: bytes = b"") -> list[bytes]:
    """Send one request through the middleware; return the query strings with which the application was called."""
    reached: list[bytes] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["query_string"])

    async def run() -> None:
        address = f"http://127.0.0.1:{portal.server_address[1]}"
        middleware = shipped().PortalMiddleware(application, address, "token", ROUTES)
        scope = {
            "type": "http", "method": method, "raw_path": b"/api/v3/order", "query_string": query,
            "headers": [(b"x-mbx-apikey", b"k\xe9y"), (b"user-agent", b"bot")], "client": ("192.0.2.1", 1),
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            pass

        await middleware(scope, receive, send)
        await middleware._session.close()

    # In a thread: where Playwright runs in this process, it has an event loop here.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, run()).result()
    return reached


@pytest.mark.parametrize("query", ["a=1#b=2", "a=%41&b=%2f", "a=\"'<>{}|\\^`", "a=1?b=2", "#", "a=+&b=%20"])
def test_portal_gets_the_query_string_as_the_application_does(portal: AllowingPortal, query: str) -> None:
    assert ask(portal, query.encode("ascii")) == [query.encode("ascii")]

    assert portal.lines == [f"GET /gateway/v1/check/api/v3/order?{query} HTTP/1.1"]


def test_portal_gets_no_header_of_the_client_but_its_key(portal: AllowingPortal) -> None:
    ask(portal, b"a=1", method="POST", body=b"b=2")

    own = [
        "authorization",
        "content-length",
        "host",
        "x-client-ip",
        "x-required-permission",
        "x-required-security",
    ]
    assert portal.names == [sorted([*own, "x-mbx-apikey"])]
