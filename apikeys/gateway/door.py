"""HTTP in, decision, HTTP out: the application that granian serves by RSGI (emmett-framework/granian, docs/spec)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from apikeys.gateway import answers, asks, exposition
from apikeys.gateway.asks import Ask, AskError
from apikeys.gateway.gatekeeper import Gatekeeper, Verdict
from apikeys.gateway.memory import Unavailable
from apikeys.gateway.tokens import Tokens
from apikeys.outcomes import Outcome
from apikeys.verification import Decision

ALLOWED = Decision.of(Outcome.ALLOWED)
PREFIX = "/gateway/v1/"
AUTH = PREFIX + "auth"
ENVOY = PREFIX + "envoy/"
#: A batch of a hundred requests, each with its largest payload, would be 6 MB; nobody sends that.
LARGEST_BODY = 2_097_152
#: A client that takes longer to send its body is not waited for.
BODY_SECONDS = 10.0


class Scope(Protocol):
    """What RSGI says of a request."""

    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> Any: ...


class Answerer(Protocol):
    """How RSGI takes an answer, and hands over the body in pieces."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_str(self, status: int, headers: list[tuple[str, str]], body: str) -> None: ...


class TooLarge(Exception):
    """413."""


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
        self._endpoints = {
            AUTH: ("GET", self._auth),
            PREFIX + "authorize": ("POST", self._authorize),
            PREFIX + "openapi.json": ("GET", self._openapi),
        }

    def swift(self, scope: Scope, proto: Answerer) -> bool:
        """Answers what nearly every request is; says False to whatever it does not understand: that is for `answer`."""
        if scope.path != AUTH:
            return False
        headers = scope.headers
        # SECURITY: whether tokens can be believed is asked with the key, once for both: `Watch.believed` is a no, or
        # what it drops is everything, and without the key nothing is answered here.
        if headers.get("authorization") not in self._tokens.known or scope.method != "GET":
            return False
        keys, uris = headers.get_all("x-mbx-apikey"), headers.get_all("x-original-uri")
        callers, permissions = headers.get_all("x-client-ip"), headers.get_all("x-required-permission")
        # SECURITY: `asks` refuses each of these when it is there twice, or beside the other header for the same thing.
        if (
            not len(keys) == len(uris) == len(callers) == len(permissions) == 1
            or "x-forwarded-uri" in headers
        ):
            return False
        record = self._keeper.swift(keys[0], uris[0].partition("?")[2], callers[0], permissions[0])
        if record is None:
            return False
        proto.response_empty(204, answers.allowed_headers(record))
        return True

    async def answer(self, scope: Scope, proto: Answerer) -> None:
        """Answers everything."""
        try:
            await self._answer(scope, proto)
        except TooLarge:
            proto.response_empty(413, [])
        except TimeoutError:
            proto.response_empty(408, [("connection", "close")])
        except Unavailable:
            proto.response_empty(503, [("retry-after", "1")])

    async def _answer(self, scope: Scope, proto: Answerer) -> None:
        path = scope.path
        if path == "/metrics":
            await self._metrics(scope, proto)
        elif not path.startswith(PREFIX):
            await self._probe(path, proto)
        # SECURITY: before anything else is looked at: without a token nobody learns even which addresses exist.
        elif not await self._tokens.admit(scope.headers.get("authorization")):
            proto.response_empty(403, [])
        elif path.startswith(ENVOY):
            await self._envoy(scope, proto)
        elif path not in self._endpoints:
            proto.response_empty(404, [])
        elif scope.method != self._endpoints[path][0]:
            proto.response_empty(405, [("allow", self._endpoints[path][0])])
        else:
            await self._endpoints[path][1](scope, proto)

    async def _probe(self, path: str, proto: Answerer) -> None:
        if path == "/healthz":
            proto.response_str(200, [("content-type", "text/plain")], "ok\n")
        elif path == "/readyz":
            ready = await self._ready()
            proto.response_str(
                200 if ready else 503, [("content-type", "text/plain")], "ready\n" if ready else "not ready\n"
            )
        else:
            proto.response_empty(404, [])

    async def _metrics(self, scope: Scope, proto: Answerer) -> None:
        header = scope.headers.get("authorization")
        try:
            admitted = await self._tokens.admit(header)
        except Unavailable:
            # Numbers, and never wanted more than now: whose token was good when the database was last heard of.
            admitted = header in self._tokens.known
        if admitted:
            proto.response_str(200, [("content-type", exposition.CONTENT_TYPE)], self._measures())
        else:
            proto.response_empty(403, [])

    async def _decide(self, ask: Ask) -> Verdict:
        """Raises `Unavailable`."""
        if not ask.body and ask.api_key is not None and ask.client_ip is not None and ask.query.isascii():
            record = self._keeper.swift(ask.api_key, ask.query.decode(), ask.client_ip, ask.permission)
            if record is not None:
                return Verdict(ALLOWED, record)
        return await self._keeper.verdict(ask)

    async def _auth(self, scope: Scope, proto: Answerer) -> None:
        verdict = await self._decide(asks.from_auth(scope.headers))
        if verdict.record is not None:
            proto.response_empty(204, answers.allowed_headers(verdict.record))
        else:
            status = 401 if verdict.decision.status == 401 else 403
            proto.response_empty(status, answers.refused_headers(verdict))

    async def _authorize(self, scope: Scope, proto: Answerer) -> None:
        try:
            requests, is_batch = asks.from_json(_parsed(await _body(scope, proto)))
        except AskError as error:
            proto.response_str(400, [answers.JSON], json.dumps({"error": str(error)}))
            return
        verdicts = await asyncio.gather(*(self._decide(request) for request in requests))
        documents = [answers.document(verdict) for verdict in verdicts]
        answer = {"decisions": documents} if is_batch else documents[0]
        proto.response_str(200, [answers.JSON, answers.NO_STORE], json.dumps(answer))

    async def _envoy(self, scope: Scope, proto: Answerer) -> None:
        body = await _body(scope, proto)
        verdict = await self._decide(asks.from_envoy(scope.headers, scope.query_string, body))
        if verdict.record is not None:
            proto.response_empty(200, answers.allowed_headers(verdict.record))
            return
        headers = [answers.JSON, answers.NO_STORE, *answers.retry_after(verdict)]
        proto.response_str(verdict.decision.status, headers, answers.client_body(verdict))

    async def _openapi(self, scope: Scope, proto: Answerer) -> None:
        proto.response_str(200, [answers.JSON], self._describe())


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise AskError("the body is not JSON") from None


async def _body(scope: Scope, proto: Answerer) -> bytes:
    """All of the body. Raises `TooLarge` and `TimeoutError`."""
    said = scope.headers.get("content-length")
    if said is not None and (not said.isdecimal() or int(said) > LARGEST_BODY):
        raise TooLarge
    pieces, size = [], 0
    async with asyncio.timeout(BODY_SECONDS):
        async for piece in proto:
            size += len(piece)
            if size > LARGEST_BODY:
                raise TooLarge
            pieces.append(piece)
    return b"".join(pieces)
