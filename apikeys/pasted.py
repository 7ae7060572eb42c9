"""What a customer pasted as the failing request: a curl command, the text of an HTTP request, or a URL. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime

from apikeys import curl
from apikeys.causes import Cause

LONGEST = 16_384

_START = re.compile(r"(?:(?P<method>[A-Za-z]{3,10})\s+)?(?P<target>\S.*?)(?:\s+HTTP/[0-9.]{1,3})?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})[ \t]*:[ \t]*(.*)")
_CURL = re.compile(r"(?:[$>#]\s*)?curl(?:\.exe)?\s", re.IGNORECASE)
_DIGITS = {base + value: str(value) for base in (0x0660, 0x06F0) for value in range(10)}
_IRAN = timezone(timedelta(hours=3, minutes=30))
_LATEST_MS = 253_402_300_799_000  # the year 9999, the last one that a datetime holds


class UnreadableError(ValueError):
    """The text holds no request."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """A request as it goes over the wire. ``fragment``: what stood after ``#``, which is never sent.

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

    def header(self, name: str) -> str | None:
        """The first header of this name, its case aside."""
        wanted = name.casefold()
        return next((value for key, value in self.headers if key.casefold() == wanted), None)


def read(text: str, body: str = "") -> Pasted:
    """Read a request; ``body``, if given, stands for that of the text. Raises `UnreadableError`."""
    # A form sends line breaks as CRLF (HTML, 4.10.21.8), whatever was pasted; one byte each is what is meant.
    text = text.replace("\r\n", "\n").lstrip("\ufeff \t\n").rstrip("\n")
    body = body.replace("\r\n", "\n").rstrip("\n")
    if not text.strip():
        raise UnreadableError
    if _CURL.match(text):
        command = curl.read(text[text.lower().index("curl") :])
        if not command.url:
            raise UnreadableError
        return _request(command.method, command.url, command.headers, body or command.body, command.causes)
    return _from_http(_of_verbose(text), body)


def _from_http(text: str, body: str) -> Pasted:
    first, _, rest = text.partition("\n")
    start = _START.fullmatch(first.strip(" \t"))
    if start is None or not re.search(r"[/?=]", start["target"]):
        raise UnreadableError
    headers: list[tuple[str, str]] = []
    lines = rest.split("\n")
    while lines and (header := _HEADER.fullmatch(lines[0].strip())):
        headers.append((header[1], header[2]))
        lines.pop(0)
    if lines and not lines[0].strip():
        lines.pop(0)
    body = body or "\n".join(lines)
    method = start["method"] or ("POST" if body else "GET")
    return _request(method, start["target"], headers, body, ())


def _of_verbose(text: str) -> str:
    """Of the output of ``curl -v`` what was sent (``> ``), and the answer's date, else the text as it is."""
    if not re.search(r"(?m)^> [A-Z]{3,10} ", text):
        return text
    lines = text.split("\n")
    sent = [line[1:].strip() for line in lines if line.startswith(">")]
    dates = [line[1:].strip() for line in lines if re.match(r"< date:", line, re.IGNORECASE)]
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
    return Pasted(
        method=method.upper(),
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
