"""Parse the forms of an authorization request (proxy sub-request, request of its own, JSON). Pure: no ORM, no Django.

Contract: "Endpoints for gateways" in the contract of a signed request.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from apikeys.usage.request_line import NO_LINE, RequestLine
from hitobit_portal.http import client_ip

MAX_BATCH_SIZE = 100
#: Maximum size of query and body together: a megabyte of "&" takes 1.5 s to parse as parameters.
MAX_PAYLOAD_BYTES = 65_536
#: A parameter with a byte outside RFC 3986's characters: no signature is valid for a query string that contains it.
UNSIGNABLE = b"&\xff"
PERMISSIONS = ("read", "trade", "withdraw")
#: What precedes the original path in ``/gateway/v1/check/...`` and its alias.
_CHECK_PREFIX = re.compile(r"^/gateway/v1/(?:check|envoy)(?=/)")
#: Query string of ``/gateway/v1/auth`` that asks for a response that the proxy can pass on to the client.
ANSWER_CLIENT = "answer=client"


class Security(enum.Enum):
    """What a route needs from a request: a signature, a live key without a signature, or nothing."""

    SIGNED = "signed"
    KEY = "key"
    NONE = "none"


class AuthorizationRequestError(ValueError):
    """The gateway's request is not as documented. The text says what is wrong, and never contains a value."""


class Headers(Protocol):
    """Headers with names in lower case, and values as sent (bytes as latin-1 text)."""

    def __contains__(self, key: str, /) -> bool: ...
    def get_all(self, key: str, /) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A client's request to be authorized. ``client_ip`` None: unknown, so the request is rejected.

    ``api_key`` is None for `Security.NONE`: nothing is checked, so the response must not name a user. ``line``: the
    original method and path, as received; nothing is decided by them.
    """

    api_key: str | None
    query: bytes
    body: bytes
    client_ip: str | None
    permission: str
    security: Security = Security.SIGNED
    line: RequestLine = NO_LINE


def check_enabled(request: AuthorizationRequest, enabled: Collection[Security]) -> AuthorizationRequest:
    """Return ``request``. Raise `AuthorizationRequestError` if a header asked for a type that is not ``enabled``.

    SECURITY: a proxy that passes the client's headers on, as recipes from before the security types do, would let every
    client choose to need no signature. So the weaker types are off until an operator has set the proxy up for them.
    """
    if request.security not in enabled:
        raise AuthorizationRequestError(
            f"X-Required-Security: {request.security.value} is not in PORTAL_GATEWAY_SECURITY_TYPES"
        )
    return request


def from_auth(headers: Headers, query: str, body: bytes, *, trailer: bool = False) -> AuthorizationRequest:
    """Parse ``/gateway/v1/auth``: the original request is described by headers.

    ``query``: the sub-request's own query string; ``body``: its body, which is the original request's; ``trailer``:
    whether fields followed the body. Raise `AuthorizationRequestError`.
    """
    targets, problem = _original_targets(headers)
    path, _mark, original = (targets or [""])[0].partition("?")
    # SECURITY: a proxy that passes the client's query string on passes on the one in the header. Another one was not
    # signed.
    if query not in ("", ANSWER_CLIENT, original):
        problem = problem or "the sub-request has another query string"
    return _from_headers(
        headers, _encode_header(original), body, _ending_problem(headers, trailer) or problem, path=path
    )


def from_check(
    headers: Headers, path: str, query: str, body: bytes, *, trailer: bool = False, method: str = ""
) -> AuthorizationRequest:
    """Parse ``/gateway/v1/check/...``: method, query string and body are those of the original request.

    Raise `AuthorizationRequestError`.
    """
    problem = _ending_problem(headers, trailer) or _path_problem(path)
    original = _CHECK_PREFIX.sub("", path, count=1)
    return _from_headers(headers, _encode_header(query), body, problem, method=method, path=original)


def from_check_message(
    headers: Headers, target: str, body: bytes, *, method: str = ""
) -> AuthorizationRequest:
    """Parse Envoy's ``CheckRequest``, which contains the original request.

    ``target``: its path and query string, as bytes in latin-1 text. Raise `AuthorizationRequestError`.
    """
    if not target.startswith("/"):
        raise AuthorizationRequestError("the path is missing")
    path, _mark, query = target.partition("?")
    problem = _ending_problem(headers, trailer=False) or _path_problem(path)
    # SECURITY: Envoy replaces bytes that are not UTF-8 in the message, and forwards the original ones; among raw
    # headers, the target is as it was sent. Without with_request_body, a body is forwarded that is not in the message.
    if any(value != target for value in headers.get_all(":path")):
        problem = problem or "the path is not the one in the headers"
    if any(value != str(len(body)) for value in headers.get_all("content-length")):
        problem = problem or "the body is not the one that was announced"
    return _from_headers(headers, _encode_header(query), body, problem, method=method, path=path)


def wants_client_answer(headers: Headers, query: str) -> bool:
    """Return whether ``/gateway/v1/auth`` answers with the client's status and body. ``query``: the sub-request's own.

    The decision does not depend on it, only the form of a rejection.
    """
    if "client" in headers.get_all("x-portal-answer"):
        return True
    # SECURITY: a query string that is in the original request, too, was passed on from there: the client wrote it.
    targets, _problem = _original_targets(headers)
    return query == ANSWER_CLIENT and all(target.partition("?")[2] != query for target in targets)


def from_json(document: object) -> tuple[list[AuthorizationRequest], bool]:
    """Parse ``POST /gateway/v1/authorize``. Return the requests, and whether they are a batch.

    Raise `AuthorizationRequestError`.
    """
    if not isinstance(document, dict):
        raise AuthorizationRequestError("the body is not a JSON object")
    if "requests" not in document:
        return [_from_object(document)], False
    if len(document) > 1:
        # The author of a permission beside "requests" would expect it to apply to all of them.
        raise AuthorizationRequestError("there is another name beside 'requests'")
    requests = document["requests"]
    if not isinstance(requests, list) or not 1 <= len(requests) <= MAX_BATCH_SIZE:
        raise AuthorizationRequestError(f"'requests' is not a list of 1 to {MAX_BATCH_SIZE}")
    return [_from_object(request, f"requests[{n}]: ") for n, request in enumerate(requests)], True


#: ingress-nginx sends ``$scheme://$http_host$request_uri``. SECURITY: the client chooses the host (nginx accepts "?"
#: and "#" in it), so only the characters of a host and a port are accepted in front of the path.
_ORIGINAL_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(/.*)", re.IGNORECASE | re.DOTALL)
_URI_HEADERS = ("x-original-uri", "x-original-url", "x-forwarded-uri")


def _original_targets(headers: Headers) -> tuple[list[str], str]:
    """Return the path and query string in each header that names the original URI, and what is wrong with them ("" if
    nothing is)."""
    # SECURITY: the proxy sets one of them, once. A second one comes from the client, which would have one request
    # authorized and another one executed; unless it is the same. Without any, a signed body would pass beside an
    # unchecked query string.
    targets, problem = [], ""
    for name in _URI_HEADERS:
        values = headers.get_all(name)
        if len(values) > 1:
            problem = f"{_spelled(name)} occurs more than once"
        for value in values:
            match = _ORIGINAL_URL.fullmatch(value) if name == "x-original-url" else None
            if name == "x-original-url" and match is None:
                problem = "X-Original-URL is not an http or https URL with a path"
            targets.append(value if match is None else match[1])
    if not targets:
        problem = "X-Original-URI is missing"
    elif len(set(targets)) > 1:
        problem = problem or "the headers that name the original URI do not agree"
    return targets, problem or _path_problem(targets[0].partition("?")[0])


def source_address(headers: Headers) -> str | None:
    """Return the source address from ``X-Client-IP``, ``X-Real-IP``, or the last one of ``X-Forwarded-For``.

    None: unknown. Raise `AuthorizationRequestError` if ``X-Real-IP`` is another address than the header beside it.
    """
    last = [value.rpartition(",")[2].strip(" \t") for value in headers.get_all("x-forwarded-for")[-1:]]
    for name in ("x-client-ip", "x-real-ip"):
        if name in headers and len(headers.get_all(name)) != 1:
            return None  # SECURITY: of two, one was sent by the client.
    named, real = headers.get_all("x-client-ip"), headers.get_all("x-real-ip")
    values = named or last or real
    # SECURITY: ingress-nginx and Traefik set X-Real-IP, and pass the client's X-Client-IP on; a proxy that sets only
    # X-Forwarded-For passes the client's X-Real-IP on. X-Forwarded-For beside X-Client-IP is not compared: its last
    # entry may be a proxy between.
    if real and values and not _is_same_address(values[0], real[0]):
        raise AuthorizationRequestError("X-Real-IP is not the address in X-Client-IP or X-Forwarded-For")
    return client_ip.without_port(values[0]) if values else None


def _is_same_address(one: str, other: str) -> bool:
    first, second = (client_ip.parse_address(client_ip.without_port(text)) for text in (one, other))
    return one == other or (first is not None and first == second)


def _from_headers(
    headers: Headers, query: bytes, body: bytes, problem: str, *, path: str, method: str = ""
) -> AuthorizationRequest:
    """``problem``: why what comes with the request is not, or may not be, what the client signed; "" if it is.

    ``method``: "" if a header names it.
    """
    security = _security(headers.get_all("x-required-security"))
    permission = _permission(headers.get_all("x-required-permission"), security)
    methods = [headers.get_all(name) for name in ("x-original-method", "x-forwarded-method")]
    if any(len(values) > 1 for values in methods) or (all(methods) and methods[0] != methods[1]):
        raise AuthorizationRequestError("X-Original-Method and X-Forwarded-Method name more than one method")
    if problem and security is Security.SIGNED:
        query, problem = query + UNSIGNABLE, ""
    if problem:
        raise AuthorizationRequestError(problem)
    return AuthorizationRequest(
        # SECURITY: with two, the portal would check one key, and the service behind the gateway might read the other.
        api_key=None if security is Security.NONE else _single_value(headers, "x-mbx-apikey"),
        query=query,
        body=body,
        client_ip=source_address(headers),
        permission=permission,
        security=security,
        line=RequestLine(method or next((values[0] for values in methods if values), ""), path),
    )


def _security(values: list[str]) -> Security:
    """Return the security type in the values of ``X-Required-Security``."""
    # SECURITY: anything but exactly one documented value is refused. With two values, one was sent by the client.
    if not values:
        return Security.SIGNED
    if len(values) > 1:
        raise AuthorizationRequestError("X-Required-Security occurs more than once")
    try:
        return Security(values[0])
    except ValueError:
        raise AuthorizationRequestError("X-Required-Security is not signed, key or none") from None


def _permission(values: list[str], security: Security) -> str:
    """Return the permission in the values of ``X-Required-Permission``; "" for a route that needs none."""
    if values in ([], [""]):
        if security is Security.NONE:
            return ""
        raise AuthorizationRequestError("X-Required-Permission is missing")
    if len(values) > 1:
        raise AuthorizationRequestError("X-Required-Permission occurs more than once")
    if values[0] not in PERMISSIONS:
        raise AuthorizationRequestError("X-Required-Permission is not read, trade or withdraw")
    return values[0]


def _ending_problem(headers: Headers, trailer: bool) -> str:
    """SECURITY: fields behind a body reach the exchange unsigned; so does the rest of a body that Envoy truncated,
    which it marks with this header."""
    if trailer:
        return "fields follow the body"
    partial = headers.get_all("x-envoy-auth-partial-body") not in ([], ["false"])
    return "X-Envoy-Auth-Partial-Body: the body is not complete" if partial else ""


def _path_problem(path: str) -> str:
    """SECURITY: a server that takes "#" for the beginning of a fragment (RFC 3986, 3.5) ignores the signed query string
    behind it, and sees a request without parameters."""
    plain = path.isascii() and "#" not in path
    return "" if plain else "the path contains a number sign or a byte that is not ASCII"


def _single_value(headers: Headers, name: str) -> str | None:
    """Return the value of a header that occurs exactly once, otherwise None."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _spelled(name: str) -> str:
    return {"x-original-uri": "X-Original-URI", "x-original-url": "X-Original-URL"}.get(
        name, "X-Forwarded-Uri"
    )


def _encode_header(text: str) -> bytes:
    return text.encode("latin-1")


_FIELDS = ("api_key", "method", "path", "query", "body", "client_ip", "permission", "security")


def _from_object(request: object, prefix: str = "") -> AuthorizationRequest:
    if not isinstance(request, dict):
        raise AuthorizationRequestError(f"{prefix}not a JSON object")
    _check_fields(request, prefix)
    # SECURITY: the exchange would read the query string in the path, while only ``query`` is signed.
    if not {"?", "#"}.isdisjoint(request.get("path") or ""):
        raise AuthorizationRequestError(f"{prefix}'path' has a query string or a fragment")
    security = _choice(request, "security", [kind.value for kind in Security], prefix) or "signed"
    permission = _choice(request, "permission", PERMISSIONS, prefix)
    if permission is None and security != "none":
        raise AuthorizationRequestError(f"{prefix}'permission' is missing")
    address = request.get("client_ip")
    return AuthorizationRequest(
        api_key=None if security == "none" else request.get("api_key"),
        query=_encode_text(request.get("query")),
        body=_encode_text(request.get("body")),
        client_ip=None if address is None else client_ip.without_port(address),
        permission=permission or "",
        security=Security(security),
        line=RequestLine(request.get("method") or "", request.get("path") or ""),
    )


def _choice(request: Mapping[str, str | None], name: str, choices: Iterable[str], prefix: str) -> str | None:
    value = request.get(name)
    if value is not None and value not in choices:
        raise AuthorizationRequestError(f"{prefix}'{name}' is not one of {', '.join(choices)}")
    return value


def _check_fields(request: Mapping[str, object], prefix: str) -> None:
    for name, value in request.items():
        # An unknown name is most likely a misspelt one: ignoring it would authorize another request than was meant.
        if name not in _FIELDS:
            raise AuthorizationRequestError(f"{prefix}a name other than {', '.join(_FIELDS)}")
        if value is not None and not isinstance(value, str):
            raise AuthorizationRequestError(f"{prefix}'{name}' is not a string")


def _encode_text(value: str | None) -> bytes:
    return b"" if value is None else value.encode("utf-8", "surrogatepass")
