"""What a client may have signed instead of what counts: the parameters put together in another way. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

from apikeys.debugger.causes import Cause, Found, found
from apikeys.debugger.payload_candidates import MOST_PARAMETERS, Parts, name_of
from apikeys.debugger.request_parser import Pasted

LONGEST_NUMBER = 40

Assembly = tuple[Found, bytes]


def assemblies(parts: Parts, request: Pasted) -> Iterator[Assembly]:
    """Every wrong way to make one text of ``parts``, likelier ones first."""
    yield from _places(parts)
    yield from _around(parts.payload)
    yield from _with_address(parts, request)
    yield from _other_notations(parts)
    yield from _hashed(parts.payload)


def _places(parts: Parts) -> Iterator[Assembly]:
    query, body = b"&".join(parts.query), b"&".join(parts.body)
    if not body:
        yield found(Cause.NOTHING_SIGNED), b""
        return
    yield found(Cause.BODY_LEFT_OUT), query
    if query:
        yield found(Cause.QUERY_LEFT_OUT), body
        yield found(Cause.JOINED_AMPERSAND), query + b"&" + body
        yield found(Cause.BODY_FIRST), body + query
        yield found(Cause.BODY_FIRST), body + b"&" + query
    yield found(Cause.NOTHING_SIGNED), b""


def _around(payload: bytes) -> Iterator[Assembly]:
    yield found(Cause.NEWLINE), payload + b"\n"
    yield found(Cause.CRLF), payload + b"\r\n"
    yield found(Cause.SPACE_AROUND), payload + b" "
    yield found(Cause.SPACE_AROUND), b" " + payload
    yield found(Cause.QUESTION_MARK), b"?" + payload
    yield found(Cause.STRAY_AMPERSAND), payload + b"&"
    yield found(Cause.STRAY_AMPERSAND), b"&" + payload
    for ending in (b"&signature=", b"&signature"):
        yield found(Cause.SIGNATURE_SIGNED), payload + ending
    yield found(Cause.BOM), b"\xef\xbb\xbf" + payload
    for mark in (b'"', b"'"):
        yield found(Cause.QUOTES_SIGNED), mark + payload + mark
    for window in (b"5000", b"10000", b"60000"):
        yield found(Cause.WINDOW_NOT_SENT, value=window.decode()), payload + b"&recvWindow=" + window
    yield found(Cause.HTML_SIGNED), payload.replace(b"&", b"&amp;")


def _with_address(parts: Parts, request: Pasted) -> Iterator[Assembly]:
    payload = parts.payload
    path, method = request.path.encode("utf-8", "replace"), request.method.upper().encode("ascii", "replace")
    origin = request.origin.encode("utf-8", "replace")
    for address, cause in ((path, Cause.PATH_SIGNED), (origin + path, Cause.ADDRESS_SIGNED)):
        for joint in (b"?", b""):
            yield found(cause), address + joint + payload
    host = origin.partition(b"://")[2]
    yield found(Cause.ADDRESS_SIGNED), host + path + b"?" + payload
    if request.fragment:
        yield found(Cause.FRAGMENT), payload + b"#" + request.fragment
        yield found(Cause.FRAGMENT), payload + b"%23" + request.fragment
    stamp = parts.value(b"timestamp") or b""
    key = (request.header("X-MBX-APIKEY") or "").encode("utf-8", "replace")
    body = b"&".join(parts.body)
    whole = path + (b"?" + b"&".join(parts.query) if parts.query else b"")
    for text in (
        method + payload,
        method + path + payload,
        method + path + b"?" + payload,
        *(joint.join((method, path, payload)) for joint in (b"\n", b" ", b"|")),
        stamp + method + whole + body,
        *(
            b"\n".join((stamp, method, path, text))
            for text in (payload, b"&".join(parts.query) + b"\n" + body)
        ),
        stamp + payload,
        payload + stamp,
        key + payload,
        payload + key,
        stamp + key + (parts.value(b"recvWindow") or b"") + payload,
    ):
        yield found(Cause.OTHER_SCHEME), text


def _other_notations(parts: Parts) -> Iterator[Assembly]:
    pieces = (*parts.query, *parts.body)
    if len(pieces) <= MOST_PARAMETERS:
        yield from _json(pieces)
    yield found(Cause.NO_SEPARATOR), b"".join(pieces)
    yield found(Cause.NO_SEPARATOR), b"".join(piece.replace(b"=", b"", 1) for piece in pieces)
    yield found(Cause.NO_SEPARATOR), b"".join(piece.partition(b"=")[2] for piece in pieces)
    for separator in (b",", b";", b"\n"):
        yield found(Cause.NO_SEPARATOR), separator.join(pieces)
    for charset in ("utf-16-le", "utf-16-be", "utf-16"):
        yield found(Cause.UTF16), _text(parts.payload).encode(charset)


def _json(pieces: Iterable[bytes]) -> Iterator[Assembly]:
    pairs = {
        _text(name_of(piece)): _text(unquote_to_bytes(piece.partition(b"=")[2].replace(b"+", b" ")))
        for piece in pieces
    }
    # SECURITY: the time that int() takes grows with the square of the digits.
    numbers = {name: int(v) if len(v) <= LONGEST_NUMBER and v.isdecimal() else v for name, v in pairs.items()}
    for shown in (pairs, numbers, dict(sorted(pairs.items()))):
        for separators in ((",", ":"), (", ", ": ")):
            yield found(Cause.JSON_SIGNED), json.dumps(shown, separators=separators).encode()


def _hashed(payload: bytes) -> Iterator[Assembly]:
    digest = hashlib.sha256(payload)
    yield found(Cause.HASHED_FIRST), digest.digest()
    yield found(Cause.HASHED_FIRST), digest.hexdigest().encode()
    yield found(Cause.HASHED_FIRST), base64.b64encode(digest.digest())
    yield found(Cause.PAYLOAD_ENCODED), base64.b64encode(payload)
    yield found(Cause.PAYLOAD_ENCODED), payload.hex().encode()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
