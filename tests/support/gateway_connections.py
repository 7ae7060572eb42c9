"""The machine door's own HTTP on a free port, in front of a door of the test, and clients that say bytes."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import uvloop

from apikeys.gateway.http.messages import Exchange
from apikeys.gateway.http.server import Hub
from apikeys.gateway.worker import listen

LARGE = "x" * 65_536
LAST = b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST %b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
SWIFT = b"GET /swift HTTP/1.1\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\n\r\n"


class Door:
    """Says a swift yes to /swift, reads the body of /echo, waits for `gate` at /slow, fails at /boom and /bad."""

    def __init__(self) -> None:
        self.swift_names: list[list[bytes]] = []
        self.trailers = False
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()

    def swift(self, _method: bytes, target: bytes, names: list[bytes], _values: list[bytes]) -> bytes | None:
        if target == b"/boom":
            raise ValueError
        if target != b"/swift":
            return None
        self.swift_names.append(list(names))
        return b"x-swift: yes\r\n\r\n"

    async def answer(self, exchange: Exchange) -> None:
        self.asked.append(exchange.path)
        self.trailers = self.trailers or "x-t" in exchange.headers or "x-u" in exchange.headers
        headers = [("x-way", "long")]
        if exchange.path == "/bad":
            raise LookupError
        if exchange.path == "/slow":
            await self.gate.wait()
        if exchange.path == "/echo":
            self.bodies.append(b"".join([piece async for piece in exchange]))
        if exchange.path == "/split":
            headers = [("x-bad", "a\r\nx-portal-user: 1"), ("x-bad", "a\nb"), ("x-good", "yes")]
        exchange.response_str(200, headers, LARGE if exchange.path == "/large" else exchange.path)


@dataclass
class Wire:
    """A hub that listens, and clients of it."""

    hub: Hub
    door: Door
    port: int

    async def open(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        await settle()
        return reader, writer

    async def talk(self, *pieces: bytes) -> bytes:
        """Everything that comes back until the other side closes; each piece is read before the next is sent."""
        reader, writer = await self.open()
        for piece in pieces:
            writer.write(piece)
            await settle()
        return await rest(reader, writer)


def wired(test: Callable[[Wire], Coroutine[None, None, None]]) -> Callable[[], None]:
    """A test in a loop in a thread of its own, as a browser of another test may have left one running in this one."""

    async def within() -> None:
        door = Door()
        hub = Hub(door, 100)
        server = await listen(hub, "127.0.0.1", 0)
        try:
            async with asyncio.timeout(20):
                await test(Wire(hub, door, server.sockets[0].getsockname()[1]))
        finally:
            server.close()
            for connection in list(hub.connections):
                connection.cut()
            await settle()
        assert not hub.connections

    def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(uvloop.run, within()).result()

    return run


async def settle() -> None:
    await asyncio.sleep(0.02)


async def rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    found = b""
    try:
        while piece := await reader.read(65_536):
            found += piece
    except ConnectionError:
        pass
    writer.close()
    return found


def statuses(answers: bytes) -> list[int]:
    return [int(answer[:3]) for answer in answers.split(b"HTTP/1.1 ")[1:]]
