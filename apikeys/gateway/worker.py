"""A worker process of the gateway: an event loop with the HTTP server and the `GatewayApplication`.

Started by `apikeys.gateway.supervisor` as ``python -m apikeys.gateway.worker HOST PORT CONNECTIONS PARENT [shared]``.
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
    application: GatewayApplication, host: str, port: int, max_connections: int, parent: int, *, shared: bool
) -> None:
    server = HttpServer(application.start(asyncio.get_running_loop()), max_connections)
    try:
        listener = await listen(server, host, port, shared=shared)
    except OSError as error:
        _exit_misconfigured(error)
    await serve(server, listener, parent)


def _exit_misconfigured(error: Exception) -> NoReturn:
    sys.stderr.write(f"The gateway does not start. {type(error).__name__}: {logs.redact(str(error))}\n")
    sys.exit(MISCONFIGURED)


def main() -> None:
    host, port, max_connections, parent, *shared = sys.argv[1:]
    try:
        from apikeys.gateway.app import GatewayApplication  # sets Django up

        application = GatewayApplication()
    except Exception as error:  # any error: another attempt would fail as well
        _exit_misconfigured(error)
    try:
        uvloop.run(_run(application, host, int(port), int(max_connections), int(parent), shared=bool(shared)))
    finally:
        application.stop()


if __name__ == "__main__":
    main()
