"""Receive key changes from PostgreSQL (LISTEN/NOTIFY), and determine until when cached data is fresh.

Triggers send a NOTIFY for every key that a transaction changes (migration 0005). A listening connection receives it
when the transaction commits, usually within a millisecond. "Usually" is not sufficient for a decision about money, so
an empty query is sent every `HEARTBEAT_SECONDS`: PostgreSQL delivers the notifications of everything that was committed
before the query was sent no later than its result (backend/tcop/postgres.c: ProcessNotifyInterrupt before
ReadyForQuery). Cached data is fresh for one lease (`settings.GATEWAY_LEASE_MS`), counted from the moment when a query
that was answered was *sent*, and not longer. The response to a change is delayed until a lease after its commit
(`hitobit_portal.http.commit_barrier`).
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
#: A fifth of the shortest lease: cached data stays fresh when one or two results are late.
HEARTBEAT_SECONDS = 0.02
#: A connection without a result for this time is closed. Cached data stopped being fresh long before.
UNRESPONSIVE_SECONDS = 2.0
#: Delays before the first and later attempts to reconnect.
RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


class PoolerError(psycopg.OperationalError):
    """Something between this process and PostgreSQL answers in its place."""


class PostgresListener:
    """Calls ``invalidate`` with each changed key id, `TOKENS` or `ALL`, in the thread of the event loop.

    ``parameters``: of `psycopg.connect`; ``lease``: seconds.
    """

    def __init__(self, parameters: dict[str, Any], lease: float, invalidate: Callable[[str], None]) -> None:
        self._parameters = parameters
        self._lease = lease
        self._invalidate = invalidate
        self._fresh_until = 0.0
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._socket = -1
        self._heartbeat_sent_at: float | None = None
        self._disconnected = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def is_fresh(self) -> bool:
        """Return whether every change that was acknowledged to its author has been received."""
        return time.monotonic() < self._fresh_until

    @property
    def fresh_until(self) -> float:
        """Time at which cached data stopped or will stop being fresh (monotonic clock)."""
        return self._fresh_until

    async def run(self) -> None:
        """Listen until cancelled. Reconnect after every loss of the connection."""
        attempts = 0
        while True:
            try:
                await self._listen()
                attempts = 0
                await self._disconnected.wait()
            except (psycopg.Error, OSError, TimeoutError) as error:
                logger.error(
                    "invalidation listener disconnected; key cache bypassed: %s", type(error).__name__
                )
            finally:
                self._close()
            await asyncio.sleep(RECONNECT_SECONDS[min(attempts, len(RECONNECT_SECONDS) - 1)])
            attempts += 1

    async def _listen(self) -> None:
        async with asyncio.timeout(UNRESPONSIVE_SECONDS):
            connection = await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters)
            self._connection = connection
            await connection.execute(f"LISTEN {CHANNEL}")
            row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
            # SECURITY: a pooler may give this session's notifications to another client, while heartbeats are answered:
            # revoked keys would go on. It has process ids of its own.
            if row is None or row[0] != connection.info.backend_pid:
                raise PoolerError("DATABASE_URL is not PostgreSQL itself")
        self._disconnected = asyncio.Event()
        # Changes before LISTEN are not known: everything is evicted after it.
        self._invalidate(ALL)
        self._socket = connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._on_readable)
        self._send_heartbeat()

    def _send_heartbeat(self) -> None:
        loop, now = asyncio.get_running_loop(), time.monotonic()
        if self._connection is None:
            return
        try:
            if self._heartbeat_sent_at is None:
                self._heartbeat_sent_at = now
                self._connection.pgconn.send_query(b"")
                self._connection.pgconn.flush()
            elif now - self._heartbeat_sent_at > UNRESPONSIVE_SECONDS:
                raise psycopg.OperationalError("no result")
        except psycopg.Error as error:
            self._disconnect(type(error).__name__)
        else:
            self._timer = loop.call_later(HEARTBEAT_SECONDS, self._send_heartbeat)

    def _on_readable(self) -> None:
        if self._connection is None:
            return
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            self._receive(pgconn)
            self._take_result(pgconn)
        except psycopg.Error as error:
            self._disconnect(type(error).__name__)

    def _take_result(self, pgconn: pq.abc.PGconn) -> None:
        while self._heartbeat_sent_at is not None and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                # Reading the result may have brought more notifications: process them before extending freshness.
                self._receive(pgconn)
                self._fresh_until, self._heartbeat_sent_at = self._heartbeat_sent_at + self._lease, None
            elif result.status != pq.ExecStatus.EMPTY_QUERY:
                raise psycopg.OperationalError(pq.ExecStatus(result.status).name)

    def _receive(self, pgconn: pq.abc.PGconn) -> None:
        while (notification := pgconn.notifies()) is not None:
            self._invalidate(notification.extra.decode("ascii", "replace"))

    def _disconnect(self, reason: str) -> None:
        logger.error("invalidation listener disconnected; key cache bypassed: %s", reason)
        self._fresh_until = min(self._fresh_until, time.monotonic())
        self._stop_reading()
        self._disconnected.set()

    def _stop_reading(self) -> None:
        # By the registered file descriptor: libpq may have closed the socket, and the number may be in use again.
        if self._socket >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket = -1

    def _close(self) -> None:
        """Close the connection. Cached data is no longer fresh."""
        self._fresh_until = min(self._fresh_until, time.monotonic())
        self._heartbeat_sent_at = None
        if self._timer is not None:
            self._timer.cancel()
        self._stop_reading()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()
