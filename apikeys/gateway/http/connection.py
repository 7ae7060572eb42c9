"""One HTTP/1.1 connection: httptools (Node's llhttp) parses it, the request handler responds, in order.

Why this is not an ASGI or RSGI server: see `apikeys.gateway.http`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from apikeys.gateway.http.messages import (
    BodyError,
    Headers,
    HttpRequest,
    RequestRejected,
    error_body,
    error_status,
    head_without_upgrade,
)
from apikeys.gateway.http.server import HttpServer

logger = logging.getLogger("portal.gateway")
#: Maximum size of request line and headers, or of the framing between chunks of a body. The longest payload that is
#: authorized has 64 KB.
MAX_HEAD_BYTES = 131_072
#: The body of a request that was rejected early is discarded up to this size, so that the client receives the response.
MAX_DISCARDED_BYTES = 2_097_152
#: Pipelined requests that may be queued before reading pauses; maximum number queued by one read.
#: SECURITY: 256 KB hold 14,000 of the smallest requests, which took 10 to 20 MB a connection.
MAX_QUEUED_REQUESTS, MAX_REQUESTS_PER_READ = 16, 256
_JSON_HEADERS = [("content-type", "application/json"), ("cache-control", "no-store")]
#: Maximum number of 204 responses sent in one write.
MAX_UNSENT_RESPONSES = 128


class Connection(asyncio.Protocol):
    """A connection whose requests are handled one after the other, also when they are pipelined."""

    __slots__ = (
        *("_server", "_transport", "_parser", "_target", "_names", "_values", "_unparsed"),
        *(
            "_handling",
            "_queue",
            "_receiving",
            "_discarded",
            "_read_paused",
            "_write_paused",
            "_error_status",
            "_error_body",
            "_resubmitted_head",
            "last_active",
        ),
    )
    _transport: Any
    _parser: Any

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._target = self._resubmitted_head = b""
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        #: Bytes received since the last header block or body chunk; discarded bytes of a body.
        self._unparsed = self._discarded = 0
        #: Task of the request that is being handled; requests behind it; the request whose body is being received.
        self._handling: asyncio.Task[None] | None = None
        self._queue: deque[HttpRequest] = deque()
        self._receiving: HttpRequest | None = None
        #: Whether reading is paused because of our buffers, or because the client does not read responses.
        self._read_paused = self._write_paused = False
        self._error_status, self._error_body = 0, ""
        #: Value of `HttpServer.second` when the last response was sent.
        self.last_active = server.second

    # Called by the transport.

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = HttpRequestParser(self)
        if self._server.is_shutting_down or len(self._server.connections) >= self._server.max_connections:
            transport.abort()
        else:
            self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._parser = None  # a reference cycle
        if self._receiving is not None:
            self._receiving.fail()
            self._receiving = None  # likewise
        self._queue.clear()

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._error_status:
            return
        self._unparsed += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                # No other protocol is supported: the following bytes are parsed as HTTP.
                data = self._resubmitted_head + data[upgrade.args[0] :]
                if self._resubmitted_head:
                    self._parser, self._resubmitted_head = HttpRequestParser(self), b""
            except HttpParserError as error:
                self._reject(error_status(error), error_body(error))
                return
        if self._unparsed > MAX_HEAD_BYTES:
            self._reject(431)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        if not self._read_paused:
            self._transport.resume_reading()

    # Called by the parser.

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self._names.append(name)
        self._values.append(value)

    def on_headers_complete(self) -> None:
        parser, server = self._parser, self._server
        target, self._target, self._unparsed = self._target, b"", 0
        keep_alive = parser.should_keep_alive()
        if keep_alive and self._handling is None:
            lines = server.handler.handle_fast(parser.get_method(), target, self._names, self._values)
            if lines is not None:
                unsent = server.unsent
                is_ok = lines.startswith(b"content-length: 0")
                head = server.ok_head if is_ok else server.no_content_head
                unsent.append((self._transport, head + lines))
                if len(unsent) == 1:
                    server.schedule_flush()
                elif len(unsent) >= MAX_UNSENT_RESPONSES:
                    server.flush()
                self.last_active = server.second
                self._names.clear()
                self._values.clear()
                return
        names, values, self._names, self._values = self._names, self._values, [], []
        method, version = parser.get_method(), parser.get_http_version()
        request = HttpRequest(self, method, target, Headers(names, values), keep_alive)
        if version == "1.0":
            request.apply_http_1_0()
        if parser.should_upgrade() and request.has_body:
            # SECURITY: the parser takes the body for the next request, so the decision would be made without it.
            if method == b"CONNECT":
                raise RequestRejected(400)
            # Java's HttpClient offers h2c with each request. The request is parsed again without the offer.
            self._resubmitted_head = head_without_upgrade(method, target, version, names, values)
            return
        if len(self._queue) >= MAX_REQUESTS_PER_READ:
            raise RequestRejected(429)
        self._receiving, self._discarded = request, 0
        if self._handling is None:
            self._handling = asyncio.create_task(self._handle(request))
        else:
            self._queue.append(request)

    def on_body(self, piece: bytes) -> None:
        # SECURITY: count from here, so that an endless trailer exceeds the limit, too: the parser keeps all of it.
        self._unparsed = 0
        request = self._receiving
        if request is None:
            return
        if request.response is not None:
            self._discarded += len(piece)
            if self._discarded > MAX_DISCARDED_BYTES:
                self._transport.abort()
        elif not request.feed(piece):
            self._pause_reading()

    def on_message_complete(self) -> None:
        request, self._receiving = self._receiving, None
        if request is None:
            return
        # SECURITY: fields in the trailer of a chunked body must not become headers of the next request.
        request.has_trailer = bool(self._names)
        self._names, self._values, self._unparsed = [], [], 0
        request.end()
        if len(self._queue) >= MAX_QUEUED_REQUESTS:
            self._pause_reading()
        if self._handling is None and request.response is not None:
            self._close()
            # Nothing behind this request gets a response, so nothing is parsed any more.
            raise RequestRejected(400)

    # Called by the request (`messages.Peer`).

    def send(self, data: bytes) -> None:
        self._server.flush()  # earlier responses of this connection go first
        if not self._transport.is_closing():
            self._transport.write(data)

    def resume(self) -> None:
        if self._read_paused:
            self._read_paused = False
            if not self._write_paused and not self._transport.is_closing():
                self._transport.resume_reading()

    # Called by the server.

    def is_idle_since(self, second: int) -> bool:
        """Return whether no response was sent since ``second``, and no request is being handled."""
        return self._handling is None and self.last_active <= second

    def abort(self) -> None:
        self._transport.abort()

    def close_when_idle(self) -> None:
        if self._handling is None:
            self._close()

    # Internal.

    def _close(self) -> None:
        self._server.flush()
        self._transport.close()

    def _pause_reading(self) -> None:
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    async def _handle(self, request: HttpRequest) -> None:
        try:
            await self._server.handler.handle(request)
        except BodyError:
            request.keep_alive = False
            request.respond_empty(400, [])
        except Exception as error:
            logger.error("request handler failed: %s", type(error).__name__, exc_info=error)
        if request.response is None:
            request.keep_alive = False
            request.respond_empty(500, [])
        self._send_response(request)

    def _send_response(self, request: HttpRequest) -> None:
        """Send the response, and continue with the next request."""
        self._handling = None
        self.last_active = self._server.second
        if self._transport.is_closing() or request.response is None:
            return
        status, _end, rest = request.response.partition(b"\r\n")
        self.send(status + b"\r\n" + self._server.date + rest)
        if not request.keep_alive or self._server.is_shutting_down:
            # The rest of a body is discarded before closing, or the kernel would discard the response with it.
            if request.is_complete or self._error_status:
                self._close()
            self._queue.clear()
            self.resume()
        elif self._queue:
            self._handling = asyncio.create_task(self._handle(self._queue.popleft()))
        elif self._error_status:
            self._reject(self._error_status, self._error_body)
        else:
            self.resume()

    def _reject(self, status: int, body: str = "") -> None:
        """Reject malformed or oversized input: send the pending responses, then ``status``, then close.

        ``body``: a JSON document for the client.
        """
        self._error_status, self._error_body = status, body
        if self._receiving is not None:
            self._receiving.fail()
        if self._handling is not None or self._transport.is_closing():
            return
        if self._receiving is not None:  # its response had "connection: close"
            self._close()
        else:
            rejected = HttpRequest(self, b"GET", b"/", Headers([], []), False)
            rejected.respond_text(status, _JSON_HEADERS if body else [], body)
            self._send_response(rejected)
