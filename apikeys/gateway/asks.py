"""What a gateway asks, read from the three forms in which it comes. Pure: no ORM, no Django.

"Endpoints for gateways" in the contract of a signed request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

MOST_REQUESTS = 100
#: Of query and body together: a megabyte of "&" takes 1.5 s to read as parameters.
LARGEST_PAYLOAD = 65_536
#: Stands for bytes that the server could not hand over as text: outside of RFC 3986, so no signature is valid.
UNREADABLE = b"\xff"


class AskError(ValueError):
    """The gateway's own request is not as documented; the text says what is wrong, never with a value."""


class Headers(Protocol):
    """Names in lower case; a value that is no ASCII text is left out."""

    def __contains__(self, key: str, /) -> bool: ...
    def get(self, key: str, default: Any = None, /) -> Any: ...
    def get_all(self, key: str, /) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One signed request to be decided. ``client_ip`` None: nobody knows, so it is refused."""

    api_key: str | None
    query: bytes
    body: bytes
    client_ip: str | None
    permission: str


def from_auth(headers: Headers) -> Ask:
    """``GET /gateway/v1/auth``: the original request stands in headers."""
    return _from_headers(headers, original_query(headers), b"")


def from_envoy(headers: Headers, query: str, body: bytes) -> Ask:
    """``/gateway/v1/envoy/...``: the request is the original one."""
    return _from_headers(headers, query.encode("utf-8", "surrogateescape"), body)


def from_json(document: object) -> tuple[list[Ask], bool]:
    """``POST /gateway/v1/authorize``: the requests, and whether they came as a batch. Raises `AskError`."""
    if not isinstance(document, dict):
        raise AskError("the body is not a JSON object")
    if "requests" not in document:
        return [_from_object(document)], False
    requests = document["requests"]
    if not isinstance(requests, list) or not 1 <= len(requests) <= MOST_REQUESTS:
        raise AskError(f"'requests' is not a list of 1 to {MOST_REQUESTS}")
    return [_from_object(request, f"requests[{n}]: ") for n, request in enumerate(requests)], True


def original_query(headers: Headers) -> bytes:
    """The query string of ``X-Original-URI`` or ``X-Forwarded-Uri``."""
    original, forwarded = "x-original-uri" in headers, "x-forwarded-uri" in headers
    # SECURITY: the proxy sets one of them. The other then comes from the client, who would have one request checked and
    # another one done.
    if original and forwarded:
        return UNREADABLE
    values = headers.get_all("x-original-uri" if original else "x-forwarded-uri")
    if len(values) != 1:
        return UNREADABLE if original or forwarded else b""
    return values[0].partition("?")[2].encode("utf-8", "surrogateescape")


def caller(headers: Headers) -> str | None:
    """The source address that the gateway says: ``X-Client-IP``, or the last of ``X-Forwarded-For``."""
    if "x-client-ip" in headers:
        values = headers.get_all("x-client-ip")
        # SECURITY: of two, one was sent by the client.
        return values[0] if len(values) == 1 else None
    values = headers.get_all("x-forwarded-for")
    return values[-1].rpartition(",")[2].strip(" \t") if values else None


def _from_headers(headers: Headers, query: bytes, body: bytes) -> Ask:
    keys = headers.get_all("x-mbx-apikey")
    permissions = headers.get_all("x-required-permission")
    named = "x-required-permission" in headers
    return Ask(
        # SECURITY: with two the portal would check one key, and whoever is behind the gateway might read the other.
        api_key=keys[0] if len(keys) == 1 else None,
        query=query,
        body=body,
        client_ip=caller(headers),
        permission=permissions[0] if len(permissions) == 1 else "" if named else "read",
    )


_FIELDS = ("api_key", "method", "path", "query", "body", "client_ip", "permission")


def _from_object(request: object, place: str = "") -> Ask:
    if not isinstance(request, dict):
        raise AskError(f"{place}not a JSON object")
    _refuse_odd(request, place)
    permission = request.get("permission")
    return Ask(
        api_key=request.get("api_key"),
        query=_bytes(request.get("query")),
        body=_bytes(request.get("body")),
        client_ip=request.get("client_ip"),
        permission="read" if permission is None else permission,
    )


def _refuse_odd(request: Mapping[str, object], place: str) -> None:
    for name, value in request.items():
        # A name that is not known is most likely a known one with a typing error, and then what it should have said
        # ("permission") would be taken as not said.
        if name not in _FIELDS:
            raise AskError(f"{place}a name that is not one of {', '.join(_FIELDS)}")
        if value is not None and not isinstance(value, str):
            raise AskError(f"{place}'{name}' is not a string")


def _bytes(value: str | None) -> bytes:
    return b"" if value is None else value.encode("utf-8", "surrogatepass")
