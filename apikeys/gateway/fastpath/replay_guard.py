"""Replay guard of one process: a signed request is allowed only once while it is fresh."""

from __future__ import annotations

from collections import deque

#: Maximum number of stored requests, each for about a minute. While it is full every request is rejected.
MAX_ENTRIES = 500_000


class ReplayGuard:
    """Allowed requests that are still fresh."""

    def __init__(self) -> None:
        self._expiries: dict[bytes, float] = {}
        self._order: deque[tuple[float, bytes]] = deque()

    def register(self, name: bytes, now: float, seconds: float) -> bool:
        """Store ``name`` for ``seconds`` from ``now`` (monotonic). Return False if it is stored already, or if full."""
        while self._order and self._order[0][0] <= now:
            _at, old = self._order.popleft()
            if self._expiries.get(old, 0.0) <= now:
                self._expiries.pop(old, None)
        if self._expiries.get(name, 0.0) > now or len(self._order) >= MAX_ENTRIES:
            return False
        # SECURITY: callers pass the longest lifetime of any request, not of this one, so that the queue is ordered by
        # time and expired entries are at its front.
        self._expiries[name] = now + seconds
        self._order.append((now + seconds, name))
        return True
