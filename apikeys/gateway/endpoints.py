"""The endpoints of the authorization API: read a request, authorize it, respond."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Any

from apikeys.gateway import prometheus, responses
from apikeys.gateway import requests as gateway_requests
from apikeys.gateway.authorizer import AuthorizationResult, Authorizer
from apikeys.gateway.http.messages import HttpRequest
from apikeys.gateway.keycache.cache import Unavailable
from apikeys.gateway.requests import AuthorizationRequest, AuthorizationRequestError
from apikeys.gateway.tokens import TokenCache
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome

ALLOWED_DECISION = Decision.of(Outcome.ALLOWED)
PREFIX = "/gateway/v1/"
AUTH = PREFIX + "auth"
_AUTH = AUTH.encode("ascii")
_USER, _KEY = b"x-portal-user: ", b"\r\nx-portal-key: "
#: Headers that the fast path reads, in this order; each has to occur once.
_FAST_PATH_HEADERS = (
    b"authorization",
    b"x-mbx-apikey",
    b"x-original-uri",
    b"x-client-ip",
    b"x-required-permission",
)
#: Headers that the fast path does not support: a second URI of the request, a body, a partial body.
_UNSUPPORTED_HEADERS = {
    b"x-forwarded-uri",
    b"content-length",
    b"transfer-encoding",
    b"x-envoy-auth-partial-body",
}
#: Maximum number of cached header orders: one for each kind of client whose headers a proxy passes on. An order with
#: more bytes of names is not cached, or clients could fill the memory with invented headers.
MAX_HEADER_ORDERS, MAX_HEADER_ORDER_BYTES = 1_000, 2_000
ENVOY = PREFIX + "envoy/"
#: Less than a batch of a hundred requests of maximum size (6 MB), which no gateway sends.
MAX_BODY_BYTES = 2_097_152
#: Timeout for receiving a body; then the response is 408.
BODY_TIMEOUT_SECONDS = 10.0


class BodyTooLarge(Exception):
    """The body has more than `MAX_BODY_BYTES`: 413."""


#: Select the values of `_FAST_PATH_HEADERS` from the values of all headers.
HeaderSelector = Callable[[list[bytes]], tuple[bytes, ...]]


class Endpoints:
    """The request handler of the HTTP server (`http.server.RequestHandler`).

    ``ready`` returns whether the process can authorize; ``openapi_text`` is the OpenAPI document; ``metrics_text``
    returns the metrics in Prometheus' format.
    """

    def __init__(
        self,
        authorizer: Authorizer,
        tokens: TokenCache,
        ready: Callable[[], Awaitable[bool]],
        openapi_text: str,
        metrics_text: Callable[[], str],
    ) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._ready = ready
        self._openapi_text = openapi_text
        self._metrics_text = metrics_text
        self._selectors: dict[bytes, HeaderSelector] = {}
        self._full_path_count = 0
        self._endpoints = {
            AUTH: (("GET", "HEAD", "POST"), self._auth),
            PREFIX + "authorize": (("POST",), self._authorize),
            PREFIX + "openapi.json": (("GET", "HEAD"), self._openapi),
        }

    def handle_fast(
        self, method: bytes, target: bytes, names: list[bytes], values: list[bytes]
    ) -> bytes | None:
        """Return the header lines of a 204 response to the usual form of a request; None: call `handle`."""
        if target != _AUTH or method != b"GET":
            return None
        order = b"\n".join(names)
        select = self._selectors.get(order) or _header_selector(names)
        if select is None:
            return None
        token, key, uri, caller, permission = select(values)
        number = self._tokens.known_headers.get(token)
        path, _mark, query = uri.partition(b"?")
        # SECURITY: freshness of the tokens is checked together with the key's, in `authorize_fast`: if
        # `InvalidationListener.is_fresh` returns False, or evicts everything, no key is found and None is returned. The
        # conditions on the path are those of `requests`.
        if number is None or b"#" in path or not path.isascii():
            return None
        counter = self._authorizer.authorize_fast(key, query, caller, permission)
        if counter is None:
            return None
        self._tokens.used_ids.add(number)
        if order not in self._selectors and len(order) <= MAX_HEADER_ORDER_BYTES:
            self._store_selector(order, select)
        if not counter.user:
            counter.user, counter.permission_lines = responses.fast_path_header_parts(counter.record)
        return b"".join((_USER, counter.user, _KEY, key, counter.permission_lines))

    def _store_selector(self, order: bytes, select: HeaderSelector) -> None:
        if len(self._selectors) >= MAX_HEADER_ORDERS:
            self._selectors.clear()
        self._selectors[order] = select

    def take_full_path_count(self) -> int:
        """Return the number of requests that `handle_fast` did not answer since the last call."""
        count, self._full_path_count = self._full_path_count, 0
        return count

    async def handle(self, request: HttpRequest) -> None:
        """Respond to any request."""
        try:
            await self._handle(request)
        except BodyTooLarge:
            request.respond_empty(413, [])
        except TimeoutError:
            request.respond_empty(408, [("connection", "close")])
        except Unavailable:
            request.respond_empty(503, [("retry-after", "1")])

    async def _handle(self, request: HttpRequest) -> None:
        path = request.path
        if path == "/metrics":
            await self._metrics(request)
        elif not path.startswith(PREFIX):
            await self._probe(path, request)
        # SECURITY: before anything else: without a token a client does not even learn which paths exist.
        elif not await self._tokens.is_valid(request.headers.get("authorization")):
            request.respond_empty(403, [])
        elif path.startswith(ENVOY):
            await self._envoy(request)
        elif path not in self._endpoints:
            request.respond_empty(404, [])
        elif request.method not in self._endpoints[path][0]:
            request.respond_empty(405, [("allow", ", ".join(self._endpoints[path][0]))])
        else:
            await self._endpoints[path][1](request)

    async def _probe(self, path: str, request: HttpRequest) -> None:
        if path == "/healthz":
            request.respond_text(200, [("content-type", "text/plain")], "ok\n")
        elif path == "/readyz":
            ready = await self._ready()
            request.respond_text(
                200 if ready else 503, [("content-type", "text/plain")], "ready\n" if ready else "not ready\n"
            )
        else:
            request.respond_empty(404, [])

    async def _metrics(self, request: HttpRequest) -> None:
        header = request.headers.get("authorization")
        try:
            is_valid = await self._tokens.is_valid(header)
        except Unavailable:
            # Metrics are needed most while the database is unavailable: accept a token that was valid before.
            is_valid = self._tokens.was_valid(header)
        if is_valid:
            request.respond_text(200, [("content-type", prometheus.CONTENT_TYPE)], self._metrics_text())
        else:
            request.respond_empty(403, [])

    async def _decide(self, authorization: AuthorizationRequest) -> AuthorizationResult:
        """Authorize, on the fast path if possible. Raise `Unavailable`."""
        self._full_path_count += 1
        key, caller = authorization.api_key or "", authorization.client_ip or ""
        permission = authorization.permission
        if not authorization.body and (key + caller + permission).isascii():
            counter = self._authorizer.authorize_fast(
                key.encode(), authorization.query, caller.encode(), permission.encode()
            )
            if counter is not None:
                return AuthorizationResult(ALLOWED_DECISION, counter.record)
        return await self._authorizer.authorize(authorization)

    async def _auth(self, request: HttpRequest) -> None:
        # SECURITY: the body of the sub-request is part of the decision: a proxy that sends it along also forwards it.
        body = await _read_body(request) if request.has_body else b""
        authorization = gateway_requests.from_auth(
            request.headers, request.query_string, body, trailer=request.has_trailer
        )
        result = await self._decide(authorization)
        if result.record is not None:
            request.respond_empty(204, responses.allowed_headers(result.record))
        else:
            status = 401 if result.decision.status == 401 else 403
            request.respond_empty(status, responses.rejection_headers(result))

    async def _authorize(self, request: HttpRequest) -> None:
        try:
            body = await _read_body(request)
            # SECURITY: "?permission=withdraw" would be ignored, and the request be authorized for "read".
            if request.query_string or request.has_trailer:
                raise AuthorizationRequestError("the request has a query string or a trailer")
            authorizations, is_batch = gateway_requests.from_json(_parse_json(body))
        except AuthorizationRequestError as error:
            request.respond_text(400, [responses.JSON], json.dumps({"error": str(error)}))
            return
        results = await asyncio.gather(*(self._decide(authorization) for authorization in authorizations))
        documents = [responses.result_document(result) for result in results]
        document = {"decisions": documents} if is_batch else documents[0]
        request.respond_text(200, [responses.JSON, responses.NO_STORE], json.dumps(document))

    async def _envoy(self, request: HttpRequest) -> None:
        body = await _read_body(request)
        path, query = request.path, request.query_string
        authorization = gateway_requests.from_envoy(
            request.headers, path, query, body, trailer=request.has_trailer
        )
        result = await self._decide(authorization)
        if result.record is not None:
            request.respond_empty(200, responses.allowed_headers(result.record))
            return
        headers = [responses.JSON, responses.NO_STORE, *responses.retry_after_headers(result)]
        request.respond_text(result.decision.status, headers, responses.client_body(result))

    async def _openapi(self, request: HttpRequest) -> None:
        request.respond_text(200, [responses.JSON], self._openapi_text)


def _header_selector(sent: list[bytes]) -> HeaderSelector | None:
    names = [name.lower() for name in sent]
    # SECURITY: `requests` rejects each of these if it occurs twice, or beside the other header for the same value.
    if any(names.count(name) != 1 for name in _FAST_PATH_HEADERS) or not _UNSUPPORTED_HEADERS.isdisjoint(
        names
    ):
        return None
    return itemgetter(*map(names.index, _FAST_PATH_HEADERS))


def _parse_json(body: bytes) -> object:
    try:
        return json.loads(body, object_pairs_hook=_object_without_duplicates)
    except AuthorizationRequestError:
        raise
    except (ValueError, RecursionError):
        raise AuthorizationRequestError("the body is not JSON") from None


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """SECURITY: of a duplicate name some parsers take the first value, others the last (RFC 8259, 4)."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise AuthorizationRequestError("an object has a duplicate name")
    return document


async def _read_body(request: HttpRequest) -> bytes:
    """Return the whole body. Raise `BodyTooLarge`, `TimeoutError` or `http.messages.BodyError`."""
    length = request.headers.get("content-length")
    if length is not None and (not length.isdecimal() or int(length) > MAX_BODY_BYTES):
        raise BodyTooLarge
    chunks, size = [], 0
    async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
        async for chunk in request:
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise BodyTooLarge
            chunks.append(chunk)
    return b"".join(chunks)
