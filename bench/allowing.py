"""The gateway's HTTP server with a handler that allows each request at once, in the form of the gateway's responses."""

import os
import sys

import uvloop

from apikeys.gateway.http.messages import HttpRequest
from apikeys.gateway.http.server import HttpServer
from apikeys.gateway.worker import listen, serve

HEADERS = [
    ("x-portal-user", "1"),
    ("x-portal-key", "k"),
    ("x-portal-permissions", "read"),
    ("x-portal-security", "signed"),
]
_LINES = "".join(f"{name}: {value}\r\n" for name, value in HEADERS).encode("ascii") + b"\r\n"
_WHOLE = b"/gateway/v1/check/"


class AllowingHandler:
    def handle_fast(
        self, method: bytes, target: bytes, _names: list[bytes], _values: list[bytes]
    ) -> bytes | None:
        if method != b"GET":
            return None
        return b"content-length: 0\r\n" + _LINES if target.startswith(_WHOLE) else _LINES

    async def handle(self, request: HttpRequest) -> None:
        """A request with a body: it is received, and not looked at."""
        async for _chunk in request:
            pass
        request.respond_empty(200 if request.path.startswith(_WHOLE.decode("ascii")) else 204, HEADERS)


async def main() -> None:
    server = HttpServer(AllowingHandler(), 1_000)
    await serve(server, await listen(server, "127.0.0.1", int(sys.argv[1])), os.getppid())


if __name__ == "__main__":
    uvloop.run(main())
