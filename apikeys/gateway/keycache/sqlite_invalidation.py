"""Sees that a SQLite file was changed by anybody: `PRAGMA data_version` (sqlite.org/pragma.html) costs 2 µs a request.

It does not say what was changed, so everything is dropped: enough for one machine, where a key is read in a moment.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable

logger = logging.getLogger("portal.gateway")
ALL = "*"


class SqliteWatch:
    """``dropped`` is called with `ALL` when the file at ``path`` was written by another connection."""

    def __init__(self, path: str, dropped: Callable[[str], None]) -> None:
        self._path = path
        self._dropped = dropped
        self._connection: sqlite3.Connection | None = None
        self._version = 0
        self._believed_at = 0.0

    def believed(self) -> bool:
        """Whether nothing was written since everything that is remembered was read; asks the file itself."""
        try:
            if self._connection is None:
                uri = f"file:{self._path}?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
                self._version = -1
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            logger.error("the gateway does not hear of changes: %s", type(error).__name__)
            self._connection = None
            return False
        if version != self._version:
            self._version = version
            self._dropped(ALL)
        self._believed_at = time.monotonic()
        return True

    @property
    def until(self) -> float:
        """When it was last believed, on the monotonic clock."""
        return self._believed_at

    async def run(self) -> None:
        """There is nothing to wait for."""
        await asyncio.Event().wait()
