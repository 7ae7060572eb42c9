"""Invalidate the key cache when a SQLite file changed: `PRAGMA data_version` (sqlite.org/pragma.html), 2 µs a request.

The pragma does not say what changed, so everything is evicted. That is sufficient on one machine, where loading a key
is fast.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable

logger = logging.getLogger("portal.gateway")
ALL = "*"


class SqliteListener:
    """Calls ``invalidate`` with `ALL` when the file at ``path`` was written by another connection."""

    def __init__(self, path: str, invalidate: Callable[[str], None]) -> None:
        self._path = path
        self._invalidate = invalidate
        self._connection: sqlite3.Connection | None = None
        self._version = 0
        self._last_fresh_at = 0.0

    def is_fresh(self) -> bool:
        """Read the file's version, evict everything if it changed, and return whether the version could be read."""
        try:
            if self._connection is None:
                uri = f"file:{self._path}?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
                self._version = -1
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            logger.error("invalidation listener disconnected; key cache bypassed: %s", type(error).__name__)
            self._connection = None
            return False
        if version != self._version:
            self._version = version
            self._invalidate(ALL)
        self._last_fresh_at = time.monotonic()
        return True

    @property
    def fresh_until(self) -> float:
        """Time of the last successful check (monotonic clock)."""
        return self._last_fresh_at

    async def run(self) -> None:
        """Run until cancelled. There is nothing to receive: `is_fresh` reads the file."""
        await asyncio.Event().wait()
