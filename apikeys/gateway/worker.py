"""A worker process of the gateway: an event loop with the HTTP server and the `GatewayApplication`.

Started by `apikeys.gateway.supervisor` as ``python -m apikeys.gateway.worker HOST PORT CONNECTIONS PARENT [shared]
[grpc=PORT]``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import uvloop

from apikeys.gateway.http.connection import Connection
from apikeys.gateway.http.server import HttpServer
from hitobit_portal.observability import logs

if TYPE_CHECKING:
    from apikeys.gateway.app import GatewayApplication

#: Connections that wait to be accepted while the process is busy.
BACKLOG = 4096
#: Seconds for responses that are pending at shutdown.
SHUTDOWN_SECONDS = 3.0
#: Exit code: the process cannot start, and a restart would not help.
MISCONFIGURED = 78


async def listen(server: HttpServer, host: str, port: int, *, shared: bool = False) -> asyncio.Server:
    """Listen on ``host`` and ``port``. Raise `OSError`.

    ``shared``: share the port with other processes; the kernel distributes the connections (SO_REUSEPORT).
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: Connection(server), host, port, backlog=BACKLOG, reuse_port=shared or None
    )


async def serve(server: HttpServer, listener: asyncio.Server, parent: int) -> None:
    """Serve until SIGTERM or SIGINT, or until ``parent`` is no longer this process's parent."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    while not stop.is_set() and os.getppid() == parent:
        server.tick()
        try:
            await asyncio.wait_for(stop.wait(), 1.0)
        except TimeoutError:
            continue
    listener.close()
    server.shut_down()
    deadline = loop.time() + SHUTDOWN_SECONDS
    while server.connections and loop.time() < deadline:
        await asyncio.sleep(0.02)


async def _run(
    application: GatewayApplication,
    host: str,
    port: int,
    max_connections: int,
    parent: int,
    *,
    grpc_port: int | None,
    shared: bool,
) -> None:
    endpoints = application.start(asyncio.get_running_loop())
    server, grpc_server = HttpServer(endpoints, max_connections), None
    try:
        listener = await listen(server, host, port, shared=shared)
        if grpc_port is not None:
            from apikeys.gateway.grpc import service as grpc_service  # its packages are optional

            grpc_server = await grpc_service.listen(endpoints, host, grpc_port, shared=shared)
    except (OSError, ImportError) as error:
        _exit_misconfigured(error)
    await serve(server, listener, parent)
    if grpc_server is not None:
        await grpc_service.close(grpc_server)


def _exit_misconfigured(error: Exception) -> NoReturn:
    sys.stderr.write(f"The gateway does not start. {type(error).__name__}: {logs.redact(str(error))}\n")
    sys.exit(MISCONFIGURED)


def main() -> None:
    host, port, max_connections, parent, *options = sys.argv[1:]
    grpc_port = next((int(text.removeprefix("grpc=")) for text in options if text.startswith("grpc=")), None)
    try:
        from apikeys.gateway.app import GatewayApplication  # sets Django up

        application = GatewayApplication()
    except Exception as error:  # any error: another attempt would fail as well
        _exit_misconfigured(error)
    try:
        numbers = (int(port), int(max_connections), int(parent))
        uvloop.run(_run(application, host, *numbers, grpc_port=grpc_port, shared="shared" in options))
    finally:
        application.stop()


if __name__ == "__main__":
    main()
