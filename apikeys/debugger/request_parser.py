"""Parse a pasted request: a curl command, the text of an HTTP request, or a URL. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime

from apikeys.debugger import curl
from apikeys.debugger.causes import Cause

#: Maximum size of the pasted text, and of the parsed request, in bytes (UTF-8).
MAX_BYTES = 16_384
#: Maximum length of a method; the longest one of HTTP is CONNECT.
MAX_METHOD_LENGTH = 10
MAX_TIME_LENGTH = 100
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")

# SECURITY: no expression has two repeats that can match the same characters, or one that a search can start within, so
# matching takes linear time. tests/structure/test_expressions.py checks this.
_METHOD = re.compile(r"[A-Za-z]{3,10}")
_VERSION = re.compile(r"HTTP/[0-9.]{1,3}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_CURL = re.compile(r"curl(?:\.exe)?\s", re.IGNORECASE)
_DIGITS = {base + value: str(value) for base in (0x0660, 0x06F0) for value in range(10)}
_IRAN = timezone(timedelta(hours=3, minutes=30))
_LATEST_MS = 253_402_300_799_000  # the year 9999, the last one of a datetime


class UnreadableError(ValueError):
    """The text is not a request."""


class TooLongError(UnreadableError):
    """The text, or the parsed request, is longer than MAX_BYTES."""


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request as the client sends it.

    Attributes:
        method: one of METHODS, or the first characters of an unknown method.
        fragment: the part of the URL after ``#``, which is never sent.
        causes: problems of the text itself, independent of the signature.
    """

    method: str
    origin: str  # "https://host", or "" if the text has none
    path: str
    query: bytes = field(repr=False)
    body: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    fragment: bytes = field(default=b"", repr=False)
    causes: tuple[Cause, ...] = ()
    _by_name: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {name.casefold(): value for name, value in reversed(self.headers)}
        object.__setattr__(self, "_by_name", by_name)

    def header(self, name: str) -> str | None:
        """Return the first header of this name, ignoring case."""
        return self._by_name.get(name.casefold())

    def texts(self) -> list[str]:
        """Return all parts as text. Everything that may be shown of the request is in these texts."""
        values = (value.decode("utf-8", "replace") for value in (self.query, self.body, self.fragment))
        return [
            self.method,
            self.origin,
            self.path,
            *(part for header in self.headers for part in header),
            *values,
        ]


def byte_size(*texts: str) -> int:
    """Return the size of the texts in bytes."""
    return sum(len(_bytes(text)) for text in texts)


def parse(text: str, body: str = "") -> ParsedRequest:
    """Parse a request; a ``body`` replaces the body in the text. Raises `UnreadableError`."""
    if byte_size(text, body) > MAX_BYTES:
        raise TooLongError
    # Forms send line breaks as CRLF (HTML, 4.10.21.8), whatever was pasted; the original has one byte each.
    text = text.replace("\r\n", "\n").lstrip("\ufeff \t\n").rstrip("\n")
    body = body.replace("\r\n", "\n").rstrip("\n")
    if not text.strip():
        raise UnreadableError
    bare = text[1:].lstrip() if text[0] in "$>#" else text
    if _CURL.match(bare):
        command = curl.parse(bare)
        if not command.url:
            raise UnreadableError
        return _request(command.method, command.url, command.headers, body or command.body, command.causes)
    return _from_http(_of_verbose(text), body)


def _from_http(text: str, body: str) -> ParsedRequest:
    first, _, rest = text.partition("\n")
    method, target = _start(first.strip(" \t"))
    if target[:1].isspace() or not any(mark in target for mark in "/?="):
        raise UnreadableError
    headers: list[tuple[str, str]] = []
    lines = iter(rest.split("\n"))
    left: list[str] = []
    for line in lines:
        name, colon, value = line.strip().partition(":")
        if not colon or not _NAME.fullmatch(name.rstrip(" \t")):
            left = [line] if line.strip() else []
            break
        headers.append((name.rstrip(" \t"), value.lstrip(" \t")))
    body = body or "\n".join([*left, *lines])
    return _request(method or ("POST" if body else "GET"), target, headers, body, ())


def _start(line: str) -> tuple[str, str]:
    """Return the method ("" if there is none) and the target of a request line."""
    fields = line.split(None, 1)
    method, target = fields if len(fields) == 2 and _METHOD.fullmatch(fields[0]) else ("", line)
    before = target.rsplit(None, 1)
    if len(before) == 2 and _VERSION.fullmatch(before[1]):
        target = before[0]
    return method, target


def _of_verbose(text: str) -> str:
    """Return the sent lines (``> ``) of the output of ``curl -v`` and the response's date; other text unchanged."""
    lines = text.split("\n")
    if not any(re.match(r"> [A-Z]{3,10} ", line) for line in lines):
        return text
    sent = [line[1:].strip() for line in lines if line.startswith(">")]
    dates = [line[1:].strip() for line in lines if line[:7].lower() == "< date:"]
    while sent and not sent[-1]:
        sent.pop()
    return "\n".join([*sent, *dates[:1]])


def _request(
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: str,
    causes: list[Cause] | tuple[Cause, ...],
) -> ParsedRequest:
    target, _, fragment = target.strip("<>\"' ").partition("#")
    address, _, query = target.partition("?")
    if not query and "=" in address and "/" not in address:
        address, query = "", target  # only a query string
    scheme, separator, place = address.rpartition("://")
    host, slash, path = place.partition("/")
    if not separator and (address.startswith("/") or "." not in host):
        host, slash, path = "", "/", address.lstrip("/")
    if len(_bytes(query)) + len(_bytes(body)) > MAX_BYTES:
        raise TooLongError  # --data-urlencode turns one byte into three
    return ParsedRequest(
        # SECURITY: an unknown method is not changed, so that `secret_masking` recognises a secret, and it is cut.
        method=method.upper() if method.upper() in METHODS else method[:MAX_METHOD_LENGTH],
        origin=f"{scheme or 'https'}://{host}" if host else "",
        path=slash + path if slash else "/",
        query=_bytes(query),
        body=_bytes(body),
        headers=tuple(headers),
        fragment=_bytes(fragment),
        causes=tuple(causes),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def parse_time_ms(text: str, zone: tzinfo = _IRAN) -> int | None:
    """Parse a time and return it in ms since 1970; ``None`` if the text is not a time.

    Accepts seconds, ms or us as a number, an HTTP date, or ISO 8601 (in ``zone`` if it has no offset).
    """
    if len(text) > MAX_TIME_LENGTH:
        return None
    text = text.translate(_DIGITS).strip()
    if re.fullmatch(r"[0-9]{9,17}", text):
        number = int(text)
        ms = number * 1000 if number < 10**11 else number // (1 if number < 10**14 else 1000)
        return ms if ms <= _LATEST_MS else None
    for parse, default in ((datetime.fromisoformat, zone), (parsedate_to_datetime, UTC)):
        try:
            at = parse(text)
            ms = int((at if at.tzinfo else at.replace(tzinfo=default)).timestamp() * 1000)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        return ms if 0 <= ms <= _LATEST_MS else None
    return None
