"""What a customer pasted as the failing request: a curl command, the text of an HTTP request, or a URL. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime

from apikeys.debugger import curl
from apikeys.debugger.causes import Cause

#: Of what is pasted, and of what is read out of it, in bytes (UTF-8).
LONGEST = 16_384
#: Letters of a method; the longest that HTTP has is CONNECT.
LONGEST_METHOD = 10
LONGEST_MOMENT = 100
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")

# SECURITY: no expression here has two repeats that can share characters, or one that a search can begin within, so each
# text is gone through once. tests/structure/test_expressions.py holds this.
_METHOD = re.compile(r"[A-Za-z]{3,10}")
_VERSION = re.compile(r"HTTP/[0-9.]{1,3}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_CURL = re.compile(r"curl(?:\.exe)?\s", re.IGNORECASE)
_DIGITS = {base + value: str(value) for base in (0x0660, 0x06F0) for value in range(10)}
_IRAN = timezone(timedelta(hours=3, minutes=30))
_LATEST_MS = 253_402_300_799_000  # the year 9999, the last one that a datetime holds


class UnreadableError(ValueError):
    """The text holds no request."""


class TooLongError(UnreadableError):
    """The text, or what is read out of it, is longer than LONGEST."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """A request as it goes over the wire. ``fragment``: what stood after ``#``, which is never sent.

    ``method``: one of METHODS in whatever case it was written, else the first letters of what stands in its place.
    ``causes``: what is wrong with the text itself, whatever was signed.
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
        """The first header of this name, its case aside."""
        return self._by_name.get(name.casefold())

    def texts(self) -> list[str]:
        """All of it, as text: what may be shown of it is part of these."""
        values = (value.decode("utf-8", "replace") for value in (self.query, self.body, self.fragment))
        return [
            self.method,
            self.origin,
            self.path,
            *(part for header in self.headers for part in header),
            *values,
        ]


def size(*texts: str) -> int:
    """Bytes of what was pasted."""
    return sum(len(_bytes(text)) for text in texts)


def read(text: str, body: str = "") -> Pasted:
    """Read a request; ``body``, if given, stands for that of the text. Raises `UnreadableError`."""
    if size(text, body) > LONGEST:
        raise TooLongError
    # A form sends line breaks as CRLF (HTML, 4.10.21.8), whatever was pasted; one byte each is what is meant.
    text = text.replace("\r\n", "\n").lstrip("\ufeff \t\n").rstrip("\n")
    body = body.replace("\r\n", "\n").rstrip("\n")
    if not text.strip():
        raise UnreadableError
    bare = text[1:].lstrip() if text[0] in "$>#" else text
    if _CURL.match(bare):
        command = curl.read(bare)
        if not command.url:
            raise UnreadableError
        return _request(command.method, command.url, command.headers, body or command.body, command.causes)
    return _from_http(_of_verbose(text), body)


def _from_http(text: str, body: str) -> Pasted:
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
    """Method ("" if there is none) and target of a request's first line."""
    words = line.split(None, 1)
    method, target = words if len(words) == 2 and _METHOD.fullmatch(words[0]) else ("", line)
    before = target.rsplit(None, 1)
    if len(before) == 2 and _VERSION.fullmatch(before[1]):
        target = before[0]
    return method, target


def _of_verbose(text: str) -> str:
    """Of the output of ``curl -v`` what was sent (``> ``), and the answer's date, else the text as it is."""
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
) -> Pasted:
    target, _, fragment = target.strip("<>\"' ").partition("#")
    address, _, query = target.partition("?")
    if not query and "=" in address and "/" not in address:
        address, query = "", target  # a query string alone
    scheme, separator, place = address.rpartition("://")
    host, slash, path = place.partition("/")
    if not separator and (address.startswith("/") or "." not in host):
        host, slash, path = "", "/", address.lstrip("/")
    if len(_bytes(query)) + len(_bytes(body)) > LONGEST:
        raise TooLongError  # --data-urlencode makes three bytes of one
    return Pasted(
        # SECURITY: what is none of the methods is not changed, and hardly shown: it may be a secret (`leaks`).
        method=method.upper() if method.upper() in METHODS else method[:LONGEST_METHOD],
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


def moment_ms(text: str, zone: tzinfo = _IRAN) -> int | None:
    """A moment in ms since 1970: seconds, ms or us as a number, an HTTP date or ISO 8601 (else in ``zone``).

    ``None`` for a text that is no moment.
    """
    if len(text) > LONGEST_MOMENT:
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
