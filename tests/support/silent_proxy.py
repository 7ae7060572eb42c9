"""A TCP proxy between the portal and its database that can fall silent, as a firewall or a failed host does."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self


class SilentProxy:
    """Forwards connections to ``port`` of 127.0.0.1. `silence`, `speak`, `cut` change what it does from now on."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._is_silent = False
        self.port = 0
        self._server: asyncio.Server | None = None

    def silence(self) -> None:
        """Forward nothing, of old and new connections, and close none: what was sent is acknowledged and lost."""
        self._is_silent = True

    def speak(self) -> None:
        """Forward new connections. Those of before stay silent for ever, as after a fail-over to another host."""
        self._generation += 1
        self._is_silent = False

    def cut(self) -> None:
        """Close all connections and refuse new ones."""
        self._call(self._close())

    def restore(self) -> None:
        """Accept connections again on the same port."""
        self._call(self._listen())

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *exception: object) -> None:
        self._call(self._close())
        self._call(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Aborted sockets are closed in the next round of the loop.
        await asyncio.sleep(0.05)
        self._tasks.clear()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        generation = self._generation
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            self._writers.add(back)
            try:
                await asyncio.gather(
                    self._copy(reader, back, generation), self._copy(there, writer, generation)
                )
            finally:
                back.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, generation: int
    ) -> None:
        while data := await reader.read(65_536):
            if not self._is_silent and generation == self._generation:
                writer.write(data)
                await writer.drain()
        if not self._is_silent and generation == self._generation:
            writer.close()
