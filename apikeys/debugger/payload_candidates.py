"""What a client may have signed instead of what counts: the parameters changed. Pure.

Each suspect turns the parameters as received into others; `assemblies` puts them together into bytes, in right and in
wrong ways. Nothing here knows a secret: `signers` tries the results.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote_to_bytes

from apikeys.debugger.causes import Cause, Found, found

#: Above so many parameters only whole orders are tried (sorted, reversed), not each permutation or omission.
MOST_PERMUTED = 5
MOST_DROPPED = 40
#: With more parameters than any real request has, only whole texts are put together: a change walks over each of them.
MOST_PARAMETERS = 500
#: A client that asks the clock twice, for the request and for the signature, is this many ms apart at most.
CLOCK_DRIFT_MS = 100
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
        """The raw value of the first parameter of this name."""
        for piece in (*self.query, *self.body):
            if name_of(piece) == name:
                return piece.partition(b"=")[2]
        return None


Suspect = tuple[Found, Parts]


def name_of(piece: bytes) -> bytes:
    """A parameter's name, decoded once."""
    name = piece.partition(b"=")[0]
    return unquote_to_bytes(name.replace(b"+", b" ")) if b"%" in name or b"+" in name else name


def _unsigned(place: bytes) -> tuple[bytes, ...]:
    if not place:
        return ()
    return tuple(piece for piece in place.split(b"&") if name_of(piece) != b"signature")


def rewrites(parts: Parts, query: bytes, body: bytes) -> Iterator[Suspect]:
    """All suspects that keep the number of parameters small enough to be combined with an assembly.

    ``query`` and ``body`` are the places as received, with the signature.
    """
    yield from _orders(parts)
    yield from _encodings(parts)
    yield from _values(parts)
    yield from _omissions(parts)
    before = Parts(_before_signature(query), _before_signature(body))
    if before != parts:
        yield found(Cause.AFTER_SIGNATURE), before


def deep_rewrites(parts: Parts) -> Iterator[Suspect]:
    """Suspects of which there are hundreds; they are tried alone."""
    pieces = len(parts.query) + len(parts.body)
    if pieces <= MOST_PERMUTED:
        for query in itertools.permutations(parts.query):
            for body in itertools.permutations(parts.body):
                yield found(Cause.OTHER_ORDER), Parts(query, body)
    sent = parts.value(b"timestamp")
    if sent is not None and re.fullmatch(rb"[0-9]{13}", sent):
        for step in range(1, CLOCK_DRIFT_MS + 1):
            for drift in (-step, step):
                other = b"timestamp=%d" % (int(sent) + drift)
                yield found(Cause.TIMESTAMP_TWICE, ms=drift), _with_timestamp(parts, other)


def _orders(parts: Parts) -> Iterator[Suspect]:
    yield found(Cause.SORTED), parts.ordered(lambda piece: piece)
    yield found(Cause.SORTED), parts.ordered(bytes.lower)
    yield found(Cause.SORTED), parts.ordered(name_of)
    if parts.query and parts.body:
        both = tuple(sorted((*parts.query, *parts.body)))
        yield found(Cause.SORTED), Parts((), both)
    yield found(Cause.OTHER_ORDER), Parts(parts.query[::-1], parts.body[::-1])
    for first in (True, False):
        yield (
            found(Cause.OTHER_ORDER),
            parts.ordered(lambda piece, first=first: (name_of(piece) == b"timestamp") != first),  # type: ignore[misc]
        )


def _encodings(parts: Parts) -> Iterator[Suspect]:
    payload = parts.payload
    twice = Cause.ENCODED_TWICE if _ENCODED_TWICE.search(payload) else Cause.BEFORE_ENCODING
    yield found(twice), parts.each(unquote_to_bytes)
    yield (
        found(Cause.BEFORE_ENCODING),
        parts.each(lambda piece: unquote_to_bytes(piece.replace(b"+", b" "))),
    )
    yield found(Cause.SPACE_SPELLING, sent="%20", signed="+"), parts.each(lambda p: p.replace(b"%20", b"+"))
    yield found(Cause.SPACE_SPELLING, sent="+", signed="%20"), parts.each(lambda p: p.replace(b"+", b"%20"))
    yield (
        found(Cause.ENCODING_CASE, signed="%2f"),
        parts.each(lambda p: _ESCAPE.sub(lambda m: m[0].lower(), p)),
    )
    yield (
        found(Cause.ENCODING_CASE, signed="%2F"),
        parts.each(lambda p: _ESCAPE.sub(lambda m: m[0].upper(), p)),
    )
    for style in (lambda v: quote(v, safe=""), lambda v: quote(v, safe="!~*'()"), lambda v: quote_plus(v)):
        yield found(Cause.ENCODED_ONLY_SIGNED), parts.each(_value_changed(_requoted(style)))
        yield (
            found(Cause.SIGNED_ENCODED_TWICE),
            parts.each(_value_changed(lambda value, style=style: style(value).encode())),  # type: ignore[misc]
        )
    yield found(Cause.HTML_SIGNED), parts.each(lambda p: p.replace(b"&amp;", b"&").replace(b"amp;", b""))


def _requoted(style: Callable[[bytes], str]) -> Callable[[bytes], bytes]:
    return lambda value: style(unquote_to_bytes(value.replace(b"+", b" "))).encode()


def _value_changed(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def changed(piece: bytes) -> bytes:
        name, equals, value = piece.partition(b"=")
        return name + equals + change(value)

    return changed


def _values(parts: Parts) -> Iterator[Suspect]:
    yield found(Cause.LETTER_CASE), parts.each(_value_changed(bytes.lower))
    yield found(Cause.LETTER_CASE), parts.each(_value_changed(bytes.upper))
    yield found(Cause.LETTER_CASE), parts.each(bytes.lower)
    yield found(Cause.NUMBER_FORMAT), parts.each(_value_changed(_shortest))
    yield found(Cause.NUMBER_FORMAT), parts.each(lambda p: re.sub(rb"=([0-9]{1,12})$", rb"=\1.0", p))
    for true, false in ((b"True", b"False"), (b"true", b"false"), (b"1", b"0")):
        yield (
            found(Cause.LETTER_CASE),
            parts.each(
                lambda p, true=true, false=false: re.sub(  # type: ignore[misc]
                    rb"=false$", b"=" + false, re.sub(rb"=true$", b"=" + true, p, flags=re.I), flags=re.I
                )
            ),
        )
    yield found(Cause.LINE_ENDS), parts.each(lambda p: p.replace(b"\n", b"\r\n"))
    yield found(Cause.LINE_ENDS), parts.each(lambda p: p.replace(b"\n", b""))
    sent = parts.value(b"timestamp")
    if sent is not None and re.fullmatch(rb"[0-9]{10,16}", sent):
        for other in (int(sent) * 1000, int(sent) // 1000):
            yield found(Cause.TIMESTAMP_UNIT), _with_timestamp(parts, b"timestamp=%d" % other)


def _shortest(value: bytes) -> bytes:
    return value.rstrip(b"0").removesuffix(b".") if _DECIMAL.fullmatch(value) else value


def _with_timestamp(parts: Parts, other: bytes) -> Parts:
    return parts.each(lambda piece: other if name_of(piece) == b"timestamp" else piece)


def _omissions(parts: Parts) -> Iterator[Suspect]:
    def kept(keep: Callable[[bytes], bool]) -> Parts:
        return Parts(tuple(filter(keep, parts.query)), tuple(filter(keep, parts.body)))

    yield found(Cause.EMPTY_DROPPED), kept(lambda piece: piece.partition(b"=")[2] != b"")
    names = dict.fromkeys(name_of(piece) for piece in (*parts.query, *parts.body))
    if len(names) <= MOST_DROPPED:
        for name in names:
            shown = name.decode("ascii", "backslashreplace")
            yield (
                found(Cause.PARAMETER_LEFT_OUT, name=shown),
                kept(lambda piece, name=name: name_of(piece) != name),  # type: ignore[misc]
            )


def _before_signature(place: bytes) -> tuple[bytes, ...]:
    pieces = place.split(b"&")
    return tuple(itertools.takewhile(lambda piece: name_of(piece) != b"signature", pieces))
