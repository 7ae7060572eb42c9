"""openapi.json and the endpoints agree on paths, methods, status codes and the size of a batch."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from apikeys.gateway import endpoints as gateway_endpoints
from apikeys.gateway.app import OPENAPI
from apikeys.gateway.authorizer import AuthorizationResult
from apikeys.gateway.endpoints import PREFIX, Endpoints
from apikeys.gateway.http.messages import Headers, HttpRequest
from apikeys.gateway.keycache.cache import Unavailable
from apikeys.gateway.requests import MAX_BATCH_SIZE, Security
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome
from tests.apikeys.gateway.test_authorizer import record
from tests.support.event_loops import run_in_thread

DOCUMENT = json.loads(OPENAPI.read_text(encoding="utf-8"))
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")
OPERATIONS = [
    (path, method.upper(), operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
OVERSIZED = Decision(Outcome.SIGNATURE, 413, -1000, "The request is too large.")


class FakeConnection:
    """The connection of a request; nothing else is received or sent."""

    def send(self, data: bytes) -> None: ...
    def resume(self) -> None: ...


class FakeTokens:
    """A token cache with one answer: valid, not valid, or `Unavailable`."""

    def __init__(self, valid: bool | None) -> None:
        self.valid = valid

    async def is_valid(self, _header: str | None) -> bool:
        if self.valid is None:
            raise Unavailable
        return self.valid


class FakeAuthorizer:
    """An authorizer with one result; None: `Unavailable`."""

    def __init__(self, decision: Decision | None) -> None:
        self.decision = decision

    def authorize_fast(self, *_arguments: bytes) -> None:
        return None

    async def authorize(self, _request: object) -> AuthorizationResult:
        if self.decision is None:
            raise Unavailable
        return AuthorizationResult(self.decision, record() if self.decision.allowed else None)


def status(
    path: str,
    method: str,
    body: bytes | None,
    *,
    valid: bool | None = True,
    decision: Decision | None = None,
    answer: str = "",
) -> int:
    """Return the status of the response. ``body`` None: announced, and never received. ``answer``: X-Portal-Answer."""

    async def respond() -> int:
        names, values = [b"content-length"], [b"9" if body is None else str(len(body)).encode()]
        names += [b"x-required-permission", b"x-portal-answer"]
        values += [b"read", answer.encode()]
        target = path.replace("{path}", "api/v3/account").encode()
        request = HttpRequest(FakeConnection(), method.encode(), target, Headers(names, values), True)
        if body is not None:
            request.feed(body)
            request.end()
        authorizer: Any = FakeAuthorizer(decision)
        tokens: Any = FakeTokens(valid)
        await Endpoints(authorizer, tokens, _ready, "{}", str, tuple(Security)).handle(request)
        assert request.response is not None
        return int(request.response.split(b" ", 2)[1])

    return run_in_thread(respond())


async def _ready() -> bool:
    return True


def statuses(path: str, method: str, *, has_body: bool) -> Iterator[int]:
    """Yield the status of each case that a request to the endpoint can be."""
    valid_body = (
        json.dumps({"query": "", "permission": "read"}).encode() if path.endswith("/authorize") else b""
    )
    decisions = [*map(Decision.of, Outcome), OVERSIZED, None]
    for decision, answer in itertools.product(decisions, ("", "client")):
        yield status(path, method, valid_body, decision=decision, answer=answer)
    for valid in (False, None):
        yield status(path, method, valid_body, valid=valid)
    if has_body:
        yield status(path, method, None)
        yield status(path, method, bytes(gateway_endpoints.MAX_BODY_BYTES + 1))
        yield status(path, method, bytes(gateway_endpoints.MAX_BODY_BYTES + 1), answer="client")
        yield status(path, method, b"{", decision=decisions[0])


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_endpoint_responds_with_the_documented_status_codes(
    path: str, method: str, operation: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_endpoints, "BODY_TIMEOUT_SECONDS", 0.01)
    has_body = "requestBody" in operation or "{path}" in path
    assert {str(code) for code in statuses(path, method, has_body=has_body)} == set(operation["responses"])


def test_other_methods_and_paths_are_not_documented() -> None:
    documented = {(path, method) for path, method, _operation in OPERATIONS}
    paths = {*DOCUMENT["paths"], PREFIX, PREFIX + "other", PREFIX + "auth/"}
    for path, method in itertools.product(paths, METHODS):
        if "{path}" in path:
            continue  # Envoy sends the method of the original request, which may be any
        is_served = status(path, method, b"", decision=Decision.of(Outcome.ALLOWED)) not in (404, 405)
        assert is_served == ((path, method) in documented), (path, method)


def test_maximum_size_of_a_batch_is_documented() -> None:
    batch = DOCUMENT["components"]["schemas"]["AuthorizationBatch"]
    assert batch["properties"]["requests"]["maxItems"] == MAX_BATCH_SIZE
