"""The endpoints of the authorization API: read a request, authorize it, respond."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from operator import itemgetter
from typing import Any

from apikeys.gateway import prometheus, responses
from apikeys.gateway import requests as gateway_requests
from apikeys.gateway.authorizer import TOO_LARGE, AuthorizationResult, Authorizer, rejected
from apikeys.gateway.http.messages import HttpRequest
from apikeys.gateway.keycache.cache import Unavailable
from apikeys.gateway.requests import AuthorizationRequest, AuthorizationRequestError, Security
from apikeys.gateway.tokens import TokenCache
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome

logger = logging.getLogger("portal.gateway")
ALLOWED_DECISION = Decision.of(Outcome.ALLOWED)
PREFIX = "/gateway/v1/"
AUTH = PREFIX + "auth"
_FAST_PATH_TARGETS = frozenset(
    {AUTH.encode("ascii"), f"{AUTH}?{gateway_requests.ANSWER_CLIENT}".encode("ascii")}
)
_USER, _KEY = b"x-portal-user: ", b"\r\nx-portal-key: "
#: Headers that the fast path reads, besides the URI and the address; each has to occur once.
_FAST_PATH_HEADERS = (b"authorization", b"x-mbx-apikey", b"x-required-permission")
#: Headers that name the original URI: one of them, or both with the same value.
_URI_HEADERS = (b"x-original-uri", b"x-forwarded-uri")
#: Header that the fast path accepts with this value only.
_SECURITY, _SIGNED = b"x-required-security", Security.SIGNED.value.encode("ascii")
#: Headers that name the original method: none, one of them, or both with the same value.
_METHOD_HEADERS = (b"x-original-method", b"x-forwarded-method")
#: Headers that the fast path does not support: an absolute URL, a body, a partial body.
_UNSUPPORTED_HEADERS = {
    b"x-original-url",
    b"content-length",
    b"transfer-encoding",
    b"x-envoy-auth-partial-body",
}
#: Maximum number of cached header orders: one for each kind of client whose headers a proxy passes on. An order with
#: more bytes of names is not cached, or clients could fill the memory with invented headers.
MAX_HEADER_ORDERS, MAX_HEADER_ORDER_BYTES = 1_000, 2_000
#: Prefixes of the path of a request that is sent whole; the second one is an alias.
CHECK = (PREFIX + "check/", PREFIX + "envoy/")
_CHECK_TARGETS = tuple(prefix.encode("ascii") for prefix in CHECK)
#: What `handle_fast` puts before the header lines of a 200 response (`http.server.RequestHandler`).
_NO_BODY = b"content-length: 0\r\n"
#: Less than a batch of a hundred requests of maximum size (6 MB), which no gateway sends.
MAX_BODY_BYTES = 2_097_152
#: Timeout for receiving a body; then the response is 408.
BODY_TIMEOUT_SECONDS = 10.0


class BodyTooLarge(Exception):
    """The body has more than `MAX_BODY_BYTES`: 413."""


#: A function that selects token, key, permission, URI and address from the values of all headers; the index of
#: X-Required-Security (-1: absent); and pairs of indexes of values that have to be equal.
HeaderSelector = tuple[Callable[[list[bytes]], tuple[bytes, ...]], int, tuple[tuple[int, int], ...]]


class Endpoints:
    """The request handler of the HTTP server (`http.server.RequestHandler`).

    ``ready`` returns whether the process can authorize; ``openapi_text`` is the OpenAPI document; ``metrics_text``
    returns the metrics in Prometheus' format. ``security_types``: those that a header may ask for.
    """

    def __init__(
        self,
        authorizer: Authorizer,
        tokens: TokenCache,
        ready: Callable[[], Awaitable[bool]],
        openapi_text: str,
        metrics_text: Callable[[], str],
        security_types: Collection[Security] = (Security.SIGNED,),
    ) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._ready = ready
        self._openapi_text = openapi_text
        self._metrics_text = metrics_text
        self._security_types = security_types
        #: By the order of the headers; those of requests that are sent whole begin with a line feed.
        self._selectors: dict[bytes, HeaderSelector] = {}
        self._parsed_count = self._full_path_count = 0
        #: Texts of refused requests that were logged.
        self._logged: set[str] = set()
        self._endpoints = {
            AUTH: (("GET", "HEAD", "POST"), self._auth),
            PREFIX + "authorize": (("POST",), self._authorize),
            PREFIX + "openapi.json": (("GET", "HEAD"), self._openapi),
        }

    def handle_fast(
        self, method: bytes, target: bytes, names: list[bytes], values: list[bytes]
    ) -> bytes | None:
        """Return the header lines of the response to the usual forms of a request; None: call `handle`."""
        if method != b"GET":
            return None
        is_whole = target.startswith(_CHECK_TARGETS)
        if not is_whole and target not in _FAST_PATH_TARGETS:
            return None
        order = b"\n".join([b"", *names]) if is_whole else b"\n".join(names)
        selector = self._selectors.get(order) or _header_selector(names, is_whole=is_whole)
        if selector is None:
            return None
        select, security_at, equal = selector
        if security_at >= 0 and values[security_at] != _SIGNED:
            return None
        for one, other in equal:
            if values[one] != values[other]:
                return None
        if is_whole:
            token, key, permission, length, caller = select([*values, b"0"])
            if length != b"0":
                return None
            uri = target
        else:
            token, key, permission, uri, caller = select(values)
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
            self._store_selector(order, selector)
        if not counter.user:
            counter.user, counter.permission_lines = responses.fast_path_header_parts(counter.record)
        lines = b"".join((_USER, counter.user, _KEY, key, counter.permission_lines))
        return _NO_BODY + lines if is_whole else lines

    def _store_selector(self, order: bytes, selector: HeaderSelector) -> None:
        if len(self._selectors) >= MAX_HEADER_ORDERS:
            self._selectors.clear()
        self._selectors[order] = selector

    def take_path_counts(self) -> tuple[int, int]:
        """Return the numbers of requests that `handle_fast` did not answer since the last call.

        First of those that were parsed in full and decided on the fast path, then of those that were decided in full.
        """
        counts = self._parsed_count, self._full_path_count
        self._parsed_count = self._full_path_count = 0
        return counts

    async def handle(self, request: HttpRequest) -> None:
        """Respond to any request."""
        try:
            await self._handle(request)
        except BodyTooLarge:
            request.respond_empty(413, [])
        except TimeoutError:
            self._respond_error(request, 408, [("connection", "close")], responses.TIMEOUT_BODY)
        except Unavailable:
            self._respond_error(request, 503, [("retry-after", "1")], responses.UNAVAILABLE_BODY)

    def _respond_error(
        self, request: HttpRequest, status: int, headers: list[responses.Header], client_body: str
    ) -> None:
        """Respond without a decision; with a body where the proxy passes the response on to the client."""
        if _answers_client(request):
            request.respond_text(status, [responses.JSON, responses.NO_STORE, *headers], client_body)
        else:
            request.respond_empty(status, headers)

    async def _handle(self, request: HttpRequest) -> None:
        path = request.path
        if path == "/metrics":
            await self._metrics(request)
        elif not path.startswith(PREFIX):
            await self._probe(path, request)
        # SECURITY: before anything else: without a token a client does not even learn which paths exist.
        elif not await self.is_authenticated(request.headers.get("authorization")):
            request.respond_empty(403, [])
        elif path.startswith(CHECK):
            await self._check(request)
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

    async def is_authenticated(self, header: str | None) -> bool:
        """Return whether an Authorization header has a valid token. Raise `Unavailable`."""
        return await self._tokens.is_valid(header)

    async def decide(self, authorization: AuthorizationRequest) -> AuthorizationResult:
        """Authorize, on the fast path if possible. Raise `Unavailable`."""
        key, caller = authorization.api_key or "", authorization.client_ip or ""
        permission = authorization.permission
        is_signed = authorization.security is Security.SIGNED
        if is_signed and not authorization.body and (key + caller + permission).isascii():
            counter = self._authorizer.authorize_fast(
                key.encode(), authorization.query, caller.encode(), permission.encode()
            )
            if counter is not None:
                self._parsed_count += 1
                return AuthorizationResult(ALLOWED_DECISION, counter.record)
        self._full_path_count += 1
        return await self._authorizer.authorize(authorization)

    async def _auth(self, request: HttpRequest) -> None:
        result = await self._decide_subrequest(request)
        if result.decision.allowed:
            request.respond_empty(204, responses.allowed_headers(result))
        elif _answers_client(request):
            _respond_to_client(request, result)
        else:
            status = 401 if result.decision.status == 401 else 403
            request.respond_empty(status, responses.rejection_headers(result))

    async def _check(self, request: HttpRequest) -> None:
        result = await self._decide_subrequest(request)
        if result.decision.allowed:
            request.respond_empty(200, responses.allowed_headers(result))
        else:
            _respond_to_client(request, result)

    async def _decide_subrequest(self, request: HttpRequest) -> AuthorizationResult:
        """Parse and authorize the original request of a proxy. Raise `Unavailable` or `TimeoutError`."""
        headers, path, query = request.headers, request.path, request.query_string
        try:
            # SECURITY: the body of the sub-request is part of the decision: a proxy that sends it also forwards it.
            body = await _read_body(request) if request.has_body else b""
            if path == AUTH:
                authorization = gateway_requests.from_auth(headers, query, body, trailer=request.has_trailer)
            else:
                authorization = gateway_requests.from_check(
                    headers, path, query, body, trailer=request.has_trailer, method=request.method
                )
            self.check_enabled(authorization)
        except AuthorizationRequestError as error:
            self.log_once(str(error))
            return rejected(400, str(error))
        except BodyTooLarge:
            self.log_once("the body is too large")
            return TOO_LARGE
        return await self.decide(authorization)

    def check_enabled(self, authorization: AuthorizationRequest) -> AuthorizationRequest:
        """Return ``authorization``. Raise `AuthorizationRequestError` if its security type is not enabled."""
        return gateway_requests.check_enabled(authorization, self._security_types)

    def log_once(self, problem: str) -> None:
        """Log that a request was not as documented; each problem once, since clients may be able to cause it."""
        if problem not in self._logged:
            self._logged.add(problem)
            logger.error("gateway request refused: %s (logged once)", problem)

    async def _authorize(self, request: HttpRequest) -> None:
        try:
            body = await _read_body(request)
            # SECURITY: "?permission=withdraw" would be ignored, and the request be authorized for "read".
            if request.query_string or request.has_trailer:
                raise AuthorizationRequestError("the request has a query string or a trailer")
            authorizations, is_batch = gateway_requests.from_json(_parse_json(body))
        except AuthorizationRequestError as error:
            self.log_once(str(error))
            request.respond_text(400, [responses.JSON], json.dumps({"error": str(error)}))
            return
        results = await asyncio.gather(*(self.decide(authorization) for authorization in authorizations))
        documents = [responses.result_document(result) for result in results]
        document = {"decisions": documents} if is_batch else documents[0]
        request.respond_text(200, [responses.JSON, responses.NO_STORE], json.dumps(document))

    async def _openapi(self, request: HttpRequest) -> None:
        request.respond_text(200, [responses.JSON], self._openapi_text)


def _answers_client(request: HttpRequest) -> bool:
    """Return whether a rejection has the status and body for the client."""
    if request.path == AUTH:
        return gateway_requests.wants_client_answer(request.headers, request.query_string)
    return request.path.startswith(CHECK)


def _respond_to_client(request: HttpRequest, result: AuthorizationResult) -> None:
    headers = [responses.JSON, responses.NO_STORE, *responses.retry_after_headers(result)]
    request.respond_text(result.decision.status, headers, responses.client_body(result))


def _header_selector(sent: list[bytes], *, is_whole: bool = False) -> HeaderSelector | None:
    """Return the selector for headers with these names, or None if `handle` has to parse them.

    ``is_whole``: the request was sent whole. Its target is the original one, so that the headers that name a URI are
    not read; instead of them, Content-Length is selected, or what follows the values of all headers.
    """
    names = [name.lower() for name in sent]
    unsupported = (
        _UNSUPPORTED_HEADERS - {b"content-length", b"x-original-url"} if is_whole else _UNSUPPORTED_HEADERS
    )
    # SECURITY: `requests` rejects each of these if it occurs twice.
    if any(names.count(name) != 1 for name in _FAST_PATH_HEADERS) or not unsupported.isdisjoint(names):
        return None
    target_headers = (b"content-length",) if is_whole else _URI_HEADERS
    once = (_SECURITY, *_METHOD_HEADERS, *target_headers, b"x-client-ip", b"x-real-ip")
    if any(names.count(name) > 1 for name in once):
        return None
    uris, methods = [] if is_whole else _present(names, _URI_HEADERS), _present(names, _METHOD_HEADERS)
    # X-Forwarded-For beside X-Client-IP is not used; X-Real-IP has to be the same address as either.
    callers = _present(names, (b"x-client-ip",)) or [
        n for n, name in enumerate(names) if name == b"x-forwarded-for"
    ]
    callers += _present(names, (b"x-real-ip",))
    if (
        (not uris and not is_whole)
        or not callers
        or (b"x-client-ip" not in names and names.count(b"x-forwarded-for") > 1)
    ):
        return None
    target_at = (_present(names, (b"content-length",)) or [len(names)])[0] if is_whole else uris[0]
    indexes = (*map(names.index, _FAST_PATH_HEADERS), target_at, callers[0])
    security_at = names.index(_SECURITY) if _SECURITY in names else -1
    equal = tuple((each[0], each[1]) for each in (uris, methods, callers) if len(each) == 2)
    return itemgetter(*indexes), security_at, equal


def _present(names: list[bytes], wanted: tuple[bytes, ...]) -> list[int]:
    return [names.index(name) for name in wanted if name in names]


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
