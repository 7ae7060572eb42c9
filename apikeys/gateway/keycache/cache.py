"""The key cache of a gateway process: cached keys, whether they are fresh, and loading from the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from apikeys.gateway.fastpath.lru import GenerationalCache
from apikeys.gateway.fastpath.prepared_key import PreparedKey
from apikeys.gateway.fastpath.usage_counters import UsageCounter
from apikeys.usage.batch import MAX_ROWS
from apikeys.verification.records import KeyRecord

#: After this time an unknown key is looked up again; sooner if the listener reports that it was created.
UNKNOWN_KEY_SECONDS = 30.0
#: Maximum number of waiting loads; one more raises `Unavailable`, so that memory is bounded. After a start every key is
#: loaded, about 1,000 a second: no request waits for longer than ten seconds.
MAX_LOADS = 10_000
ALL, TOKENS = "*", ""


class Unavailable(Exception):
    """No decision is possible at the moment. The response is 503, and no request is allowed."""


class InvalidationListener(Protocol):
    """Receives changes from the database, and knows whether cached data is within its staleness bound."""

    def is_fresh(self) -> bool: ...
    @property
    def fresh_until(self) -> float: ...
    async def run(self) -> None: ...


class KeyCache:
    """Cached keys, at most ``size``, and the entries of the fast path.

    ``load`` reads a key from the database (None: there is none) and raises `Unavailable`. ``grace``: seconds for which
    cached keys are used while the database is unavailable.
    """

    def __init__(self, load: Callable[[str], Awaitable[KeyRecord | None]], size: int, grace: float) -> None:
        self._load = load
        self._grace = grace
        self._keys: GenerationalCache[PreparedKey] = GenerationalCache(size)
        self._unknown: GenerationalCache[float] = GenerationalCache(size)
        self._loading: dict[str, asyncio.Task[tuple[KeyRecord | None, bool]]] = {}
        self._loads = 0
        self._refreshes: set[asyncio.Task[Any]] = set()
        #: Entries of the fast path by public id, address and permission as sent, joined by line feeds. A repeated
        #: request is decided from its entry alone, which touches a third of the memory that the first one reads.
        self.entries: dict[bytes, UsageCounter] = {}
        self._entry_names: dict[str, list[bytes]] = {}
        self._listener: InvalidationListener | None = None
        #: Return whether cached data is fresh at this moment.
        self.is_fresh: Callable[[], bool] = lambda: False
        self.tokens_changed: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def listener(self) -> InvalidationListener | None:
        return self._listener

    @listener.setter
    def listener(self, listener: InvalidationListener) -> None:
        # Called at each request, so the listener's method is stored here: it saves one call.
        self._listener, self.is_fresh = listener, listener.is_fresh

    def invalidate(self, name: str) -> None:
        """Evict the key ``name``, everything (`ALL`), or the gateway tokens (`TOKENS`)."""
        if name in (ALL, TOKENS):
            self.tokens_changed()
        if name == ALL:
            self._keys.clear()
            self.clear_entries()
            self._unknown.clear()
            self._loading.clear()
        elif name != TOKENS:
            self._keys.drop(name)
            for entry_name in self._entry_names.pop(name, ()):
                self.entries.pop(entry_name, None)
            self._unknown.drop(name)
            # A load that is under way may return data older than the change: its waiters load again.
            self._loading.pop(name, None)

    def store(self, name: str, entry_name: bytes, counter: UsageCounter) -> None:
        """Store an entry of the fast path for the cached key ``name``."""
        if len(self.entries) < MAX_ROWS and entry_name not in self.entries:
            self.entries[entry_name] = counter
            self._entry_names.setdefault(name, []).append(entry_name)

    def clear_entries(self) -> None:
        """Remove all entries of the fast path."""
        self.entries.clear()
        self._entry_names.clear()

    def put(self, record: KeyRecord) -> None:
        """Cache a key that was just loaded."""
        self._keys.put(record.key, PreparedKey(record))
        self._unknown.drop(record.key)

    def cached(self, key_id: str) -> PreparedKey | None:
        """Return the key if it is cached. The caller checks freshness."""
        return self._keys.get(key_id)

    def is_unknown(self, key_id: str) -> bool:
        """Return whether the key is cached as unknown."""
        return self._unknown.get(key_id) is not None

    async def find(self, key_id: str) -> PreparedKey | None:
        """Return the key as it is now, None if it is unknown. Raise `Unavailable`."""
        fresh = self.is_fresh()
        if fresh:
            key = self._keys.get(key_id)
            if key is not None:
                return key
            until = self._unknown.get(key_id)
            if until is not None:
                if time.monotonic() >= until:
                    self._refresh_unknown(key_id)
                return None
        try:
            record = await (self._shared_load(key_id) if fresh else self._own_load(key_id))
        except Unavailable:
            return self._in_grace(key_id)
        if record is None:
            return None
        key = self._keys.get(key_id)
        return key if key is not None and key.record is record else PreparedKey(record)

    async def _own_load(self, key_id: str) -> KeyRecord | None:
        """Load the key after the request arrived, so that every change acknowledged before is seen."""
        if self._loads >= MAX_LOADS:
            raise Unavailable
        self._loads += 1
        try:
            return await self._load(key_id)
        finally:
            self._loads -= 1

    async def _shared_load(self, key_id: str) -> KeyRecord | None:
        """Load the key once for all waiting requests. If it changed meanwhile, each of them loads again."""
        load = self._loading.get(key_id)
        if load is None:
            load = self._loading[key_id] = asyncio.create_task(self._load_and_put(key_id))
        record, is_current = await asyncio.shield(load)
        return record if is_current else await self._own_load(key_id)

    def _refresh_unknown(self, key_id: str) -> None:
        """Look up an unknown key again in the background, at most one look-up at a time."""
        if key_id not in self._loading:
            refresh = self._loading[key_id] = asyncio.create_task(self._load_and_put(key_id))
            self._refreshes.add(
                refresh
            )  # the loop keeps no reference to a task, and `invalidate` drops this one
            refresh.add_done_callback(self._refresh_done)

    def _refresh_done(self, refresh: asyncio.Task[Any]) -> None:
        self._refreshes.discard(refresh)
        if not refresh.cancelled():
            refresh.exception()  # mark it as retrieved: no caller awaits this task

    async def _load_and_put(self, key_id: str) -> tuple[KeyRecord | None, bool]:
        """Load and cache a key. Return it, and whether it was not invalidated meanwhile."""
        task = asyncio.current_task()
        try:
            record = await self._own_load(key_id)
        finally:
            is_current = self._loading.get(key_id) is task
            if is_current:
                del self._loading[key_id]
        if is_current and record is not None:
            self.put(record)
        elif is_current:
            self._unknown.put(key_id, time.monotonic() + UNKNOWN_KEY_SECONDS)
        return record, is_current

    def _in_grace(self, key_id: str) -> PreparedKey | None:
        """Return the cached key while the database is unavailable, within the grace period. Raise `Unavailable`."""
        fresh_until = self._listener.fresh_until if self._listener is not None else 0.0
        key = self._keys.get(key_id)
        if key is None or time.monotonic() >= fresh_until + self._grace:
            raise Unavailable
        return key
