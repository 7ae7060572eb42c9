"""Decides what gateways ask, from memory where that can be believed, else from the database."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from redis.exceptions import RedisError

from apikeys import networks, signing, verification
from apikeys.gateway.asks import LARGEST_PAYLOAD, Ask
from apikeys.gateway.cache import TwoGenerations
from apikeys.gateway.compiled import Compiled
from apikeys.gateway.limits import Buckets, Seen, SharedBuckets, SharedSeen
from apikeys.gateway.tally import Batch
from apikeys.outcomes import Outcome
from apikeys.verification import Decision, KeyRecord

logger = logging.getLogger("portal.gateway")
#: How long an unknown key is remembered as one; sooner, if the database says that it was made.
UNKNOWN_SECONDS = 30.0
#: The longest that a request can be fresh: recvWindow of 60 s, and 1 s ahead of the clock.
FRESH_SECONDS = 62.0
#: Questions to the database that may wait at a time; one more is refused, or memory would not be bounded.
MOST_LOADS = 1_000
ALL, TOKENS = "*", ""


class Unavailable(Exception):
    """Nobody can say now: 503, and nothing passes."""


class Watch(Protocol):
    """Knows whether memory can be believed."""

    def believed(self) -> bool: ...
    @property
    def until(self) -> float: ...
    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and the key if it passes. ``retry_after``: seconds, for `Outcome.RATE_LIMITED`."""

    decision: Decision
    record: KeyRecord | None = None
    retry_after: int = 0


@dataclass(slots=True)
class Limits:
    """Who counts what; None: nobody does."""

    rate_of_key: int
    rate_of_address: int
    keys: Buckets | SharedBuckets | None = None
    addresses: Buckets | SharedBuckets | None = None
    seen: Seen | SharedSeen | None = None


class Gatekeeper:
    """One a process, used in the thread of its event loop.

    ``load`` asks the database for a key (None: there is none) and raises `Unavailable`; ``first_use`` is told of a
    credential that signed for the first time, before that request passes.
    """

    def __init__(
        self,
        load: Callable[[str], Awaitable[KeyRecord | None]],
        first_use: Callable[[int], Awaitable[None]],
        limits: Limits,
        *,
        size: int,
        grace: float,
    ) -> None:
        self._load = load
        self._first_use = first_use
        self._limits = limits
        self._grace = grace
        self._keys: TwoGenerations[Compiled] = TwoGenerations(size)
        self._unknown: TwoGenerations[float] = TwoGenerations(size)
        self._loading: dict[str, asyncio.Task[tuple[KeyRecord | None, bool]]] = {}
        self._loads = 0
        self._addresses = limits.addresses if isinstance(limits.addresses, Buckets) else None
        self._holders = limits.keys if isinstance(limits.keys, Buckets) else None
        shared = isinstance(limits.addresses, SharedBuckets) or isinstance(limits.keys, SharedBuckets)
        self._quick = not shared and limits.seen is None
        self.watch: Watch | None = None
        self.tokens_changed: Callable[[], None] = lambda: None
        self.batch = Batch()

    def __len__(self) -> int:
        return len(self._keys)

    def dropped(self, name: str) -> None:
        """The database says that the key ``name`` changed, or all, or the gateways' tokens."""
        if name in (ALL, TOKENS):
            self.tokens_changed()
        if name == ALL:
            self._keys.clear()
            self._unknown.clear()
            self._loading.clear()
        elif name != TOKENS:
            self._keys.drop(name)
            self._unknown.drop(name)
            # What is being read may be older than the change: whoever waits for it asks again.
            self._loading.pop(name, None)

    def believed(self) -> bool:
        """Whether memory can be believed at this moment."""
        return self.watch is not None and self.watch.believed()

    def swift(self, api_key: str, query: str, client_ip: str, permission: str) -> KeyRecord | None:
        """The key when the request passes, without a question to anybody; None when `verdict` has to be asked."""
        # Belief first: asking may drop keys.
        if not self._quick or not self.believed() or len(query) > LARGEST_PAYLOAD:
            return None
        key = self._keys.young.get(api_key) or self._keys.get(api_key)
        if key is None:
            # SECURITY: an unknown key costs the work of a known one.
            if self._unknown.get(api_key) is not None:
                _NOBODY.passes(query, networks.number_of(client_ip), permission, time.time_ns() // 1_000_000)
            return None
        credential = key.passes(query, networks.number_of(client_ip), permission, time.time_ns() // 1_000_000)
        if not credential:
            return None
        now = time.monotonic()
        # `verdict` says which one it was, and how long to wait.
        if self._addresses is not None and self._addresses.take(client_ip, now):
            return None
        if self._holders is not None and self._holders.take(api_key, now):
            return None
        self.batch.use(key, permission, client_ip, credential)
        return key.record

    async def verdict(self, ask: Ask) -> Verdict:
        """The whole decision. Raises `Unavailable`."""
        address = ask.client_ip or ""
        wait = await _take(self._limits.addresses, address)
        if wait:
            return self._limited(ask, self._limits.rate_of_address, wait)
        if len(ask.query) + len(ask.body) > LARGEST_PAYLOAD:
            # It can't be read in time; which outcome it is matters less than that it is none.
            return Verdict(Decision(Outcome.SIGNATURE, 413, -1000, "The request is too large."))
        named = ask.api_key if ask.api_key is not None and verification.is_key_id(ask.api_key) else None
        key = None if named is None else await self._key(named)
        decision = verification.decide(
            key.record if key is not None else None,
            api_key=ask.api_key,
            query=ask.query,
            body=ask.body,
            client_ip=ask.client_ip,
            permission=ask.permission,
            now_ms=_now_ms(),
        )
        if key is None:
            self.batch.outcomes[decision.outcome] += 1
            return Verdict(decision)
        return await self._settle(ask, key, decision, address)

    async def _settle(self, ask: Ask, key: Compiled, decision: Decision, address: str) -> Verdict:
        """What a decision about a key that exists leaves behind, and what may still refuse it."""
        if decision.rightly_signed:
            # SECURITY: only what the key's holder signed counts against it, or a stranger could use up its rate.
            wait = await _take(self._limits.keys, key.record.key)
            if wait:
                return self._limited(ask, self._limits.rate_of_key, wait)
        if decision.allowed and not await self._is_first(ask, key):
            decision = Decision.of(Outcome.REPLAYED)
        if not decision.allowed:
            self.batch.outcomes[decision.outcome] += 1
            self.batch.refuse(key.record.key, decision, address, ask.permission)
            return Verdict(decision)
        credential = decision.credential_id or 0
        if any(known.id == credential and known.is_new for known in key.record.credentials):
            await self._first_use(credential)
        if decision.skew_ms is not None:
            key.skew_ms = decision.skew_ms
        self.batch.use(key, ask.permission, address, credential)
        return Verdict(decision, key.record)

    def _limited(self, ask: Ask, rate: int, wait: float) -> Verdict:
        decision = Decision.of(Outcome.RATE_LIMITED, str(rate), "1 MINUTE")
        self.batch.outcomes[decision.outcome] += 1
        if ask.api_key is not None and self._keys.get(ask.api_key) is not None:
            self.batch.refuse(ask.api_key, decision, ask.client_ip or "", ask.permission)
        return Verdict(decision, retry_after=math.ceil(wait))

    async def _is_first(self, ask: Ask, key: Compiled) -> bool:
        seen = self._limits.seen
        if seen is None:
            return True
        request = signing.parse(ask.query, ask.body)
        # Hex in either case is the same signature; base64 has one spelling.
        signature = request.signature.lower() if len(request.signature) == 64 else request.signature
        name = hashlib.sha256(key.record.key.encode() + b"\0" + signature).digest()
        if isinstance(seen, Seen):
            return seen.first(name, time.monotonic(), FRESH_SECONDS)
        return await _ask_valkey(seen.first(name, FRESH_SECONDS))

    async def _key(self, key_id: str) -> Compiled | None:
        """The key as it stands now. Raises `Unavailable`."""
        believed = self.believed()
        if believed:
            key = self._keys.get(key_id)
            if key is not None:
                return key
            until = self._unknown.get(key_id)
            if until is not None and time.monotonic() < until:
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

    async def _load_and_keep(self, key_id: str) -> tuple[KeyRecord | None, bool]:
        mine = asyncio.current_task()
        try:
            record = await self._own_load(key_id)
        finally:
            kept = self._loading.get(key_id) is mine
            if kept:
                del self._loading[key_id]
        if kept and record is not None:
            self._keys.put(key_id, Compiled(record))
        elif kept:
            self._unknown.put(key_id, time.monotonic() + UNKNOWN_SECONDS)
        return record, kept

    def _in_grace(self, key_id: str) -> Compiled | None:
        """While nobody can be asked: the key as it was last known, for as long as the operator allows."""
        lost = self.watch.until if self.watch is not None else 0.0
        key = self._keys.get(key_id)
        if key is None or time.monotonic() >= lost + self._grace:
            raise Unavailable
        return key


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _take(buckets: Buckets | SharedBuckets | None, name: str) -> float:
    if buckets is None:
        return 0.0
    if isinstance(buckets, Buckets):
        return buckets.take(name, time.monotonic())
    return await _ask_valkey(buckets.take(name))


Answer = TypeVar("Answer")


async def _ask_valkey(question: Awaitable[Answer]) -> Answer:
    try:
        return await question
    except (RedisError, OSError, TimeoutError) as error:
        logger.error("the gateway's limits can't be asked: %s", type(error).__name__)
        raise Unavailable from None


# For unknown keys: every permission, from everywhere, and a secret that nobody knows.
_NOBODY = Compiled(verification.nobody())
