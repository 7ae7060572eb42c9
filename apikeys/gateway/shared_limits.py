"""Rate limits and the replay guard in Valkey, for all gateway processes together."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis

from apikeys.gateway.fastpath.rate_limits import PERIOD_SECONDS


class SharedBuckets:
    """Like `fastpath.rate_limits.Buckets`, in Valkey and by its clock."""

    _SCRIPT = """
        local time = redis.call('TIME')
        local now = time[1] + time[2] / 1000000
        local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + tonumber(ARGV[1])
        if full - now > 60 then return tostring(full - now - 60) end
        redis.call('SET', KEYS[1], string.format('%.6f', full), 'PX', 61000)
        return '0'
    """

    def __init__(self, redis: Redis, kind: str, rate: int) -> None:
        self._run_script = redis.register_script(self._SCRIPT)
        self._prefix = f"gateway:{kind}:"
        self._step = PERIOD_SECONDS / rate

    async def acquire(self, name: str) -> float:
        """Like `Bucket.acquire`. Raise `redis.RedisError`; the caller then answers 503."""
        return float(await self._run_script(keys=[self._prefix + name], args=[self._step]))


class SharedReplayGuard:
    """Like `fastpath.replay_guard.ReplayGuard`, in Valkey."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def register(self, name: bytes, seconds: float) -> bool:
        """Like `ReplayGuard.register`. Raise `redis.RedisError`."""
        reply = self._redis.set(b"gateway:seen:" + name, 1, nx=True, px=int(seconds * 1000))
        return bool(await cast(Awaitable[Any], reply))
