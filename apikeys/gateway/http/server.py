"""What the connections of one process share: the door, the date, and who may stay."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any, Protocol

from apikeys.gateway.http.messages import Exchange

#: Who sends nothing for so long, or no whole header, is cut off.
SILENT_SECONDS = 10


class Answers(Protocol):
    """The door. ``swift`` gives the header lines of a yes (204), or None: then `answer` is asked.

    Its yes is never to a request with a body, which would be read over, and what stands in its trailer believed.
    """

    def swift(
        self, method: bytes, target: bytes, names: list[bytes], values: list[bytes], /
    ) -> bytes | None: ...
    async def answer(self, exchange: Exchange, /) -> None: ...


class Hub:
    """``most``: connections at a time; one more is closed at once."""

    def __init__(self, door: Answers, most: int) -> None:
        self.door = door
        self.most = most
        self.connections: set[Any] = set()  # of `wire.Connection`, which knows this module
        self.second = 0
        self.ending = False
        #: Yeses that are not sent yet: (transport, data).
        self.unsent: list[tuple[Any, bytes]] = []
        self.tick()

    def tick(self) -> None:
        """Once a second."""
        self.second += 1
        self.date = f"date: {formatdate(time.time(), usegmt=True)}\r\n".encode("ascii")
        self.yes = b"HTTP/1.1 204 No Content\r\n" + self.date
        for connection in [one for one in self.connections if one.is_silent(self.second - SILENT_SECONDS)]:
            connection.cut()

    def send_soon(self) -> None:
        """Has `send` called when all that came together is decided.

        Sent one by one, each answer wakes a proxy on the same machine that had just gone to sleep, which costs the
        sender 2 µs, and on a virtual machine up to 9; of those that are sent together only the first one does.
        """
        asyncio.get_running_loop().call_soon(self.send)

    def send(self) -> None:
        """Sends what waits for it."""
        unsent, self.unsent = self.unsent, []
        for transport, data in unsent:
            if not transport.is_closing():
                transport.write(data)

    def end(self) -> None:
        """No connection is kept from now on; those that wait for an answer get it."""
        self.ending = True
        self.send()
        for connection in list(self.connections):
            connection.end()
