"""An ASGI application behind deploy/middleware/portal_asgi.py: it forwards what it receives to the exchange.

    granian --interface asgi tests.support.middleware_app:app

In the environment: PORTAL_GATEWAY_TOKEN, and MIDDLEWARE, a JSON object of portal, exchange, routes and allow_origin.
"""

import importlib.util
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from tests.support.production import ROOT

Message = MutableMapping[str, Any]
SETTING = json.loads(os.environ["MIDDLEWARE"])
#: Of the exchange's responses: what belongs to its connection.
HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding")
_exchange = httpx.AsyncClient(trust_env=False)


def _shipped() -> Any:
    path = ROOT / "deploy/middleware/portal_asgi.py"
    spec = importlib.util.spec_from_file_location("portal_asgi", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    request = httpx.Request(
        scope["method"],
        SETTING["exchange"],
        headers=scope["headers"],
        content=body or None,
        extensions={"target": scope["raw_path"] + (b"?" + query if query else b"")},
    )
    response = await _exchange.send(request)
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    start = {"type": "http.response.start", "status": response.status_code}
    await send({**start, "headers": [pair for pair in headers if pair[0] not in HOP_BY_HOP]})
    await send({"type": "http.response.body", "body": response.content})


app = _shipped().PortalMiddleware(
    forward, SETTING["portal"], os.environ["PORTAL_GATEWAY_TOKEN"], SETTING["routes"], SETTING["allow_origin"]
)
