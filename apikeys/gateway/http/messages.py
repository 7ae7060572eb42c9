"""One request of a gateway and the answer to it, as the door sees them: no socket, no loop."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Protocol

from httptools import HttpParserCallbackError, HttpParserError, HttpParserInvalidURLError

from apikeys.verification.outcomes import Outcome

logger = logging.getLogger("portal.gateway")

#: Of a body, before its sender has to wait until the door took what came.
AHEAD = 65_536
_PHRASES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
#: Answers that have no body by definition (RFC 9110, 8.6).
_BODILESS = (204, 304)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyError(Exception):
    """The rest of the body can't be read: the sender is gone, or it broke HTTP's rules."""


class Refused(Exception):
    """Out of the parser's callbacks, which it ends: a status."""


class Peer(Protocol):
    """The connection that an exchange stands on."""

    def send(self, data: bytes) -> None: ...
    def read_on(self) -> None: ...


class Headers:
    """As sent; names in lower case, values as latin-1 text (one character a byte)."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: list[bytes], values: list[bytes]) -> None:
        self._names = [name.lower().decode("latin-1") for name in names]
        # The parser leaves them; they are not of the value (RFC 9110, 5.5).
        self._values = [value.rstrip(b" \t") for value in values]

    def __contains__(self, name: str, /) -> bool:
        return name in self._names

    def get_all(self, name: str, /) -> list[str]:
        # SECURITY: all of them. One that is left out because it is odd makes two headers look like one.
        pairs = zip(self._names, self._values, strict=True)
        return [value.decode("latin-1") for known, value in pairs if known == name]

    def get(self, name: str, default: Any = None, /) -> Any:
        """The value of a header that is there once; one that is no ASCII text reads as absent."""
        # SECURITY: of two tokens one was sent by the client.
        values = self.get_all(name)
        return values[0] if len(values) == 1 and values[0].isascii() else default


class Exchange:
    """``target``: of the request line, as sent. ``keeps``: whether the connection goes on after the answer."""

    def __init__(self, peer: Peer, method: bytes, target: bytes, headers: Headers, keeps: bool) -> None:
        self.method = method.decode("ascii")
        path, _mark, query = target.partition(b"?")
        self.path = _origin_form(path).decode("latin-1")
        self.query_string = query.decode("latin-1")
        self.headers = headers
        self.keeps = keeps
        self.answer: bytes | None = None
        #: Whether fields followed the body.
        self.has_trailer = False
        self._peer = peer
        self._pieces: list[bytes] = []
        self._held = 0
        self._over = self._broken = False
        self._continues = headers.get("expect", "").lower() == "100-continue"
        self._news = asyncio.Event()

    # What the connection says.

    def is_old(self) -> None:
        """HTTP/1.0: its sender knows neither 100 nor chunks."""
        self._continues = False
        # SECURITY: who hands them on without reading them sees requests elsewhere (RFC 9112, 6.1).
        self.keeps = self.keeps and "transfer-encoding" not in self.headers

    def feed(self, piece: bytes) -> bool:
        """Takes a piece of the body; says whether more may come at once."""
        self._pieces.append(piece)
        self._held += len(piece)
        self._news.set()
        return self._held < AHEAD

    def end(self) -> None:
        self._over = True
        self._news.set()

    def fail(self) -> None:
        self._broken = True
        self._news.set()

    @property
    def has_body(self) -> bool:
        """Whether its headers announce one."""
        headers = self.headers
        return "transfer-encoding" in headers or headers.get_all("content-length") not in ([], ["0"])

    @property
    def is_whole(self) -> bool:
        """Whether all of the request has come."""
        return self._over

    # What the door does.

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces of the body. Raises `BodyError`."""
        if not self._over and self._continues:
            self._peer.send(CONTINUE)
        while True:
            pieces, self._pieces, self._held = self._pieces, [], 0
            for piece in pieces:
                yield piece
            if self._pieces:
                continue
            if self._broken:
                raise BodyError
            if self._over:
                return
            self._news.clear()
            self._peer.read_on()
            await self._news.wait()

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        self._respond(status, headers, b"")

    def response_str(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        self._respond(status, headers, body.encode())

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if status not in _BODILESS:
            headers = [*headers, ("content-length", str(len(body)))]
        # Whoever still sends is not listened to: the next request begins on another connection.
        self.keeps = self.keeps and self._over and ("connection", "close") not in headers
        if not self.keeps and ("connection", "close") not in headers:
            headers = [*headers, ("connection", "close")]
        said = "".join(f"{name}: {value}\r\n" for name, value in headers if _is_line(name + value))
        head = f"{_PHRASES[status]}{said}\r\n".encode("latin-1")
        self.answer = head if self.method == "HEAD" else head + body


def without_upgrade(
    method: bytes, target: bytes, version: str, names: list[bytes], values: list[bytes]
) -> bytes:
    """The head of a request as sent, but for its offer to go on in another protocol, which nobody has to take up
    (RFC 9110, 7.8)."""
    said = (
        name + b": " + value for name, value in zip(names, values, strict=True) if name.lower() != b"upgrade"
    )
    return b"\r\n".join((b"%b %b HTTP/%b" % (method, target, version.encode()), *said, b"", b""))


def _is_line(text: str) -> bool:
    """SECURITY: a line feed in a value would begin a header, or an answer, of somebody else's choice."""
    return "\r" not in text and "\n" not in text and "\0" not in text


def _origin_form(path: bytes) -> bytes:
    """``/path`` of an absolute address too (RFC 9112, 3.2.2)."""
    if path[:8].lower().startswith((b"http://", b"https://")):
        _host, slash, rest = path.partition(b"//")[2].partition(b"/")
        return slash + rest
    return path


def body_of(error: HttpParserError) -> str:
    """What goes with `status_of`: an address with a byte that no URI has is signed by nobody (RFC 3986, 3)."""
    if not isinstance(error, HttpParserInvalidURLError):
        return ""
    return json.dumps({"code": Outcome.SIGNATURE.code, "msg": Outcome.SIGNATURE.msg})


def status_of(error: HttpParserError) -> int:
    """Of the answer to what the parser, or something in its callbacks, did not take."""
    cause = error.__context__ if isinstance(error, HttpParserCallbackError) else None
    if isinstance(cause, Refused):
        return int(cause.args[0])
    if cause is None:
        return 400
    logger.error("a question was not answered: %s", type(cause).__name__, exc_info=cause)
    return 500
