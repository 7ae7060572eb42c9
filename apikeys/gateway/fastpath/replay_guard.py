"""Remember signed requests that passed, so that each passes once while it is fresh. For one process."""

from __future__ import annotations

from collections import deque

#: Requests that the guard remembers, each for at most 60 s. When it is full nothing passes.
MOST_SEEN = 500_000


class ReplayGuard:
    """Requests that passed and are still fresh."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}
        self._order: deque[tuple[float, bytes]] = deque()

    def first(self, name: bytes, now: float, seconds: float) -> bool:
        """Return whether ``name`` is new, and remember it for ``seconds``."""
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
