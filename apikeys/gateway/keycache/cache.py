"""The keys that a gateway process remembers, how far that can be believed, and what is asked of the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from apikeys.gateway.fastpath.lru import TwoGenerations
from apikeys.gateway.fastpath.prepared_key import Compiled
from apikeys.gateway.fastpath.usage_counters import Use
from apikeys.usage.batch import MOST_USES
from apikeys.verification.decision import KeyRecord

#: After so long it is asked anew whether a key is still unknown; sooner, if the database says that it was made.
UNKNOWN_SECONDS = 30.0
#: Questions to the database that may wait at a time; one more is refused, or memory would not be bounded. After a start
#: every key is asked for, some 1,000 a second: nobody waits for longer than ten.
MOST_LOADS = 10_000
ALL, TOKENS = "*", ""


class Unavailable(Exception):
    """Nobody can say now: 503, and nothing passes."""


class Watch(Protocol):
    """Knows whether memory can be believed."""

    def believed(self) -> bool: ...
    @property
    def until(self) -> float: ...
    async def run(self) -> None: ...


class Memory:
    """``load`` asks the database for a key (None: there is none) and raises `Unavailable`.

    ``size``: keys at most; ``grace``: seconds for which they are answered from while nobody can be asked.
    """

    def __init__(self, load: Callable[[str], Awaitable[KeyRecord | None]], size: int, grace: float) -> None:
        self._load = load
        self._grace = grace
        self._keys: TwoGenerations[Compiled] = TwoGenerations(size)
        self._unknown: TwoGenerations[float] = TwoGenerations(size)
        self._loading: dict[str, asyncio.Task[tuple[KeyRecord | None, bool]]] = {}
        self._loads = 0
        self._asking: set[asyncio.Task[Any]] = set()
        #: What keys are used for, by (public id, address, permission) as they are sent, a line each: the same again is
        #: decided from this alone, which lies in a third of the memory that the first time reads.
        self.hot: dict[bytes, Use] = {}
        self._hot_of: dict[str, list[bytes]] = {}
        self._watch: Watch | None = None
        #: Whether memory can be believed at this moment.
        self.believed: Callable[[], bool] = lambda: False
        self.tokens_changed: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def watch(self) -> Watch | None:
        return self._watch

    @watch.setter
    def watch(self, watch: Watch) -> None:
        # Asked at each request: without a call in between.
        self._watch, self.believed = watch, watch.believed

    def dropped(self, name: str) -> None:
        """The database says that the key ``name`` changed, or all, or the gateways' tokens."""
        if name in (ALL, TOKENS):
            self.tokens_changed()
        if name == ALL:
            self._keys.clear()
            self.cool()
            self._unknown.clear()
            self._loading.clear()
        elif name != TOKENS:
            self._keys.drop(name)
            for said in self._hot_of.pop(name, ()):
                self.hot.pop(said, None)
            self._unknown.drop(name)
            # What is being read may be older than the change: whoever waits for it asks again.
            self._loading.pop(name, None)

    def heat(self, name: str, said: bytes, use: Use) -> None:
        """Remembers what a key that is here is used for."""
        if len(self.hot) < MOST_USES and said not in self.hot:
            self.hot[said] = use
            self._hot_of.setdefault(name, []).append(said)

    def cool(self) -> None:
        """Forgets what keys are used for."""
        self.hot.clear()
        self._hot_of.clear()

    def keep(self, record: KeyRecord) -> None:
        """Remembers a key that was just read."""
        self._keys.put(record.key, Compiled(record))
        self._unknown.drop(record.key)

    def remembered(self, key_id: str) -> Compiled | None:
        """The key if it is here; whether that can be believed is another question."""
        return self._keys.get(key_id)

    def is_unknown(self, key_id: str) -> bool:
        """Whether it is remembered that there is no such key."""
        return self._unknown.get(key_id) is not None

    async def find(self, key_id: str) -> Compiled | None:
        """The key as it stands now. Raises `Unavailable`."""
        believed = self.believed()
        if believed:
            key = self._keys.get(key_id)
            if key is not None:
                return key
            until = self._unknown.get(key_id)
            if until is not None:
                if time.monotonic() >= until:
                    self._ask_again(key_id)
                return None
        try:
            record = await (self._shared_load(key_id) if believed else self._own_load(key_id))
        except Unavailable:
            return self._in_grace(key_id)
        if record is None:
            return None
        key = self._keys.get(key_id)
        return key if key is not None and key.record is record else Compiled(record)

    async def _own_load(self, key_id: str) -> KeyRecord | None:
        """A question that is asked after the request came: whatever was answered to an author before, it sees."""
        if self._loads >= MOST_LOADS:
            raise Unavailable
        self._loads += 1
        try:
            return await self._load(key_id)
        finally:
            self._loads -= 1

    async def _shared_load(self, key_id: str) -> KeyRecord | None:
        """One question, however many requests wait for it. When the key changed meanwhile, each asks anew."""
        waiting = self._loading.get(key_id)
        if waiting is None:
            waiting = self._loading[key_id] = asyncio.create_task(self._load_and_keep(key_id))
        record, kept = await asyncio.shield(waiting)
        return record if kept else await self._own_load(key_id)

    def _ask_again(self, key_id: str) -> None:
        """Whether it is still unknown, while nobody waits: a known key is asked for once, too."""
        if key_id not in self._loading:
            asking = self._loading[key_id] = asyncio.create_task(self._load_and_keep(key_id))
            self._asking.add(asking)  # the loop itself holds no task, and `dropped` lets go of this one
            asking.add_done_callback(self._asked)

    def _asked(self, asking: asyncio.Task[Any]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # nobody waits for it

    async def _load_and_keep(self, key_id: str) -> tuple[KeyRecord | None, bool]:
        mine = asyncio.current_task()
        try:
            record = await self._own_load(key_id)
        finally:
            kept = self._loading.get(key_id) is mine
            if kept:
                del self._loading[key_id]
        if kept and record is not None:
            self.keep(record)
        elif kept:
            self._unknown.put(key_id, time.monotonic() + UNKNOWN_SECONDS)
        return record, kept

    def _in_grace(self, key_id: str) -> Compiled | None:
        """While nobody can be asked: the key as it was last known, for as long as the operator allows."""
        lost = self._watch.until if self._watch is not None else 0.0
        key = self._keys.get(key_id)
        if key is None or time.monotonic() >= lost + self._grace:
            raise Unavailable
        return key
