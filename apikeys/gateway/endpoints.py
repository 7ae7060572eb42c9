"""HTTP in, decision, HTTP out: what stands between the connections and the gatekeeper."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Any

from apikeys.gateway import prometheus, responses
from apikeys.gateway import requests as gateway_requests
from apikeys.gateway.authorizer import Gatekeeper, Verdict
from apikeys.gateway.http.messages import Exchange
from apikeys.gateway.keycache.cache import Unavailable
from apikeys.gateway.requests import Ask, AskError
from apikeys.gateway.tokens import Tokens
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome

ALLOWED = Decision.of(Outcome.ALLOWED)
PREFIX = "/gateway/v1/"
AUTH = PREFIX + "auth"
_AUTH = AUTH.encode("ascii")
_USER, _KEY = b"x-portal-user: ", b"\r\nx-portal-key: "
#: What the swift way reads, in this order; each has to be there once.
_SWIFT = (b"authorization", b"x-mbx-apikey", b"x-original-uri", b"x-client-ip", b"x-required-permission")
#: What it does not understand: a second address of the request, a body, a part of one.
_NOT_SWIFT = {b"x-forwarded-uri", b"content-length", b"transfer-encoding", b"x-envoy-auth-partial-body"}
#: Orders of headers that are remembered: as many as kinds of clients, whose headers a proxy passes on. A longer one (in
#: bytes of names) is not, or a client could have the memory filled with what it made up.
MOST_ORDERS, LONGEST_ORDER = 1_000, 2_000
ENVOY = PREFIX + "envoy/"
#: A batch of a hundred requests, each with its largest payload, would be 6 MB; nobody sends that.
LARGEST_BODY = 2_097_152
#: A client that takes longer to send its body is not waited for.
BODY_SECONDS = 10.0


class TooLarge(Exception):
    """413."""


#: Takes what `_SWIFT` names from the values of a request's headers.
Pick = Callable[[list[bytes]], tuple[bytes, ...]]


class Door:
    """The endpoints. ``ready`` says whether the process can answer; ``describe`` gives the OpenAPI document,
    ``measures`` the metrics."""

    def __init__(
        self,
        keeper: Gatekeeper,
        tokens: Tokens,
        ready: Callable[[], Awaitable[bool]],
        describe: Callable[[], str],
        measures: Callable[[], str],
    ) -> None:
        self._keeper = keeper
        self._tokens = tokens
        self._ready = ready
        self._describe = describe
        self._measures = measures
        self._orders: dict[bytes, Pick] = {}
        self._long = 0
        self._endpoints = {
            AUTH: (("GET", "HEAD", "POST"), self._auth),
            PREFIX + "authorize": (("POST",), self._authorize),
            PREFIX + "openapi.json": (("GET", "HEAD"), self._openapi),
        }

    def swift(self, method: bytes, target: bytes, names: list[bytes], values: list[bytes]) -> bytes | None:
        """The header lines of a yes, to what nearly every request is; None to what it does not understand: that is for
        `answer`."""
        if target != _AUTH or method != b"GET":
            return None
        order = b"\n".join(names)
        pick = self._orders.get(order) or _pick(names)
        if pick is None:
            return None
        token, key, uri, caller, permission = pick(values)
        number = self._tokens.known.get(token)
        path, _mark, query = uri.partition(b"?")
        # SECURITY: whether tokens can be believed is asked with the key, once for both: `Watch.believed` is a no, or
        # what it drops is everything, and without the key nothing is answered here. The path: see `asks`.
        if number is None or b"#" in path or not path.isascii():
            return None
        use = self._keeper.swift(key, query, caller, permission)
        if use is None:
            return None
        self._tokens.used.add(number)
        if order not in self._orders and len(order) <= LONGEST_ORDER:
            self._remember(order, pick)
        if not use.user:
            use.user, use.powers = responses.said_of(use.record)
        return b"".join((_USER, use.user, _KEY, key, use.powers))

    def _remember(self, order: bytes, pick: Pick) -> None:
        if len(self._orders) >= MOST_ORDERS:
            self._orders.clear()
        self._orders[order] = pick

    def take_long(self) -> int:
        """Requests that `swift` did not answer, since the last time."""
        taken, self._long = self._long, 0
        return taken

    async def answer(self, exchange: Exchange) -> None:
        """Answers everything."""
        try:
            await self._answer(exchange)
        except TooLarge:
            exchange.response_empty(413, [])
        except TimeoutError:
            exchange.response_empty(408, [("connection", "close")])
        except Unavailable:
            exchange.response_empty(503, [("retry-after", "1")])

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.path
        if path == "/metrics":
            await self._metrics(exchange)
        elif not path.startswith(PREFIX):
            await self._probe(path, exchange)
        # SECURITY: before anything else is looked at: without a token nobody learns even which addresses exist.
        elif not await self._tokens.admit(exchange.headers.get("authorization")):
            exchange.response_empty(403, [])
        elif path.startswith(ENVOY):
            await self._envoy(exchange)
        elif path not in self._endpoints:
            exchange.response_empty(404, [])
        elif exchange.method not in self._endpoints[path][0]:
            exchange.response_empty(405, [("allow", ", ".join(self._endpoints[path][0]))])
        else:
            await self._endpoints[path][1](exchange)

    async def _probe(self, path: str, exchange: Exchange) -> None:
        if path == "/healthz":
            exchange.response_str(200, [("content-type", "text/plain")], "ok\n")
        elif path == "/readyz":
            ready = await self._ready()
            exchange.response_str(
                200 if ready else 503, [("content-type", "text/plain")], "ready\n" if ready else "not ready\n"
            )
        else:
            exchange.response_empty(404, [])

    async def _metrics(self, exchange: Exchange) -> None:
        header = exchange.headers.get("authorization")
        try:
            admitted = await self._tokens.admit(header)
        except Unavailable:
            # Numbers, and never wanted more than now: whose token was good when the database was last heard of.
            admitted = self._tokens.was_good(header)
        if admitted:
            exchange.response_str(200, [("content-type", prometheus.CONTENT_TYPE)], self._measures())
        else:
            exchange.response_empty(403, [])

    async def _decide(self, ask: Ask) -> Verdict:
        """Raises `Unavailable`."""
        self._long += 1
        key, caller, permission = ask.api_key or "", ask.client_ip or "", ask.permission
        if not ask.body and (key + caller + permission).isascii():
            use = self._keeper.swift(key.encode(), ask.query, caller.encode(), permission.encode())
            if use is not None:
                return Verdict(ALLOWED, use.record)
        return await self._keeper.verdict(ask)

    async def _auth(self, exchange: Exchange) -> None:
        # SECURITY: whatever comes with the question is decided about: a proxy that sends a body along passes it on.
        body = await _body(exchange) if exchange.has_body else b""
        ask = gateway_requests.from_auth(
            exchange.headers, exchange.query_string, body, trailer=exchange.has_trailer
        )
        verdict = await self._decide(ask)
        if verdict.record is not None:
            exchange.response_empty(204, responses.allowed_headers(verdict.record))
        else:
            status = 401 if verdict.decision.status == 401 else 403
            exchange.response_empty(status, responses.refused_headers(verdict))

    async def _authorize(self, exchange: Exchange) -> None:
        try:
            body = await _body(exchange)
            # SECURITY: "?permission=withdraw" would be passed over, and the question be one for "read".
            if exchange.query_string or exchange.has_trailer:
                raise AskError("the question has a query string or a trailer")
            requests, is_batch = gateway_requests.from_json(_parsed(body))
        except AskError as error:
            exchange.response_str(400, [responses.JSON], json.dumps({"error": str(error)}))
            return
        verdicts = await asyncio.gather(*(self._decide(request) for request in requests))
        documents = [responses.document(verdict) for verdict in verdicts]
        answer = {"decisions": documents} if is_batch else documents[0]
        exchange.response_str(200, [responses.JSON, responses.NO_STORE], json.dumps(answer))

    async def _envoy(self, exchange: Exchange) -> None:
        body = await _body(exchange)
        path, query = exchange.path, exchange.query_string
        ask = gateway_requests.from_envoy(exchange.headers, path, query, body, trailer=exchange.has_trailer)
        verdict = await self._decide(ask)
        if verdict.record is not None:
            exchange.response_empty(200, responses.allowed_headers(verdict.record))
            return
        headers = [responses.JSON, responses.NO_STORE, *responses.retry_after(verdict)]
        exchange.response_str(verdict.decision.status, headers, responses.client_body(verdict))

    async def _openapi(self, exchange: Exchange) -> None:
        exchange.response_str(200, [responses.JSON], self._describe())


def _pick(sent: list[bytes]) -> Pick | None:
    names = [name.lower() for name in sent]
    # SECURITY: `asks` refuses each of these when it is there twice, or beside the other header for the same thing.
    if any(names.count(name) != 1 for name in _SWIFT) or not _NOT_SWIFT.isdisjoint(names):
        return None
    return itemgetter(*map(names.index, _SWIFT))


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body, object_pairs_hook=_object)
    except AskError:
        raise
    except (ValueError, RecursionError):
        raise AskError("the body is not JSON") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """SECURITY: of a name that is there twice one reader takes the first value, another the last (RFC 8259, 4)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AskError("a name is there twice in one object")
    return found


async def _body(exchange: Exchange) -> bytes:
    """All of the body. Raises `TooLarge` and `TimeoutError`."""
    said = exchange.headers.get("content-length")
    if said is not None and (not said.isdecimal() or int(said) > LARGEST_BODY):
        raise TooLarge
    pieces, size = [], 0
    async with asyncio.timeout(BODY_SECONDS):
        async for piece in exchange:
            size += len(piece)
            if size > LARGEST_BODY:
                raise TooLarge
            pieces.append(piece)
    return b"".join(pieces)
