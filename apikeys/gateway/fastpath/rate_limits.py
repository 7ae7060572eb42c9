"""Rate limits of keys and addresses in one process; `shared_limits` has those in Valkey, for all processes."""

from __future__ import annotations

from apikeys.gateway.fastpath.lru import GenerationalCache

PERIOD_SECONDS = 60.0
#: Maximum number of buckets of each kind; a hundred thousand take some 20 MB.
MAX_BUCKETS = 100_000


class Bucket:
    """A token bucket of one minute, stored as the time at which it would be full again (GCRA, ITU-T I.371)."""

    __slots__ = ("_full", "_step")

    def __init__(self, step: float) -> None:
        self._step = step
        self._full = 0.0

    def acquire(self, now: float) -> float:
        """Take a token at ``now`` (seconds of a monotonic clock). Return 0, or the seconds until there is one."""
        full = self._full
        full = (full if full > now else now) + self._step
        if full - now > PERIOD_SECONDS:
            return full - now - PERIOD_SECONDS
        self._full = full
        return 0.0

    def release(self) -> None:
        """Give back the token that was acquired last."""
        self._full -= self._step


class Buckets:
    """A bucket of ``rate`` requests a minute for each name."""

    __slots__ = ("_buckets", "_step")

    def __init__(self, rate: int) -> None:
        self._step = PERIOD_SECONDS / rate
        self._buckets: GenerationalCache[Bucket] = GenerationalCache(MAX_BUCKETS)

    @property
    def generation(self) -> int:
        """A number that changes when buckets that are still referenced may have been evicted."""
        return self._buckets.generation

    def bucket_for(self, name: str) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = Bucket(self._step)
            self._buckets.put(name, bucket)
        return bucket
