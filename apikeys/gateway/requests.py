"""Parse the three forms of an authorization request (proxy sub-request, Envoy, JSON). Pure: no ORM, no Django.

Contract: "Endpoints for gateways" in the contract of a signed request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hitobit_portal.http import client_ip

MAX_BATCH_SIZE = 100
#: Maximum size of query and body together: a megabyte of "&" takes 1.5 s to parse as parameters.
MAX_PAYLOAD_BYTES = 65_536
#: A parameter with a byte outside RFC 3986's characters: no signature is valid for a query string that contains it.
UNSIGNABLE = b"&\xff"


class AuthorizationRequestError(ValueError):
    """The gateway's request is not as documented. The text says what is wrong, and never contains a value."""


class Headers(Protocol):
    """Headers with names in lower case, and values as sent (bytes as latin-1 text)."""

    def __contains__(self, key: str, /) -> bool: ...
    def get_all(self, key: str, /) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A signed request to be authorized. ``client_ip`` None: unknown, so the request is rejected."""

    api_key: str | None
    query: bytes
    body: bytes
    client_ip: str | None
    permission: str


def from_auth(headers: Headers, query: str, body: bytes, *, trailer: bool = False) -> AuthorizationRequest:
    """Parse ``/gateway/v1/auth``: the original request is described by headers.

    ``query``: the sub-request's own query string; ``body``: its body, which is the original request's; ``trailer``:
    whether fields followed the body.
    """
    original = original_query(headers)
    # SECURITY: a proxy that passes the client's query string on passes on the one in the header. Another one was not
    # signed.
    if query and _encode_header(query) != original:
        original += UNSIGNABLE
    return _from_headers(headers, original, body, trailer)


def from_envoy(
    headers: Headers, path: str, query: str, body: bytes, *, trailer: bool = False
) -> AuthorizationRequest:
    """Parse ``/gateway/v1/envoy/...``: query string and body are those of the original request."""
    return _from_headers(headers, _encode_header(query) + _unsignable_unless_plain(path), body, trailer)


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


def original_query(headers: Headers) -> bytes:
    """Return the query string of ``X-Original-URI`` or ``X-Forwarded-Uri``."""
    # SECURITY: the proxy sets one of them, once. A second one comes from the client, which would have one request
    # authorized and another one executed. Without any, a signed body would pass beside an unchecked query string.
    values = [*headers.get_all("x-original-uri"), *headers.get_all("x-forwarded-uri")]
    path, _mark, query = (values or [""])[0].partition("?")
    return _encode_header(query) + (_unsignable_unless_plain(path) if len(values) == 1 else UNSIGNABLE)


def source_address(headers: Headers) -> str | None:
    """Return the source address from ``X-Client-IP``, or the last one of ``X-Forwarded-For``; None if unknown."""
    if "x-client-ip" in headers:
        # SECURITY: of two, one was sent by the client.
        address = _single_value(headers, "x-client-ip")
    else:
        values = headers.get_all("x-forwarded-for")
        address = values[-1].rpartition(",")[2].strip(" \t") if values else None
    return None if address is None else client_ip.without_port(address)


def _from_headers(headers: Headers, query: bytes, body: bytes, trailer: bool) -> AuthorizationRequest:
    # SECURITY: fields behind a body reach the exchange unsigned; so does the rest of a body that Envoy truncated, which
    # it marks with this header.
    if trailer or headers.get_all("x-envoy-auth-partial-body") not in ([], ["false"]):
        query += UNSIGNABLE
    has_permission = "x-required-permission" in headers
    return AuthorizationRequest(
        # SECURITY: with two, the portal would check one key, and the service behind the gateway might read the other.
        api_key=_single_value(headers, "x-mbx-apikey"),
        query=query,
        body=body,
        client_ip=source_address(headers),
        permission=_single_value(headers, "x-required-permission") or "" if has_permission else "read",
    )


def _single_value(headers: Headers, name: str) -> str | None:
    """Return the value of a header that occurs exactly once, otherwise None."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _unsignable_unless_plain(path: str) -> bytes:
    """Return `UNSIGNABLE` if ``path`` contains "#" or a byte that is not ASCII, otherwise nothing.

    SECURITY: a server that takes "#" for the beginning of a fragment (RFC 3986, 3.5) ignores the signed query string
    behind it, and sees a request without parameters.
    """
    return b"" if path.isascii() and "#" not in path else UNSIGNABLE


def _encode_header(text: str) -> bytes:
    return text.encode("latin-1")


_FIELDS = ("api_key", "method", "path", "query", "body", "client_ip", "permission")


def _from_object(request: object, prefix: str = "") -> AuthorizationRequest:
    if not isinstance(request, dict):
        raise AuthorizationRequestError(f"{prefix}not a JSON object")
    _check_fields(request, prefix)
    # SECURITY: the exchange would read the query string in the path, while only ``query`` is signed.
    if not {"?", "#"}.isdisjoint(request.get("path") or ""):
        raise AuthorizationRequestError(f"{prefix}'path' has a query string or a fragment")
    permission, address = request.get("permission"), request.get("client_ip")
    return AuthorizationRequest(
        api_key=request.get("api_key"),
        query=_encode_text(request.get("query")),
        body=_encode_text(request.get("body")),
        client_ip=None if address is None else client_ip.without_port(address),
        permission="read" if permission is None else permission,
    )


def _check_fields(request: Mapping[str, object], prefix: str) -> None:
    for name, value in request.items():
        # An unknown name is most likely a misspelt one. If it were ignored, a misspelt "permission" would mean "read".
        if name not in _FIELDS:
            raise AuthorizationRequestError(f"{prefix}a name other than {', '.join(_FIELDS)}")
        if value is not None and not isinstance(value, str):
            raise AuthorizationRequestError(f"{prefix}'{name}' is not a string")


def _encode_text(value: str | None) -> bytes:
    return b"" if value is None else value.encode("utf-8", "surrogatepass")
