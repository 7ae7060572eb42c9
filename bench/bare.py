"""The gateway's HTTP server with a handler that does nothing: every request gets a 204 response."""

import os
import sys

import uvloop

from apikeys.gateway.http.messages import HttpRequest
from apikeys.gateway.http.server import HttpServer
from apikeys.gateway.worker import listen, serve

END_OF_HEADERS = b"\r\n"


class EmptyHandler:
    def handle_fast(self, _method: bytes, _target: bytes, _names: list[bytes], _values: list[bytes]) -> bytes:
        return END_OF_HEADERS

    async def handle(self, request: HttpRequest) -> None:
        request.respond_empty(204, [])


async def main() -> None:
    server = HttpServer(EmptyHandler(), 1_000)
    await serve(server, await listen(server, "127.0.0.1", int(sys.argv[1])), os.getppid())


if __name__ == "__main__":
    uvloop.run(main())
