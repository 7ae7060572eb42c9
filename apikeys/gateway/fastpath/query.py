"""Parse the usual form of a signed request: all parameters in the query string, the signature last. Pure.

It accepts only what `signing.parse` parses with the same result (a property test compares the two by way of
`prepared_key.PreparedKey`). In all other cases it returns None, and `verification.decide` makes the decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from apikeys.verification import signing
from apikeys.verification.decision import MAX_AHEAD_US

#: RFC 3986's query characters without the separators "&" and "=", and without those that have to be decoded.
_UNENCODED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$'()*,;:@/?"
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}|\+").sub
#: The same for a value. SECURITY: the repeat of the group is not possessive: CPython before 3.11.5 matches possessive
#: repeats of a group incorrectly (python/cpython gh-106052), and "symbol=%&timestamp=..." was accepted. Matching takes
#: linear time all the same: each repetition begins with "%", which `_PLAIN` excludes, so a value matches in one way.
_PLAIN = rb"[A-Za-z0-9\-._~!$'()*,;:@/?+]*+"
_VALUE = _PLAIN + rb"(?:%[0-9A-Fa-f]{2}" + _PLAIN + rb")*"
_TIMESTAMP_DIGITS = 13  # a time in ms from 2001 to 2286; `decide` handles microseconds
_WINDOW_DIGITS = 5
_MAX_AHEAD_MS = MAX_AHEAD_US // 1000
_DEFAULT_WINDOW_MS = signing.DEFAULT_RECV_WINDOW_US // 1000
_DEFAULT_WINDOW = b"%d" % _DEFAULT_WINDOW_MS
_MAX_WINDOW_MS = signing.MAX_RECV_WINDOW_US // 1000

#: Signed payload, signature as sent, and how far the client's clock is ahead (ms).
ParsedQuery = tuple[bytes, bytes, int]
#: `fullmatch` of a regular expression for query strings with the same parameter names in the same order.
QueryPattern = Callable[[bytes], re.Match[bytes] | None]
#: What remains of a payload without its unencoded characters, and the indexes of timestamp and recvWindow among its
#: names and values (0: absent; index 0 is always a name).
Layout = tuple[bytes, int, int]
#: Patterns by parameter names in order. A program uses few; only those of correctly signed requests are stored, so only
#: holders of keys can fill the table. Compiling a pattern takes up to a millisecond.
_PATTERNS: dict[tuple[bytes, ...], tuple[Layout, QueryPattern]] = {}
_MAX_PATTERNS, _MAX_PATTERN_PAYLOAD = 1_000, 500
NO_PATTERN: QueryPattern = re.compile(rb"(?!)").fullmatch


def parse(query: bytes, now_ms: int, pattern: QueryPattern = NO_PATTERN) -> ParsedQuery | None:
    """Parse a fresh request; return None if `decide` has to decide. Takes 0.9 µs with its ``pattern``, 1.3 without."""
    match = pattern(query)
    if match is not None:
        timestamp, window, signature = match.group("timestamp", "recvWindow", "signature")
        payload = query[: -len(signature) - len(b"&signature=")]
    else:
        pieces = _split(query)
        if pieces is None:
            return None
        payload, timestamp, window, signature = pieces
    window_ms = int(window) if window else _DEFAULT_WINDOW_MS
    skew_ms = int(timestamp) - now_ms
    if -skew_ms > window_ms or skew_ms >= _MAX_AHEAD_MS or window_ms > _MAX_WINDOW_MS:
        return None
    return payload, signature, skew_ms


def pattern_for(payload: bytes) -> QueryPattern:
    """Return the pattern for later requests with the same names. ``payload`` must have been signed correctly."""
    names = _parameter_names(payload)
    known = _PATTERNS.get(names)
    if known is None:
        layout = _layout(names)
        if layout is None or len(payload) >= _MAX_PATTERN_PAYLOAD or len(_PATTERNS) >= _MAX_PATTERNS:
            return NO_PATTERN
        known = _PATTERNS[names] = layout, _compile_pattern(names)
    return known[1]


def _parameter_names(payload: bytes) -> tuple[bytes, ...]:
    return tuple(payload.replace(b"=", b"&").split(b"&")[::2])


def _split(query: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Return what a pattern captures: payload, timestamp, recvWindow ("": the default), signature."""
    payload, _mark, signature = query.rpartition(b"&signature=")
    pieces = payload.replace(b"=", b"&").split(b"&")
    names = tuple(pieces[::2])
    known = _PATTERNS.get(names)
    layout = known[0] if known is not None else _layout(names)
    if layout is None:
        return None
    rest, time_at, window_at = layout
    if payload.translate(None, _UNENCODED) != rest and (
        _ENCODED(b"", payload).translate(None, _UNENCODED) != rest
    ):
        return None
    timestamp, window = pieces[time_at], pieces[window_at] if window_at else _DEFAULT_WINDOW
    if len(timestamp) != _TIMESTAMP_DIGITS or not timestamp.isdigit():
        return None
    if len(window) > _WINDOW_DIGITS or not window.isdigit():
        return None
    return payload, timestamp, window, signature


def _compile_pattern(names: tuple[bytes, ...]) -> QueryPattern:
    special = {
        b"timestamp": rb"(?P<timestamp>[0-9]{%d})" % _TIMESTAMP_DIGITS,
        b"recvWindow": rb"(?P<recvWindow>[0-9]{1,%d}+)" % _WINDOW_DIGITS,
    }
    parameters = b"&".join(re.escape(name) + b"=" + special.get(name, _VALUE) for name in names)
    default_window = b"" if b"recvWindow" in names else b"(?P<recvWindow>)"
    return re.compile(parameters + rb"&signature=(?P<signature>[^&]*+)" + default_window).fullmatch


def _layout(names: tuple[bytes, ...]) -> Layout | None:
    """Return the layout of plain name=value pairs; None if a name occurs twice or may be an encoded spelling."""
    if len(set(names)) != len(names) or b"signature" in names or b"timestamp" not in names:
        return None
    if any(b"%" in name or b"+" in name for name in names):
        return None
    window = 2 * names.index(b"recvWindow") + 1 if b"recvWindow" in names else 0
    return b"&".join([b"="] * len(names)), 2 * names.index(b"timestamp") + 1, window
