"""ASGI middleware: the portal authorizes each request, with its query string and body, before the application gets it.

Copy this file into the project. It needs Python 3.11 or later and aiohttp, works with any ASGI server and framework:

    with open("/etc/exchange/portal-routes.json") as file:  # manage.py gateway_routes routes --format json
        routes = json.load(file)
    app = PortalMiddleware(app, "http://127.0.0.1:8001", os.environ["PORTAL_GATEWAY_TOKEN"], routes)

It has to be the outermost middleware: what is outside of it gets requests that nobody authorized.
"""

import asyncio
import re

import aiohttp
from yarl import URL

#: Query string and body have 64 KB at most: the portal refuses more. Seconds for its answer, and for a body to arrive.
MAX_BODY, BODY_TIMEOUT, TIMEOUT = 65_536, 10.0, aiohttp.ClientTimeout(total=2.0, connect=1.0)
#: The rejections of the contract. Any other status (403: wrong token; 5xx: no decision) is 503 for the client.
REJECTIONS = (400, 401, 408, 413, 429)
UNAVAILABLE = b'{"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}'
NO_SIGNATURE = b'{"code": -1022, "msg": "Signature for this request is not valid."}'
NO_PATH = b'{"code": -1000, "msg": "This is no path of the API."}'
TOO_LARGE = b'{"code": -1000, "msg": "The request is too large."}'
LATE = b'{"code": -1000, "msg": "The body did not arrive in time."}'
#: SECURITY: headers that only the portal and this file say, or that let a service read another route.
#: Many servers read X_Portal_User as X-Portal-User, so only plain names pass at all.
GUARDED = re.compile(
    rb"x-(client-ip|real-ip|portal-.*|required-.*|forwarded-.*|original-.*|rewrite-url|http-method.*|method-override)"
    rb"|forwarded|(proxy-)?connection|keep-alive|upgrade|sec-websocket-.*|te|trailer|transfer-encoding|content-length"
)
PLAIN_NAME = re.compile(rb"[a-z0-9-]+")
IDENTITY = tuple(b"x-portal-" + name for name in (b"user", b"subject", b"key", b"permissions", b"security"))
#: The portal gets no header that was not written here.
NOT_SENT = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class PortalMiddleware:
    """``allow_origin``: answer CORS preflight requests of this origin; by default they need what the table says."""

    def __init__(self, app, portal, token, routes, allow_origin=None):
        if not token:
            raise ValueError("the gateway's token is empty")
        self._app, self._portal, self._bearer = app, URL(portal), f"Bearer {token}"
        self._path, self._default = re.compile(routes["path"]), routes["default"]
        # In this order: an exact path before a prefix, a longer prefix before a shorter one.
        self._routes = routes["routes"]
        self._origin = allow_origin and allow_origin.encode("ascii")
        self._session = None

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise ValueError(f"unknown ASGI scope: {scope['type']}")

    async def _http(self, scope, receive, send):
        method, headers = scope["method"], [(name.lower(), value) for name, value in scope["headers"]]
        # SECURITY: the path as sent. `..`, `//`, `%2f` or `;` may lead to another route than the one that is looked up.
        path = (scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
        if not self._path.fullmatch(path):
            return await _answer(send, method, 400, NO_PATH)
        # Bytes that no URI contains cannot be sent to the portal, which says the same of them.
        if not re.fullmatch(rb"[!-~]*", scope["query_string"]):
            return await _answer(send, method, 400, NO_SIGNATURE)
        sent = {name for name, _value in headers}
        if self._origin and method == "OPTIONS" and {b"origin", b"access-control-request-method"} <= sent:
            return await _preflight(send, self._origin)
        try:
            body = await asyncio.wait_for(_read(receive), BODY_TIMEOUT)
        except TimeoutError:
            return await _answer(send, method, 408, LATE)
        except OverflowError:
            return await _answer(send, method, 413, TOO_LARGE)
        # The client hung up, or the server does not name it.
        if body is None or scope["client"] is None:
            return await _answer(send, method, 503, UNAVAILABLE)
        address = scope["client"][0]
        try:
            status, answer, content = await self._ask(
                method, path, scope["query_string"], headers, address, body
            )
        except (aiohttp.ClientError, TimeoutError):
            return await _answer(send, method, 503, UNAVAILABLE)
        if status in REJECTIONS and answer.get("content-type") == "application/json":
            retry = answer.get("retry-after")
            more = [(b"retry-after", retry.encode("ascii"))] if retry else []
            return await _answer(send, method, status, content, more)
        # SECURITY: only what the portal says of an allowed request; another server at its address does not.
        if status != 200 or "x-portal-security" not in answer:
            return await _answer(send, method, 503, UNAVAILABLE)
        identity = [
            (name, answer[name.decode()].encode("ascii")) for name in IDENTITY if name.decode() in answer
        ]
        kept = [pair for pair in headers if PLAIN_NAME.fullmatch(pair[0]) and not GUARDED.fullmatch(pair[0])]
        length = [(b"content-length", str(len(body)).encode())] if body or b"content-length" in sent else []
        own = [(name, address.encode("ascii")) for name in (b"x-client-ip", b"x-real-ip", b"x-forwarded-for")]
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay():
            return messages.pop() if messages else await receive()

        return await self._app({**scope, "headers": [*kept, *length, *own, *identity]}, replay, send)

    async def _ask(self, method, path, query, headers, address, body):
        """Send the request to the portal: its method, target and body as they came."""
        route = next((route for route in self._routes if _matches(route, method, path)), self._default)
        # SECURITY: of the client's headers only its keys; two keys are refused.
        lines = [("Authorization", self._bearer), ("X-Client-IP", address), *_needs(route)]
        lines += [
            ("X-MBX-APIKEY", value.decode("latin-1")) for name, value in headers if name == b"x-mbx-apikey"
        ]
        # SECURITY: built, not parsed: a `#` in the query string would end what the portal sees of it.
        target = {"path": f"/gateway/v1/check{path}", "query_string": query.decode("ascii"), "encoded": True}
        url = URL.build(scheme=self._portal.scheme, authority=self._portal.authority, **target)
        if self._session is None:  # it belongs to an event loop, which runs now
            # The gateway closes connections that are idle for 10 s. No proxy of the environment learns the token.
            own = {
                "connector": aiohttp.TCPConnector(limit=64, keepalive_timeout=8),
                "cookie_jar": aiohttp.DummyCookieJar(),
            }
            self._session = aiohttp.ClientSession(**own, timeout=TIMEOUT, skip_auto_headers=NOT_SENT)
        settings = {"headers": lines, "data": body or None, "allow_redirects": False}
        async with self._session.request(method, url, **settings) as response:
            return response.status, response.headers, await response.read()


def _matches(route, method, path):
    start = route["path"]
    return method in route["methods"] and (path.startswith(start) if route["prefix"] else path == start)


def _needs(route):
    pairs = (("X-Required-Security", route["security"]), ("X-Required-Permission", route["permission"]))
    return [(name, value) for name, value in pairs if value]


async def _read(receive):
    """Return the whole body, or None if the client hangs up. Raise `OverflowError` if it is too large."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise OverflowError
        if not message.get("more_body", False):
            return body
    return None


async def _answer(send, method, status, body, more=()):
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


async def _preflight(send, origin):
    methods, names = b"GET, POST, PUT, DELETE", b"X-MBX-APIKEY, Content-Type"
    values = ((b"origin", origin), (b"methods", methods), (b"headers", names))
    headers = [(b"access-control-allow-" + name, value) for name, value in values]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
