"""What a gateway asks, read from the three forms in which it comes. Pure: no ORM, no Django.

"Endpoints for gateways" in the contract of a signed request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hitobit_portal.http import client_ip

MOST_REQUESTS = 100
#: Of query and body together: a megabyte of "&" takes 1.5 s to read as parameters.
LARGEST_PAYLOAD = 65_536
#: A parameter outside of RFC 3986's characters: no signature is valid for a query string that has it.
UNSIGNABLE = b"&\xff"


class AskError(ValueError):
    """The gateway's own request is not as documented; the text says what is wrong, never with a value."""


class Headers(Protocol):
    """Names in lower case; each value as it was sent, its bytes as latin-1 text."""

    def __contains__(self, key: str, /) -> bool: ...
    def get_all(self, key: str, /) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One signed request to be decided. ``client_ip`` None: nobody knows, so it is refused."""

    api_key: str | None
    query: bytes
    body: bytes
    client_ip: str | None
    permission: str


def from_auth(headers: Headers, query: str, body: bytes, *, trailer: bool = False) -> Ask:
    """``/gateway/v1/auth``: the original request stands in headers; ``query`` and ``body`` are the question's own.

    The body is the original one. ``trailer``: whether fields followed it.
    """
    original = original_query(headers)
    # SECURITY: a proxy that sends the client's query along sends the one that it names. Another one was not signed.
    if query and _bytes_of(query) != original:
        original += UNSIGNABLE
    return _from_headers(headers, original, body, trailer)


def from_envoy(headers: Headers, path: str, query: str, body: bytes, *, trailer: bool = False) -> Ask:
    """``/gateway/v1/envoy/...``: the request is the original one."""
    return _from_headers(headers, _bytes_of(query) + _without_path(path), body, trailer)


def from_json(document: object) -> tuple[list[Ask], bool]:
    """``POST /gateway/v1/authorize``: the requests, and whether they came as a batch. Raises `AskError`."""
    if not isinstance(document, dict):
        raise AskError("the body is not a JSON object")
    if "requests" not in document:
        return [_from_object(document)], False
    if len(document) > 1:
        # A permission beside the requests would be taken for theirs by whoever wrote it.
        raise AskError("there is a name beside 'requests'")
    requests = document["requests"]
    if not isinstance(requests, list) or not 1 <= len(requests) <= MOST_REQUESTS:
        raise AskError(f"'requests' is not a list of 1 to {MOST_REQUESTS}")
    return [_from_object(request, f"requests[{n}]: ") for n, request in enumerate(requests)], True


def original_query(headers: Headers) -> bytes:
    """The query string of ``X-Original-URI`` or ``X-Forwarded-Uri``."""
    # SECURITY: the proxy sets one of them, once. Another one then comes from the client, who would have one request
    # checked and another one done; without one a signed body would pass beside a query string that nobody saw.
    values = [*headers.get_all("x-original-uri"), *headers.get_all("x-forwarded-uri")]
    path, _mark, query = (values or [""])[0].partition("?")
    return _bytes_of(query) + (_without_path(path) if len(values) == 1 else UNSIGNABLE)


def caller(headers: Headers) -> str | None:
    """The source address that the gateway says: ``X-Client-IP``, or the last of ``X-Forwarded-For``."""
    if "x-client-ip" in headers:
        # SECURITY: of two, one was sent by the client.
        said = _only(headers, "x-client-ip")
    else:
        values = headers.get_all("x-forwarded-for")
        said = values[-1].rpartition(",")[2].strip(" \t") if values else None
    return None if said is None else client_ip.without_port(said)


def _from_headers(headers: Headers, query: bytes, body: bytes, trailer: bool) -> Ask:
    # SECURITY: what follows a body goes on to the exchange and is not signed; nor is the rest of one that was cut off,
    # as Envoy says in this header.
    if trailer or headers.get_all("x-envoy-auth-partial-body") not in ([], ["false"]):
        query += UNSIGNABLE
    named = "x-required-permission" in headers
    return Ask(
        # SECURITY: with two the portal would check one key, and whoever is behind the gateway might read the other.
        api_key=_only(headers, "x-mbx-apikey"),
        query=query,
        body=body,
        client_ip=caller(headers),
        permission=_only(headers, "x-required-permission") or "" if named else "read",
    )


def _only(headers: Headers, name: str) -> str | None:
    """The value of a header that is there exactly once."""
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _without_path(path: str) -> bytes:
    """What is added to the query string behind ``path``.

    SECURITY: to a server that takes "#" for the beginning of a fragment (RFC 3986, 3.5), what was signed behind it is
    no query string, and the request has no parameters.
    """
    return b"" if path.isascii() and "#" not in path else UNSIGNABLE


def _bytes_of(text: str) -> bytes:
    return text.encode("latin-1")


_FIELDS = ("api_key", "method", "path", "query", "body", "client_ip", "permission")


def _from_object(request: object, place: str = "") -> Ask:
    if not isinstance(request, dict):
        raise AskError(f"{place}not a JSON object")
    _refuse_odd(request, place)
    # SECURITY: the exchange would read what stands there, and only ``query`` is signed.
    if not {"?", "#"}.isdisjoint(request.get("path") or ""):
        raise AskError(f"{place}'path' has a query string or a fragment")
    permission, address = request.get("permission"), request.get("client_ip")
    return Ask(
        api_key=request.get("api_key"),
        query=_bytes(request.get("query")),
        body=_bytes(request.get("body")),
        client_ip=None if address is None else client_ip.without_port(address),
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
