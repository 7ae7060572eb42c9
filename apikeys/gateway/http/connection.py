"""HTTP/1.1 on one connection: httptools (Node's llhttp) reads it, the door answers, in order.

Why not an ASGI or RSGI server: of a request's 25 µs granian took 13 for the way between its threads and ours, and this
takes 8, reading included (bench/results.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from apikeys.gateway.http.messages import (
    BodyError,
    Exchange,
    Headers,
    Refused,
    body_of,
    status_of,
    without_upgrade,
)
from apikeys.gateway.http.server import Hub

logger = logging.getLogger("portal.gateway")
#: Request line and headers, or what stands between pieces of a body; the longest payload that is looked at has 64 KB.
LARGEST_HEAD = 131_072
#: A body that nobody reads (the request was refused before) is read over up to here, so that the answer arrives.
LARGEST_REST = 2_097_152
#: Requests that may stand behind the one that is being answered before no more is read; all that one reading may bring.
#: SECURITY: 256 KB of the smallest are 14,000, which took 10 to 20 MB a connection.
MOST_WAITING, MOST_AT_ONCE = 16, 256
_JSON = [("content-type", "application/json"), ("cache-control", "no-store")]
#: Yeses that are sent together.
MOST_UNSENT = 128


class Connection(asyncio.Protocol):
    """Requests are answered one after the other, however many were sent at once."""

    __slots__ = (
        *("_hub", "_transport", "_parser", "_target", "_names", "_values", "_unread"),
        *(
            "_running",
            "_waiting",
            "_incoming",
            "_rest",
            "_paused",
            "_choked",
            "_fault",
            "_says",
            "_again",
            "seen",
        ),
    )
    _transport: Any
    _parser: Any

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._target = self._again = b""
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        #: Bytes that came since the last header block, or piece of a body; of a body that nobody reads.
        self._unread = self._rest = 0
        #: Being answered; those behind it; whose body comes in.
        self._running: asyncio.Task[None] | None = None
        self._waiting: deque[Exchange] = deque()
        self._incoming: Exchange | None = None
        #: Not reading, because of us, or because the other side does not read.
        self._paused = self._choked = False
        self._fault, self._says = 0, ""
        #: The second in which the last request was answered.
        self.seen = hub.second

    # The transport's.

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = HttpRequestParser(self)
        if self._hub.ending or len(self._hub.connections) >= self._hub.most:
            transport.abort()
        else:
            self._hub.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hub.connections.discard(self)
        self._parser = None  # the two hold each other
        if self._incoming is not None:
            self._incoming.fail()
            self._incoming = None  # so do these
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._fault:
            return
        self._unread += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                # The door speaks nothing else: what follows is HTTP, or an error.
                data = self._again + data[upgrade.args[0] :]
                if self._again:
                    self._parser, self._again = HttpRequestParser(self), b""
            except HttpParserError as error:
                self._refuse(status_of(error), body_of(error))
                return
        if self._unread > LARGEST_HEAD:
            self._refuse(431)

    def pause_writing(self) -> None:
        self._choked = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        if not self._paused:
            self._transport.resume_reading()

    # The parser's.

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self._names.append(name)
        self._values.append(value)

    def on_headers_complete(self) -> None:
        parser, hub = self._parser, self._hub
        target, self._target, self._unread = self._target, b"", 0
        keeps = parser.should_keep_alive()
        if keeps and self._running is None:
            lines = hub.door.swift(parser.get_method(), target, self._names, self._values)
            if lines is not None:
                unsent = hub.unsent
                unsent.append((self._transport, hub.yes + lines))
                if len(unsent) == 1:
                    hub.send_soon()
                elif len(unsent) >= MOST_UNSENT:
                    hub.send()
                self.seen = hub.second
                self._names.clear()
                self._values.clear()
                return
        names, values, self._names, self._values = self._names, self._values, [], []
        method, version = parser.get_method(), parser.get_http_version()
        exchange = Exchange(self, method, target, Headers(names, values), keeps)
        if version == "1.0":
            exchange.is_old()
        if parser.should_upgrade() and exchange.has_body:
            # SECURITY: the parser takes the body for the next request, and the door would decide without it.
            if method == b"CONNECT":
                raise Refused(400)
            # Java's HttpClient offers h2c with each request. It is read again, without that.
            self._again = without_upgrade(method, target, version, names, values)
            return
        if len(self._waiting) >= MOST_AT_ONCE:
            raise Refused(429)
        self._incoming, self._rest = exchange, 0
        if self._running is None:
            self._running = asyncio.create_task(self._answer(exchange))
        else:
            self._waiting.append(exchange)

    def on_body(self, piece: bytes) -> None:
        # SECURITY: so that a trailer without an end is noticed, too: the parser keeps all of it.
        self._unread = 0
        exchange = self._incoming
        if exchange is None:
            return
        if exchange.answer is not None:
            self._rest += len(piece)
            if self._rest > LARGEST_REST:
                self._transport.abort()
        elif not exchange.feed(piece):
            self._hold()

    def on_message_complete(self) -> None:
        exchange, self._incoming = self._incoming, None
        if exchange is None:
            return
        # SECURITY: what stands in the trailer of a chunked body would count as headers of the next request.
        exchange.has_trailer = bool(self._names)
        self._names, self._values, self._unread = [], [], 0
        exchange.end()
        if len(self._waiting) >= MOST_WAITING:
            self._hold()
        if self._running is None and exchange.answer is not None:
            self._close()
            # What came behind it gets no answer, so it is no question either.
            raise Refused(400)

    # The exchange's.

    def send(self, data: bytes) -> None:
        self._hub.send()  # what this connection was answered before is not overtaken
        if not self._transport.is_closing():
            self._transport.write(data)

    def read_on(self) -> None:
        if self._paused:
            self._paused = False
            if not self._choked and not self._transport.is_closing():
                self._transport.resume_reading()

    # The hub's.

    def is_silent(self, second: int) -> bool:
        """Whether nothing was answered since then, and nothing is being answered."""
        return self._running is None and self.seen <= second

    def cut(self) -> None:
        self._transport.abort()

    def end(self) -> None:
        if self._running is None:
            self._close()

    # Its own.

    def _close(self) -> None:
        self._hub.send()
        self._transport.close()

    def _hold(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._hub.door.answer(exchange)
        except BodyError:
            exchange.keeps = False
            exchange.response_empty(400, [])
        except Exception as error:
            logger.error("a question was not answered: %s", type(error).__name__, exc_info=error)
        if exchange.answer is None:
            exchange.keeps = False
            exchange.response_empty(500, [])
        self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        """Sends the answer, and turns to what came meanwhile."""
        self._running = None
        self.seen = self._hub.second
        if self._transport.is_closing() or exchange.answer is None:
            return
        status, _end, rest = exchange.answer.partition(b"\r\n")
        self.send(status + b"\r\n" + self._hub.date + rest)
        if not exchange.keeps or self._hub.ending:
            # A body that still comes is read over first, or the system would throw the answer away with it.
            if exchange.is_whole or self._fault:
                self._close()
            self._waiting.clear()
            self.read_on()
        elif self._waiting:
            self._running = asyncio.create_task(self._answer(self._waiting.popleft()))
        elif self._fault:
            self._refuse(self._fault, self._says)
        else:
            self.read_on()

    def _refuse(self, status: int, says: str = "") -> None:
        """What came is no HTTP, or too much: after the answers to what came before it, nothing more is read.

        ``says``: a JSON document for the client.
        """
        self._fault, self._says = status, says
        if self._incoming is not None:
            self._incoming.fail()
        if self._running is not None or self._transport.is_closing():
            return
        if self._incoming is not None:  # whose answer said that it is the last one
            self._close()
        else:
            refused = Exchange(self, b"GET", b"/", Headers([], []), False)
            refused.response_str(status, _JSON if says else [], says)
            self._finish(refused)
