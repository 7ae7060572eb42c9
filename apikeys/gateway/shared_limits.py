"""Rate limits and the replay guard in Valkey, for all gateway processes together."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis

from apikeys.gateway.fastpath.rate_limits import MINUTE


class SharedBuckets:
    """As `fastpath.rate_limits.Buckets`, by the clock of Valkey."""

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
        """As `Bucket.take`. Raise `redis.RedisError`; the caller then refuses."""
        return float(await self._take(keys=[self._prefix + name], args=[self._step]))


class SharedReplayGuard:
    """As `fastpath.replay_guard.ReplayGuard`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def first(self, name: bytes, seconds: float) -> bool:
        """As `ReplayGuard.first`. Raise `redis.RedisError`."""
        answer = self._redis.set(b"gateway:seen:" + name, 1, nx=True, px=int(seconds * 1000))
        return bool(await cast(Awaitable[Any], answer))
