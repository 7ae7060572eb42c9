"""Count allowed requests between two writes to the database. Bounded; holds statistics only, no security events."""

from __future__ import annotations

from collections.abc import Iterator

from apikeys.gateway.fastpath.prepared_key import PreparedKey
from apikeys.gateway.fastpath.query import QueryPattern
from apikeys.gateway.fastpath.rate_limits import Bucket
from apikeys.gateway.fastpath.verifiers import Verifier
from apikeys.usage.batch import MAX_ROWS, UsageRow
from apikeys.verification.records import KeyRecord


class UsageCounter:
    """Requests of one address with one key for one permission.

    ``count``: requests since the last write; ``skew_ms``: how far the client's clock is ahead.

    The other attributes are what the fast path needs for the next such request, in one object: the pattern of its query
    string, the time in which it is allowed (ms since 1970, the end excluded), the verifier of its signature, the rate
    limit buckets, and the header values of the 204 response.
    """

    __slots__ = (
        *("pattern", "valid_from_ms", "valid_until_ms", "verifier", "address_bucket", "key_bucket"),
        *("user", "permission_lines", "count", "skew_ms", "record"),
    )
    verifier: Verifier
    pattern: QueryPattern

    def __init__(self, record: KeyRecord) -> None:
        self.record = record
        self.user = self.permission_lines = b""
        self.valid_from_ms = self.valid_until_ms = self.count = 0
        self.skew_ms: int | None = None
        self.address_bucket: Bucket | None = None
        self.key_bucket: Bucket | None = None


class UsageCounters:
    """A `UsageCounter` for each (key, permission, address, credential).

    The counters are kept from write to write. Creating ten thousand of them each time delayed responses by 10 ms a
    second, and by 80 ms every few seconds for garbage collection.
    """

    def __init__(self) -> None:
        self._counters: dict[tuple[PreparedKey, str, str, int], UsageCounter] = {}

    def __len__(self) -> int:
        return len(self._counters)

    @property
    def is_full(self) -> bool:
        """Whether new addresses share one counter from now on."""
        return len(self._counters) >= MAX_ROWS

    def counter_for(
        self, key: PreparedKey, permission: str, address: str, credential_id: int
    ) -> UsageCounter:
        """Return the counter of such requests.

        When there are `MAX_ROWS` counters, return the shared one of all other addresses; when there are twice as many,
        a counter that is never written.
        """
        counter = self._counters.get((key, permission, address, credential_id))
        if counter is None and self.is_full:
            address = ""
            counter = self._counters.get((key, permission, address, credential_id))
        if counter is None:
            counter = UsageCounter(key.record)
            if len(self._counters) < 2 * MAX_ROWS:
                self._counters[key, permission, address, credential_id] = counter
        return counter

    def drain(self) -> Iterator[UsageRow]:
        """Yield what was counted since the last call; each counter starts again at 0 when it is yielded."""
        for (key, permission, address, credential), counter in list(self._counters.items()):
            if counter.count:
                row = key.record.key, permission, address, credential, counter.count, counter.skew_ms
                counter.count = 0
                yield row

    def clear(self) -> None:
        self._counters.clear()
