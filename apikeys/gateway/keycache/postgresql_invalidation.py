"""Hears from PostgreSQL which keys changed, and knows until when what was heard can be believed.

Triggers send a NOTIFY for every key that a transaction changes (migration 0005). A listening connection gets it when
the transaction commits, usually within a millisecond. "Usually" is not enough to let money go, so the connection is
asked a question every `BEAT` seconds: PostgreSQL hands over the notifications of what was committed before a question
was asked no later than its answer (backend/tcop/postgres.c: ProcessNotifyInterrupt before ReadyForQuery). From the
moment when an answered question was *asked*, memory is believed for the lease (`settings.GATEWAY_LEASE_MS`) and not a
moment longer; whoever makes a change waits for a lease before telling its author (`hitobit_portal.http.commit_barrier`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import pq

logger = logging.getLogger("portal.gateway")
CHANNEL = "portal_keys"
ALL = "*"
TOKENS = ""
#: A fifth of the shortest lease: a question or two may be late, and the memory is still believed.
BEAT = 0.02
#: A connection that answers nothing for so long is given up; long before, it is not believed any more.
DEAF = 2.0
RECONNECT = (0.05, 0.1, 0.2, 0.5, 1.0)


class PostgresWatch:
    """``dropped`` is called with each changed key id, `TOKENS` or `ALL`, in the event loop's thread."""

    def __init__(self, parameters: dict[str, Any], lease: float, dropped: Callable[[str], None]) -> None:
        self._parameters = parameters
        self._lease = lease
        self._dropped = dropped
        self._until = 0.0
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._socket = -1
        self._asked_at: float | None = None
        self._lost = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def believed(self) -> bool:
        """Whether every change of which an author was told has been heard."""
        return time.monotonic() < self._until

    @property
    def until(self) -> float:
        """When belief ended or will end, on the monotonic clock."""
        return self._until

    async def run(self) -> None:
        """Listens until it is cancelled; comes back from every loss by itself."""
        tries = 0
        while True:
            try:
                await self._listen()
                tries = 0
                await self._lost.wait()
            except (psycopg.Error, OSError, TimeoutError) as error:
                logger.error("the gateway does not hear of changes: %s", type(error).__name__)
            finally:
                self._leave()
            await asyncio.sleep(RECONNECT[min(tries, len(RECONNECT) - 1)])
            tries += 1

    async def _listen(self) -> None:
        async with asyncio.timeout(DEAF):
            connection = await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters)
            self._connection = connection
            await connection.execute(f"LISTEN {CHANNEL}")
        self._lost = asyncio.Event()
        # What was changed while nobody listened is not known: all is dropped, after the listening has begun.
        self._dropped(ALL)
        self._socket = connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._readable)
        self._beat()

    def _beat(self) -> None:
        loop, now = asyncio.get_running_loop(), time.monotonic()
        if self._connection is None:
            return
        try:
            if self._asked_at is None:
                self._asked_at = now
                self._connection.pgconn.send_query(b"")
                self._connection.pgconn.flush()
            elif now - self._asked_at > DEAF:
                raise psycopg.OperationalError("no answer")
        except psycopg.Error as error:
            self._lose(type(error).__name__)
        else:
            self._timer = loop.call_later(BEAT, self._beat)

    def _readable(self) -> None:
        if self._connection is None:
            return
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            self._hear(pgconn)
            self._take_answer(pgconn)
        except psycopg.Error as error:
            self._lose(type(error).__name__)

    def _take_answer(self, pgconn: pq.abc.PGconn) -> None:
        while self._asked_at is not None and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                # Reading the answer may have brought more notifications: they come before the belief.
                self._hear(pgconn)
                self._until, self._asked_at = self._asked_at + self._lease, None
            elif result.status != pq.ExecStatus.EMPTY_QUERY:
                raise psycopg.OperationalError(pq.ExecStatus(result.status).name)

    def _hear(self, pgconn: pq.abc.PGconn) -> None:
        while (heard := pgconn.notifies()) is not None:
            self._dropped(heard.extra.decode("ascii", "replace"))

    def _lose(self, why: str) -> None:
        logger.error("the gateway does not hear of changes: %s", why)
        self._until = min(self._until, time.monotonic())
        self._deafen()
        self._lost.set()

    def _deafen(self) -> None:
        # By the number that was registered: libpq may have closed the socket already, and the number may be taken.
        if self._socket >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket = -1

    def _leave(self) -> None:
        """Ends the connection, and with it the belief."""
        self._until = min(self._until, time.monotonic())
        self._asked_at = None
        if self._timer is not None:
            self._timer.cancel()
        self._deafen()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()
