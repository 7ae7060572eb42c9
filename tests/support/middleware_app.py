"""An ASGI application behind deploy/middleware/portal_asgi.py: it forwards what it receives to the exchange.

    granian --interface asgi tests.support.middleware_app:app

In the environment: PORTAL_GATEWAY_TOKEN, and MIDDLEWARE, a JSON object of portal, exchange, routes and allow_origin.
"""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
from yarl import URL

from tests.support.middleware import shipped

Message = MutableMapping[str, Any]
SETTING = json.loads(os.environ["MIDDLEWARE"])
EXCHANGE = URL(SETTING["exchange"])
#: Of the exchange's responses: what belongs to its connection.
HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding")
_sessions: list[aiohttp.ClientSession] = []


async def forward(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    query = scope["query_string"]
    if not _sessions:  # a session belongs to an event loop
        _sessions.append(aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()))
    target = {"path": scope["raw_path"].decode("ascii"), "query_string": query.decode("ascii")}
    url = URL.build(scheme=EXCHANGE.scheme, authority=EXCHANGE.authority, encoded=True, **target)
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    async with _sessions[0].request(
        scope["method"],
        url,
        headers=lines,
        data=body or None,
        allow_redirects=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
    ) as response:
        content = await response.read()
    headers = [(name.lower(), value) for name, value in response.raw_headers]
    start = {"type": "http.response.start", "status": response.status}
    await send({**start, "headers": [pair for pair in headers if pair[0] not in HOP_BY_HOP]})
    await send({"type": "http.response.body", "body": content})


app = shipped().PortalMiddleware(
    forward, SETTING["portal"], os.environ["PORTAL_GATEWAY_TOKEN"], SETTING["routes"], SETTING["allow_origin"]
)
