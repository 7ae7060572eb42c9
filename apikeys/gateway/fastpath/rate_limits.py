"""How often a key or an address may ask, and the guard against a second use of one request.

In this process (`Buckets`, `Seen`) or in Valkey, exact over all processes (`SharedBuckets`, `SharedSeen`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis

from apikeys.gateway.fastpath.lru import TwoGenerations

MINUTE = 60.0
#: Keys and addresses that are counted at a time; a hundred thousand take some 20 MB.
MOST_BUCKETS = 100_000
#: Requests that the guard remembers, each for at most 60 s. When it is full nothing passes.
MOST_SEEN = 500_000


class Bucket:
    """A token bucket of a minute, kept as the time at which it would be full again (GCRA, ITU-T I.371)."""

    __slots__ = ("_full", "_step")

    def __init__(self, step: float) -> None:
        self._step = step
        self._full = 0.0

    def take(self, now: float) -> float:
        """Takes a token at ``now`` (s, any clock that only goes on). 0, or how many seconds until there is one."""
        full = self._full
        full = (full if full > now else now) + self._step
        if full - now > MINUTE:
            return full - now - MINUTE
        self._full = full
        return 0.0

    def give_back(self) -> None:
        """The token that was taken last."""
        self._full -= self._step


class Buckets:
    """One of ``rate`` a minute for each name."""

    __slots__ = ("_buckets", "_step")

    def __init__(self, rate: int) -> None:
        self._step = MINUTE / rate
        self._buckets: TwoGenerations[Bucket] = TwoGenerations(MOST_BUCKETS)

    @property
    def turns(self) -> int:
        """Another number when buckets may have gone that somebody holds on to."""
        return self._buckets.turns

    def of(self, name: str) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = Bucket(self._step)
            self._buckets.put(name, bucket)
        return bucket


class SharedBuckets:
    """The same in Valkey, with its clock."""

    _TAKE = """
        local time = redis.call('TIME')
        local now = time[1] + time[2] / 1000000
        local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + tonumber(ARGV[1])
        if full - now > 60 then return tostring(full - now - 60) end
        redis.call('SET', KEYS[1], string.format('%.6f', full), 'PX', 61000)
        return '0'
    """

    def __init__(self, redis: Redis, kind: str, rate: int) -> None:
        self._take = redis.register_script(self._TAKE)
        self._prefix = f"gateway:{kind}:"
        self._step = MINUTE / rate

    async def take(self, name: str) -> float:
        """As `Bucket.take`. Raises `redis.RedisError`: whoever asks then refuses."""
        return float(await self._take(keys=[self._prefix + name], args=[self._step]))


class Seen:
    """The requests that passed and are still fresh."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}
        self._order: deque[tuple[float, bytes]] = deque()

    def first(self, name: bytes, now: float, seconds: float) -> bool:
        """Whether this is its first use; remembers it for ``seconds``."""
        while self._order and self._order[0][0] <= now:
            _at, old = self._order.popleft()
            if self._until.get(old, 0.0) <= now:
                self._until.pop(old, None)
        if self._until.get(name, 0.0) > now or len(self._order) >= MOST_SEEN:
            return False
        # SECURITY: the longest life of a request, not this one's: in order of time the oldest are found at the front.
        self._until[name] = now + seconds
        self._order.append((now + seconds, name))
        return True


class SharedSeen:
    """The same in Valkey, for all processes together."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def first(self, name: bytes, seconds: float) -> bool:
        """As `Seen.first`. Raises `redis.RedisError`."""
        answer = self._redis.set(b"gateway:seen:" + name, 1, nx=True, px=int(seconds * 1000))
        return bool(await cast(Awaitable[Any], answer))
