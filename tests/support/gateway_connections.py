"""The gateway's HTTP server on a free port, with a request handler of the test, and clients that send raw bytes."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import uvloop

from apikeys.gateway.http.messages import HttpRequest
from apikeys.gateway.http.server import HttpServer
from apikeys.gateway.worker import listen

LARGE = "x" * 65_536
LAST = b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST %b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
FAST = b"GET /fast HTTP/1.1\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\n\r\n"


class StubEndpoints:
    """Answers /fast on the fast path, reads the body of /echo, waits for `gate` at /slow, fails at /boom and /bad."""

    def __init__(self) -> None:
        self.fast_header_names: list[list[bytes]] = []
        self.trailers = False
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()

    def handle_fast(
        self, _method: bytes, target: bytes, names: list[bytes], _values: list[bytes]
    ) -> bytes | None:
        if target == b"/boom":
            raise ValueError
        if target != b"/fast":
            return None
        self.fast_header_names.append(list(names))
        return b"x-fast: yes\r\n\r\n"

    async def handle(self, request: HttpRequest) -> None:
        self.paths.append(request.path)
        self.trailers = self.trailers or "x-t" in request.headers or "x-u" in request.headers
        headers = [("x-path", "long")]
        if request.path == "/bad":
            raise LookupError
        if request.path == "/slow":
            await self.gate.wait()
        if request.path == "/echo":
            self.bodies.append(b"".join([piece async for piece in request]))
        if request.path == "/split":
            headers = [("x-bad", "a\r\nx-portal-user: 1"), ("x-bad", "a\nb"), ("x-good", "yes")]
        request.respond_text(200, headers, LARGE if request.path == "/large" else request.path)


@dataclass
class RunningServer:
    """A listening server, and clients of it."""

    server: HttpServer
    endpoints: StubEndpoints
    port: int

    async def open(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        await settle()
        return reader, writer

    async def talk(self, *pieces: bytes) -> bytes:
        """Return everything received until the server closes; each piece is read before the next is sent."""
        reader, writer = await self.open()
        for piece in pieces:
            writer.write(piece)
            await settle()
        return await read_to_end(reader, writer)


def with_server(test: Callable[[RunningServer], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run a test in an event loop in its own thread: a browser of another test may have left a loop in this one."""

    async def within() -> None:
        endpoints = StubEndpoints()
        server = HttpServer(endpoints, 100)
        listener = await listen(server, "127.0.0.1", 0)
        try:
            async with asyncio.timeout(20):
                await test(RunningServer(server, endpoints, listener.sockets[0].getsockname()[1]))
        finally:
            listener.close()
            for connection in list(server.connections):
                connection.abort()
            await settle()
        assert not server.connections

    def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(uvloop.run, within()).result()

    return run


async def settle() -> None:
    await asyncio.sleep(0.02)


async def read_to_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    received = b""
    try:
        while piece := await reader.read(65_536):
            received += piece
    except ConnectionError:
        pass
    writer.close()
    return received


def statuses(answers: bytes) -> list[int]:
    return [int(answer[:3]) for answer in answers.split(b"HTTP/1.1 ")[1:]]
