"""How often a key or an address may ask, and the guard against a second use of one request.

In this process (`Buckets`, `Seen`) or in Valkey, exact over all processes (`SharedBuckets`, `SharedSeen`).
"""

from __future__ import annotations

from apikeys.gateway.fastpath.lru import TwoGenerations

MINUTE = 60.0
#: Keys and addresses that are counted at a time; a hundred thousand take some 20 MB.
MOST_BUCKETS = 100_000


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
