"""Generate payload candidates: texts that a client may have signed instead of the correct payload. Pure.

A rewrite changes the received parameters (`rewrites`, `deep_rewrites`); `joined_payloads` joins parameters to bytes in
wrong ways. Nothing here has a secret: `search` tries the results with `signature_candidates`.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote_to_bytes

from apikeys.debugger.causes import Cause, DetectedCause, detected
from apikeys.debugger.request_parser import ParsedRequest

#: With more parameters only complete orders are tried (sorted, reversed), not every permutation or omission.
MAX_PERMUTED = 5
MAX_DROPPED = 40
#: With more parameters than any real request has, parameters are only joined: a rewrite has to process each of them.
MAX_PARAMETERS = 500
#: Maximum difference in ms between two timestamps of a client that reads the clock twice, for the request and for the
#: signature.
CLOCK_DRIFT_MS = 100
MAX_NUMBER_LENGTH = 40
_ENCODED_TWICE = re.compile(rb"%25[0-9A-Fa-f]{2}")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_DECIMAL = re.compile(rb"[0-9]+\.[0-9]*")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parameters of query string and body as received, without the signature."""

    query: tuple[bytes, ...]
    body: tuple[bytes, ...]

    @classmethod
    def of(cls, query: bytes, body: bytes) -> Parts:
        return cls(_unsigned(query), _unsigned(body))

    @property
    def payload(self) -> bytes:
        return b"&".join(self.query) + b"&".join(self.body)

    def each(self, change: Callable[[bytes], bytes]) -> Parts:
        return Parts(tuple(map(change, self.query)), tuple(map(change, self.body)))

    def ordered(self, key: Callable[[bytes], object]) -> Parts:
        return Parts(tuple(sorted(self.query, key=key)), tuple(sorted(self.body, key=key)))  # type: ignore[arg-type]

    def value(self, name: bytes) -> bytes | None:
        """Return the raw value of the first parameter of this name."""
        for piece in (*self.query, *self.body):
            if name_of(piece) == name:
                return piece.partition(b"=")[2]
        return None


Rewrite = tuple[DetectedCause, Parts]
JoinedPayload = tuple[DetectedCause, bytes]


def name_of(piece: bytes) -> bytes:
    """Return the name of a parameter, percent-decoded once."""
    name = piece.partition(b"=")[0]
    return unquote_to_bytes(name.replace(b"+", b" ")) if b"%" in name or b"+" in name else name


def _unsigned(place: bytes) -> tuple[bytes, ...]:
    if not place:
        return ()
    return tuple(piece for piece in place.split(b"&") if name_of(piece) != b"signature")


def rewrites(parts: Parts, query: bytes, body: bytes) -> Iterator[Rewrite]:
    """Yield the rewrites that are few enough to be combined with `joined_payloads`.

    ``query`` and ``body`` are as received, with the signature.
    """
    yield from _orders(parts)
    yield from _encodings(parts)
    yield from _values(parts)
    yield from _omissions(parts)
    before = Parts(_before_signature(query), _before_signature(body))
    if before != parts:
        yield detected(Cause.AFTER_SIGNATURE), before


def deep_rewrites(parts: Parts) -> Iterator[Rewrite]:
    """Yield rewrites that are too many to be combined with others; they are tried alone."""
    pieces = len(parts.query) + len(parts.body)
    if pieces <= MAX_PERMUTED:
        for query in itertools.permutations(parts.query):
            for body in itertools.permutations(parts.body):
                yield detected(Cause.OTHER_ORDER), Parts(query, body)
    sent = parts.value(b"timestamp")
    if sent is not None and re.fullmatch(rb"[0-9]{13}", sent):
        for step in range(1, CLOCK_DRIFT_MS + 1):
            for drift in (-step, step):
                other = b"timestamp=%d" % (int(sent) + drift)
                yield detected(Cause.TIMESTAMP_TWICE, ms=drift), _with_timestamp(parts, other)


def _orders(parts: Parts) -> Iterator[Rewrite]:
    yield detected(Cause.SORTED), parts.ordered(lambda piece: piece)
    yield detected(Cause.SORTED), parts.ordered(bytes.lower)
    yield detected(Cause.SORTED), parts.ordered(name_of)
    if parts.query and parts.body:
        both = tuple(sorted((*parts.query, *parts.body)))
        yield detected(Cause.SORTED), Parts((), both)
    yield detected(Cause.OTHER_ORDER), Parts(parts.query[::-1], parts.body[::-1])
    for first in (True, False):
        yield (
            detected(Cause.OTHER_ORDER),
            parts.ordered(lambda piece, first=first: (name_of(piece) == b"timestamp") != first),  # type: ignore[misc]
        )


def _encodings(parts: Parts) -> Iterator[Rewrite]:
    payload = parts.payload
    twice = Cause.ENCODED_TWICE if _ENCODED_TWICE.search(payload) else Cause.BEFORE_ENCODING
    yield detected(twice), parts.each(unquote_to_bytes)
    yield (
        detected(Cause.BEFORE_ENCODING),
        parts.each(lambda piece: unquote_to_bytes(piece.replace(b"+", b" "))),
    )
    yield (
        detected(Cause.SPACE_SPELLING, sent="%20", signed="+"),
        parts.each(lambda p: p.replace(b"%20", b"+")),
    )
    yield (
        detected(Cause.SPACE_SPELLING, sent="+", signed="%20"),
        parts.each(lambda p: p.replace(b"+", b"%20")),
    )
    yield (
        detected(Cause.ENCODING_CASE, signed="%2f"),
        parts.each(lambda p: _ESCAPE.sub(lambda m: m[0].lower(), p)),
    )
    yield (
        detected(Cause.ENCODING_CASE, signed="%2F"),
        parts.each(lambda p: _ESCAPE.sub(lambda m: m[0].upper(), p)),
    )
    for style in (lambda v: quote(v, safe=""), lambda v: quote(v, safe="!~*'()"), lambda v: quote_plus(v)):
        yield detected(Cause.ENCODED_ONLY_SIGNED), parts.each(_value_changed(_requoted(style)))
        yield (
            detected(Cause.SIGNED_ENCODED_TWICE),
            parts.each(_value_changed(lambda value, style=style: style(value).encode())),  # type: ignore[misc]
        )
    yield detected(Cause.HTML_SIGNED), parts.each(lambda p: p.replace(b"&amp;", b"&").replace(b"amp;", b""))


def _requoted(style: Callable[[bytes], str]) -> Callable[[bytes], bytes]:
    return lambda value: style(unquote_to_bytes(value.replace(b"+", b" "))).encode()


def _value_changed(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def changed(piece: bytes) -> bytes:
        name, equals, value = piece.partition(b"=")
        return name + equals + change(value)

    return changed


def _values(parts: Parts) -> Iterator[Rewrite]:
    yield detected(Cause.LETTER_CASE), parts.each(_value_changed(bytes.lower))
    yield detected(Cause.LETTER_CASE), parts.each(_value_changed(bytes.upper))
    yield detected(Cause.LETTER_CASE), parts.each(bytes.lower)
    yield detected(Cause.NUMBER_FORMAT), parts.each(_value_changed(_shortest))
    yield detected(Cause.NUMBER_FORMAT), parts.each(lambda p: re.sub(rb"=([0-9]{1,12})$", rb"=\1.0", p))
    for true, false in ((b"True", b"False"), (b"true", b"false"), (b"1", b"0")):
        yield (
            detected(Cause.LETTER_CASE),
            parts.each(
                lambda p, true=true, false=false: re.sub(  # type: ignore[misc]
                    rb"=false$", b"=" + false, re.sub(rb"=true$", b"=" + true, p, flags=re.I), flags=re.I
                )
            ),
        )
    yield detected(Cause.LINE_ENDS), parts.each(lambda p: p.replace(b"\n", b"\r\n"))
    yield detected(Cause.LINE_ENDS), parts.each(lambda p: p.replace(b"\n", b""))
    sent = parts.value(b"timestamp")
    if sent is not None and re.fullmatch(rb"[0-9]{10,16}", sent):
        for other in (int(sent) * 1000, int(sent) // 1000):
            yield detected(Cause.TIMESTAMP_UNIT), _with_timestamp(parts, b"timestamp=%d" % other)


def _shortest(value: bytes) -> bytes:
    return value.rstrip(b"0").removesuffix(b".") if _DECIMAL.fullmatch(value) else value


def _with_timestamp(parts: Parts, other: bytes) -> Parts:
    return parts.each(lambda piece: other if name_of(piece) == b"timestamp" else piece)


def _omissions(parts: Parts) -> Iterator[Rewrite]:
    def kept(keep: Callable[[bytes], bool]) -> Parts:
        return Parts(tuple(filter(keep, parts.query)), tuple(filter(keep, parts.body)))

    yield detected(Cause.EMPTY_DROPPED), kept(lambda piece: piece.partition(b"=")[2] != b"")
    names = dict.fromkeys(name_of(piece) for piece in (*parts.query, *parts.body))
    if len(names) <= MAX_DROPPED:
        for name in names:
            shown = name.decode("ascii", "backslashreplace")
            yield (
                detected(Cause.PARAMETER_LEFT_OUT, name=shown),
                kept(lambda piece, name=name: name_of(piece) != name),  # type: ignore[misc]
            )


def _before_signature(place: bytes) -> tuple[bytes, ...]:
    pieces = place.split(b"&")
    return tuple(itertools.takewhile(lambda piece: name_of(piece) != b"signature", pieces))


def joined_payloads(parts: Parts, request: ParsedRequest) -> Iterator[JoinedPayload]:
    """Yield the results of joining ``parts`` in wrong ways, likelier ones first."""
    yield from _places(parts)
    yield from _around(parts.payload)
    yield from _with_address(parts, request)
    yield from _other_notations(parts)
    yield from _hashed(parts.payload)


def _places(parts: Parts) -> Iterator[JoinedPayload]:
    query, body = b"&".join(parts.query), b"&".join(parts.body)
    if not body:
        yield detected(Cause.NOTHING_SIGNED), b""
        return
    yield detected(Cause.BODY_LEFT_OUT), query
    if query:
        yield detected(Cause.QUERY_LEFT_OUT), body
        yield detected(Cause.JOINED_AMPERSAND), query + b"&" + body
        yield detected(Cause.BODY_FIRST), body + query
        yield detected(Cause.BODY_FIRST), body + b"&" + query
    yield detected(Cause.NOTHING_SIGNED), b""


def _around(payload: bytes) -> Iterator[JoinedPayload]:
    yield detected(Cause.NEWLINE), payload + b"\n"
    yield detected(Cause.CRLF), payload + b"\r\n"
    yield detected(Cause.SPACE_AROUND), payload + b" "
    yield detected(Cause.SPACE_AROUND), b" " + payload
    yield detected(Cause.QUESTION_MARK), b"?" + payload
    yield detected(Cause.STRAY_AMPERSAND), payload + b"&"
    yield detected(Cause.STRAY_AMPERSAND), b"&" + payload
    for ending in (b"&signature=", b"&signature"):
        yield detected(Cause.SIGNATURE_SIGNED), payload + ending
    yield detected(Cause.BOM), b"\xef\xbb\xbf" + payload
    for mark in (b'"', b"'"):
        yield detected(Cause.QUOTES_SIGNED), mark + payload + mark
    for window in (b"5000", b"10000", b"60000"):
        yield detected(Cause.WINDOW_NOT_SENT, value=window.decode()), payload + b"&recvWindow=" + window
    yield detected(Cause.HTML_SIGNED), payload.replace(b"&", b"&amp;")


def _with_address(parts: Parts, request: ParsedRequest) -> Iterator[JoinedPayload]:
    payload = parts.payload
    path, method = request.path.encode("utf-8", "replace"), request.method.upper().encode("ascii", "replace")
    origin = request.origin.encode("utf-8", "replace")
    for address, cause in ((path, Cause.PATH_SIGNED), (origin + path, Cause.ADDRESS_SIGNED)):
        for joint in (b"?", b""):
            yield detected(cause), address + joint + payload
    host = origin.partition(b"://")[2]
    yield detected(Cause.ADDRESS_SIGNED), host + path + b"?" + payload
    if request.fragment:
        yield detected(Cause.FRAGMENT), payload + b"#" + request.fragment
        yield detected(Cause.FRAGMENT), payload + b"%23" + request.fragment
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
        yield detected(Cause.OTHER_SCHEME), text


def _other_notations(parts: Parts) -> Iterator[JoinedPayload]:
    pieces = (*parts.query, *parts.body)
    if len(pieces) <= MAX_PARAMETERS:
        yield from _as_json(pieces)
    yield detected(Cause.NO_SEPARATOR), b"".join(pieces)
    yield detected(Cause.NO_SEPARATOR), b"".join(piece.replace(b"=", b"", 1) for piece in pieces)
    yield detected(Cause.NO_SEPARATOR), b"".join(piece.partition(b"=")[2] for piece in pieces)
    for separator in (b",", b";", b"\n"):
        yield detected(Cause.NO_SEPARATOR), separator.join(pieces)
    for charset in ("utf-16-le", "utf-16-be", "utf-16"):
        yield detected(Cause.UTF16), _as_text(parts.payload).encode(charset)


def _as_json(pieces: Iterable[bytes]) -> Iterator[JoinedPayload]:
    pairs = {
        _as_text(name_of(piece)): _as_text(unquote_to_bytes(piece.partition(b"=")[2].replace(b"+", b" ")))
        for piece in pieces
    }
    # SECURITY: the time that int() takes grows with the square of the digits.
    numbers = {
        name: int(v) if len(v) <= MAX_NUMBER_LENGTH and v.isdecimal() else v for name, v in pairs.items()
    }
    for shown in (pairs, numbers, dict(sorted(pairs.items()))):
        for separators in ((",", ":"), (", ", ": ")):
            yield detected(Cause.JSON_SIGNED), json.dumps(shown, separators=separators).encode()


def _hashed(payload: bytes) -> Iterator[JoinedPayload]:
    digest = hashlib.sha256(payload)
    yield detected(Cause.HASHED_FIRST), digest.digest()
    yield detected(Cause.HASHED_FIRST), digest.hexdigest().encode()
    yield detected(Cause.HASHED_FIRST), base64.b64encode(digest.digest())
    yield detected(Cause.PAYLOAD_ENCODED), base64.b64encode(payload)
    yield detected(Cause.PAYLOAD_ENCODED), payload.hex().encode()


def _as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
