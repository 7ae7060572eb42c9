"""What all endpoints have in common: token, scope, rate, idempotency, errors, and the event of each call."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts import audit
from accounts.access.decorators import public
from apikeys.management_api.problems import ApiProblem, invalid
from apikeys.management_api.scopes import Scope
from apikeys.models import IdempotentAnswer, ManagementToken
from apikeys.models.tokens import bearer, digest_of
from apikeys.policy.events import KeyEvent
from apikeys.verification.networks import compile_networks
from hitobit_portal.http.context import address_of
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

MAX_BODY_BYTES = 65_536
KEPT = timedelta(hours=24)
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,64}")
_IF_MATCH = re.compile(r'\*|"[0-9a-f]{32}"')
_INTEGER = re.compile(r"[0-9]{1,18}")
#: "Last used" is written at most once in this time.
USE_RECORDED = timedelta(minutes=1)


@dataclass(frozen=True)
class Call:
    """An authenticated call: its token and its parameters, which are already of the documented types."""

    request: HttpRequest
    token: ManagementToken
    query: Mapping[str, str]
    body: Mapping[str, Any]

    def integer(self, name: str, *, default: int, least: int, most: int) -> int:
        """Return a number of the query string. Raise `ApiProblem`."""
        text = self.query.get(name)
        if text is None:
            return default
        if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
            raise invalid(name, f"a whole number from {least} to {most}")
        return int(text)


Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Operation:
    """One method of one path. ``run`` returns status and document; ``scope`` None: any token may call it.

    ``query`` and ``fields``: names that the query string and the body may have. ``is_polled``: consumers call it again
    and again, so that an event of every call would fill the trail with the reading of the trail.
    """

    method: str
    run: Callable[..., Answer]
    scope: Scope | None
    query: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    is_polled: bool = False


def resource(path: str, *operations: Operation) -> Callable[..., HttpResponse]:
    """Return the view of a path of the API; ``path``: as in the OpenAPI document, for the events."""
    by_method = {operation.method: operation for operation in operations}
    allowed = ", ".join([*by_method, *(["HEAD"] if "GET" in by_method else [])])

    @public
    @csrf_exempt
    def view(request: HttpRequest, **arguments: Any) -> HttpResponse:
        method = "GET" if request.method == "HEAD" else request.method or ""
        try:
            token = authenticate(request)
        except ApiProblem as problem:
            return problem.response()
        operation = by_method.get(method)
        try:
            if operation is None:
                raise ApiProblem(405, "method-not-allowed", "The method is not allowed.", {"Allow": allowed})
            status, text = _respond(request, token, operation, arguments)
            response = HttpResponse(text, status=status, content_type="application/json")
            response["ETag"] = etag(text)
        except ApiProblem as problem:
            response = problem.response()
        _record(request, token, operation, path, response.status_code)
        return response

    view.operations = by_method  # type: ignore[attr-defined]
    return view


def authenticate(request: HttpRequest) -> ManagementToken:
    """Return the token of a request, within its rate. Raise `ApiProblem`."""
    text = bearer(request.headers.get("Authorization"))
    now = timezone.now()
    token = ManagementToken.objects.filter(digest=digest_of(text)).first() if text else None
    # SECURITY: one answer for an unknown, an expired and a revoked token, and for one at the wrong place: whoever found
    # one learns nothing about it.
    if token is None or not token.is_live(now) or not _is_at_home(request, token):
        raise ApiProblem(
            401, "unauthorized", "No token that is valid here and now.", {"WWW-Authenticate": "Bearer"}
        )
    wait = ratelimits.acquire(Rate.MANAGEMENT_TOKEN, str(token.pk))
    if wait is not None:
        raise ApiProblem(429, "too-many-requests", "The token's rate is used up.", {"Retry-After": str(wait)})
    if token.last_used_at is None or now - token.last_used_at > USE_RECORDED:
        ManagementToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def _is_at_home(request: HttpRequest, token: ManagementToken) -> bool:
    return compile_networks(token.networks).contains(address_of(request))


def _respond(
    request: HttpRequest, token: ManagementToken, operation: Operation, arguments: dict[str, Any]
) -> tuple[int, str]:
    """Return status and JSON text of a call. Raise `ApiProblem`."""
    if operation.scope is not None and operation.scope.value not in token.scopes:
        raise ApiProblem(403, "scope", "The token may not do this.", scope=operation.scope.value)
    call = Call(request, token, _query(request, operation), _body(request, operation))
    with transaction.atomic():
        stored = _claim(request, token) if operation.method == "POST" else None
        if stored is not None and stored.status:
            return stored.status, stored.body
        status, document = operation.run(call, **arguments)
        text = json.dumps(document, ensure_ascii=False)
        if stored is not None:
            stored.status, stored.body = status, text
            stored.save(update_fields=["status", "body"])
    return status, text


def _claim(request: HttpRequest, token: ManagementToken) -> IdempotentAnswer | None:
    """Return the row of the request's ``Idempotency-Key``: with the answer of an equal request, or a new one.

    Of concurrent requests the second one waits here until the first one is answered. Raise `ApiProblem`.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise invalid("Idempotency-Key", "1 to 64 printable ASCII characters")
    digest = hashlib.sha256(
        b"\0".join(((request.method or "").encode(), request.get_full_path().encode(), request.body))
    ).hexdigest()
    answers = IdempotentAnswer.objects.filter(token=token, key=key)
    answers.filter(created_at__lt=timezone.now() - KEPT).delete()
    try:
        with transaction.atomic():
            return IdempotentAnswer.objects.create(token=token, key=key, request_digest=digest)
    except IntegrityError:
        stored = answers.get()
    if stored.request_digest != digest:
        raise ApiProblem(409, "idempotency-key", "Another request had this Idempotency-Key.")
    return stored


def _query(request: HttpRequest, operation: Operation) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, given in request.GET.lists():
        if name not in operation.query:
            raise invalid(name, "unknown parameter")
        if len(given) != 1:
            raise invalid(name, "sent more than once")
        values[name] = given[0]
    return values


def _body(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    if operation.method != "POST":
        return {}
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise ApiProblem(413, "too-large", f"The body has more than {MAX_BODY_BYTES} bytes.")
    if request.content_type != "application/json":
        raise ApiProblem(415, "content-type", "The body is no application/json.")
    try:
        body = json.loads(request.body.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise ApiProblem(400, "invalid-json", "The body is no JSON object with unique names.") from None
    if not isinstance(body, dict):
        raise ApiProblem(400, "invalid-json", "The body is no JSON object with unique names.")
    for name in body:
        if name not in operation.fields:
            raise invalid(name, "unknown field")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name occurs twice")
    return names


def etag(text: str) -> str:
    """Return the entity tag of a document."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def check_match(call: Call, document: dict[str, Any]) -> None:
    """Raise `ApiProblem` (412) if ``If-Match`` is another tag than that of ``document``, what GET answers now.

    After all other checks of the call (RFC 9110, 13.2.1).
    """
    wanted = call.request.headers.get("If-Match", "*")
    if not _IF_MATCH.fullmatch(wanted):
        raise invalid("If-Match", "* or the ETag of the object's GET")
    if wanted not in ("*", etag(json.dumps(document, ensure_ascii=False))):
        raise ApiProblem(412, "changed", "The object is not what If-Match says.")


def _record(
    request: HttpRequest, token: ManagementToken, operation: Operation | None, path: str, status: int
) -> None:
    """Record the call with the token's name; of polling, one call a minute."""
    if operation is not None and operation.is_polled and status == 200:
        name = f"{token.pk}:{path}"
        if ratelimits.acquire(Rate.MANAGEMENT_POLL_EVENT, name) is not None:
            return
    audit.record(
        KeyEvent.MANAGEMENT_CALLED, request, customer=None, target=str(token.pk), label=token.name,
        succeeded=status < 400, method=request.method if operation else "", path=path, status=status,
    )  # fmt: skip
