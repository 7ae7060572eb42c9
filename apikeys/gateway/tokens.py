"""Cache of the gateway tokens in a process: loaded once, and again after the database reported a change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from apikeys.gateway.keycache.cache import InvalidationListener
from apikeys.models.tokens import bearer, digest_of

#: Maximum number of cached Authorization headers; more than there are tokens.
MAX_KNOWN_HEADERS = 1_000


class TokenCache:
    """Valid tokens; ``load`` returns {digest: id} of the tokens that are valid now, and raises `Unavailable`."""

    def __init__(self, load: Callable[[], Awaitable[dict[str, int]]]) -> None:
        self._load = load
        self._valid: dict[str, int] | None = None
        self._generation = 0
        #: Token ids by the whole Authorization header as sent: one look-up for a header that was valid before.
        self.known_headers: dict[bytes, int] = {}
        #: Ids of tokens that were used since the last write.
        self.used_ids: set[int] = set()
        self.listener: InvalidationListener | None = None

    def invalidate(self) -> None:
        """Forget the tokens: the listener reported a change."""
        self._valid = None
        self._generation += 1
        self.known_headers.clear()

    async def is_valid(self, header: str | None) -> bool:
        """Return whether the token in an Authorization header is valid. Raise `Unavailable`."""
        token = bearer(header)
        if header is None or token is None:
            return False
        fresh = self.listener is not None and self.listener.is_fresh()
        valid = self._valid if fresh else None
        if valid is None:
            generation = self._generation
            valid = await self._load()
            if fresh and generation == self._generation:
                self._valid = valid
        number = valid.get(digest_of(token))
        if number is None:
            return False
        self.used_ids.add(number)
        if fresh and self._valid is valid and len(self.known_headers) < MAX_KNOWN_HEADERS:
            self.known_headers[header.encode()] = number
        return True

    def was_valid(self, header: str | None) -> bool:
        """Return whether the token was valid when it was last checked. Must not be used to allow a client's request."""
        number = None if header is None else self.known_headers.get(header.encode())
        if number is None:
            return False
        self.used_ids.add(number)
        return True

    def take_used_ids(self) -> set[int]:
        """Return the ids used since the last call."""
        used, self.used_ids = self.used_ids, set()
        return used
