"""An HTTP request and its response as the request handler sees them. No sockets."""

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

#: Bytes of a body that are buffered before reading pauses until the handler has consumed them.
BODY_BUFFER_BYTES = 65_536
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
#: Responses without a body by definition (RFC 9110, 8.6).
_STATUSES_WITHOUT_BODY = (204, 304)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyError(Exception):
    """The rest of the body cannot be read: the client disconnected, or sent malformed HTTP."""


class RequestRejected(Exception):
    """Raised in a callback of the parser to reject the input; the argument is the status of the response."""


class Peer(Protocol):
    """The connection of a request."""

    def send(self, data: bytes) -> None: ...
    def resume(self) -> None: ...


class Headers:
    """Headers as sent: names in lower case, values as latin-1 text (one character for each byte)."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: list[bytes], values: list[bytes]) -> None:
        self._names = [name.lower().decode("latin-1") for name in names]
        # The parser keeps trailing white space, which is not part of the value (RFC 9110, 5.5).
        self._values = [value.rstrip(b" \t") for value in values]

    def __contains__(self, name: str, /) -> bool:
        return name in self._names

    def get_all(self, name: str, /) -> list[str]:
        # SECURITY: every occurrence. Omitting a malformed one would make two headers look like one.
        pairs = zip(self._names, self._values, strict=True)
        return [value.decode("latin-1") for known, value in pairs if known == name]

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the value of a header that occurs once and is ASCII; otherwise ``default``."""
        # SECURITY: of two tokens, one was sent by the client.
        values = self.get_all(name)
        return values[0] if len(values) == 1 and values[0].isascii() else default


class HttpRequest:
    """A request with its response. Iterate over it to receive the body; call a ``respond_...`` method once.

    ``target``: of the request line, as sent. ``keep_alive``: whether the connection stays open after the response.
    """

    def __init__(self, peer: Peer, method: bytes, target: bytes, headers: Headers, keep_alive: bool) -> None:
        self.method = method.decode("ascii")
        path, _mark, query = target.partition(b"?")
        self.path = _to_origin_form(path).decode("latin-1")
        self.query_string = query.decode("latin-1")
        self.headers = headers
        self.keep_alive = keep_alive
        self.response: bytes | None = None
        #: Whether fields followed the body.
        self.has_trailer = False
        self._peer = peer
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._complete = self._failed = False
        self._expects_continue = headers.get("expect", "").lower() == "100-continue"
        self._changed = asyncio.Event()

    # Called by the connection.

    def apply_http_1_0(self) -> None:
        """Apply the rules of HTTP/1.0, which has neither 100 (Continue) nor chunked bodies."""
        self._expects_continue = False
        # SECURITY: an intermediary that ignores the chunks sees other requests than we do (RFC 9112, 6.1).
        self.keep_alive = self.keep_alive and "transfer-encoding" not in self.headers

    def feed(self, chunk: bytes) -> bool:
        """Append a chunk of the body. Return whether reading may continue."""
        self._chunks.append(chunk)
        self._buffered += len(chunk)
        self._changed.set()
        return self._buffered < BODY_BUFFER_BYTES

    def end(self) -> None:
        self._complete = True
        self._changed.set()

    def fail(self) -> None:
        self._failed = True
        self._changed.set()

    @property
    def has_body(self) -> bool:
        """Whether the headers announce a body."""
        headers = self.headers
        return "transfer-encoding" in headers or headers.get_all("content-length") not in ([], ["0"])

    @property
    def is_complete(self) -> bool:
        """Whether the whole request was received."""
        return self._complete

    # Called by the request handler.

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks of the body. Raise `BodyError`."""
        if not self._complete and self._expects_continue:
            self._peer.send(CONTINUE)
        while True:
            chunks, self._chunks, self._buffered = self._chunks, [], 0
            for chunk in chunks:
                yield chunk
            if self._chunks:
                continue
            if self._failed:
                raise BodyError
            if self._complete:
                return
            self._changed.clear()
            self._peer.resume()
            await self._changed.wait()

    def respond_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        self._respond(status, headers, b"")

    def respond_text(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        self._respond(status, headers, body.encode())

    def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if status not in _STATUSES_WITHOUT_BODY:
            headers = [*headers, ("content-length", str(len(body)))]
        # If the body was not received completely, the next request has to use another connection.
        self.keep_alive = self.keep_alive and self._complete and ("connection", "close") not in headers
        if not self.keep_alive and ("connection", "close") not in headers:
            headers = [*headers, ("connection", "close")]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers if _is_single_line(name + value))
        head = f"{_STATUS_LINES[status]}{lines}\r\n".encode("latin-1")
        self.response = head if self.method == "HEAD" else head + body


def head_without_upgrade(
    method: bytes, target: bytes, version: str, names: list[bytes], values: list[bytes]
) -> bytes:
    """Return the head of a request as sent, without its offer of another protocol, which a server may ignore
    (RFC 9110, 7.8)."""
    lines = (
        name + b": " + value for name, value in zip(names, values, strict=True) if name.lower() != b"upgrade"
    )
    return b"\r\n".join((b"%b %b HTTP/%b" % (method, target, version.encode()), *lines, b"", b""))


def _is_single_line(text: str) -> bool:
    """SECURITY: a line feed in a value would begin another header, or another response (response splitting)."""
    return "\r" not in text and "\n" not in text and "\0" not in text


def _to_origin_form(path: bytes) -> bytes:
    """Return the path of a target in origin form or in absolute form (RFC 9112, 3.2.2)."""
    if path[:8].lower().startswith((b"http://", b"https://")):
        _host, slash, rest = path.partition(b"//")[2].partition(b"/")
        return slash + rest
    return path


def error_body(error: HttpParserError) -> str:
    """Return the body of an error response: -1022 for a target with a byte that no URI contains (RFC 3986, 3)."""
    if not isinstance(error, HttpParserInvalidURLError):
        return ""
    return json.dumps({"code": Outcome.SIGNATURE.code, "msg": Outcome.SIGNATURE.msg})


def error_status(error: HttpParserError) -> int:
    """Return the status of the response to an error of the parser or of its callbacks."""
    cause = error.__context__ if isinstance(error, HttpParserCallbackError) else None
    if isinstance(cause, RequestRejected):
        return int(cause.args[0])
    if cause is None:
        return 400
    logger.error("request handler failed: %s", type(cause).__name__, exc_info=cause)
    return 500
