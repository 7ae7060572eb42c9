"""The HTTP server of one process: what its connections share (request handler, date, limits, unsent responses)."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any, Protocol

from apikeys.gateway.http.messages import HttpRequest

#: Idle timeout in seconds; also applies to incomplete headers.
IDLE_TIMEOUT_SECONDS = 10


class RequestHandler(Protocol):
    """What the server calls for each request; the gateway's is `endpoints.Endpoints`.

    ``handle_fast`` returns the header lines of a 204 response, up to and with the empty line, or None: then `handle` is
    called. Lines that begin with ``content-length: 0`` are those of a 200 response. It must return None for a request
    with a body: the body would be skipped, and its trailer taken for headers.
    ``handle`` responds with one of the ``respond_...`` methods of the request.
    """

    def handle_fast(
        self, method: bytes, target: bytes, names: list[bytes], values: list[bytes], /
    ) -> bytes | None: ...
    async def handle(self, request: HttpRequest, /) -> None: ...


class HttpServer:
    """``max_connections``: maximum number of open connections; further ones are closed at once."""

    def __init__(self, handler: RequestHandler, max_connections: int) -> None:
        self.handler = handler
        self.max_connections = max_connections
        self.connections: set[Any] = set()  # of `connection.Connection`, which imports this module
        self.second = 0
        self.is_shutting_down = False
        #: 204 responses that are not sent yet: (transport, data).
        self.unsent: list[tuple[Any, bytes]] = []
        self.tick()

    def tick(self) -> None:
        """Update the date and close idle connections. Called once a second."""
        self.second += 1
        self.date = f"date: {formatdate(time.time(), usegmt=True)}\r\n".encode("ascii")
        self.no_content_head = b"HTTP/1.1 204 No Content\r\n" + self.date
        self.ok_head = b"HTTP/1.1 200 OK\r\n" + self.date
        idle_since = self.second - IDLE_TIMEOUT_SECONDS
        for connection in [each for each in self.connections if each.is_idle_since(idle_since)]:
            connection.abort()

    def schedule_flush(self) -> None:
        """Call `flush` after all requests that arrived together were handled.

        If responses are sent one by one, each of them wakes a proxy on the same machine that has just gone to sleep,
        which costs the sender 2 µs, and up to 9 on a virtual machine. If they are sent together, only the first does.
        """
        asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send the unsent responses."""
        unsent, self.unsent = self.unsent, []
        for transport, data in unsent:
            if not transport.is_closing():
                transport.write(data)

    def shut_down(self) -> None:
        """Close all connections; those with a pending request after its response."""
        self.is_shutting_down = True
        self.flush()
        for connection in list(self.connections):
            connection.close_when_idle()
