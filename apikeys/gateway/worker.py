"""One process of the machine door: a loop, its connections, and `Process` behind them.

``python -m apikeys.gateway.worker HOST PORT CONNECTIONS PARENT [shared]``: what `apikeys.gateway.supervisor` starts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import uvloop

from apikeys.gateway.http.connection import Connection
from apikeys.gateway.http.server import Hub
from hitobit_portal.observability import logs

if TYPE_CHECKING:
    from apikeys.gateway.app import Process

#: What waits to be accepted while the process is busy.
BACKLOG = 4096
#: For those that wait for an answer when the process is asked to end.
END_SECONDS = 3.0
#: The exit code that says: starting again would be of no use.
MISCONFIGURED = 78


async def listen(hub: Hub, host: str, port: int, *, shared: bool = False) -> asyncio.Server:
    """Raises `OSError`. ``shared``: with other processes, among which the system divides the connections."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: Connection(hub), host, port, backlog=BACKLOG, reuse_port=shared or None
    )


async def serve(hub: Hub, server: asyncio.Server, parent: int) -> None:
    """Answers until SIGTERM or SIGINT, or until ``parent`` is this process's no longer."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    while not stop.is_set() and os.getppid() == parent:
        hub.tick()
        try:
            await asyncio.wait_for(stop.wait(), 1.0)
        except TimeoutError:
            continue
    server.close()
    hub.end()
    deadline = loop.time() + END_SECONDS
    while hub.connections and loop.time() < deadline:
        await asyncio.sleep(0.02)


async def _run(process: Process, host: str, port: int, most: int, parent: int, *, shared: bool) -> None:
    hub = Hub(process.start(asyncio.get_running_loop()), most)
    try:
        server = await listen(hub, host, port, shared=shared)
    except OSError as error:
        _give_up(error)
    await serve(hub, server, parent)


def _give_up(error: Exception) -> NoReturn:
    sys.stderr.write(f"The gateway does not start. {type(error).__name__}: {logs.hidden(str(error))}\n")
    sys.exit(MISCONFIGURED)


def main() -> None:
    host, port, most, parent, *shared = sys.argv[1:]
    try:
        from apikeys.gateway.app import Process  # sets Django up

        process = Process()
    except Exception as error:  # whatever it is: trying again would end alike
        _give_up(error)
    try:
        uvloop.run(_run(process, host, int(port), int(most), int(parent), shared=bool(shared)))
    finally:
        process.stop()


if __name__ == "__main__":
    main()
