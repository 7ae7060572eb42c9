"""The gateways' tokens as a process knows them: read once, and again when the database says that they changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from apikeys.gateway.keycache.cache import Watch
from apikeys.models.gateway import bearer, digest_of

#: Headers that were found good; more than there are tokens, and bounded.
MOST_KNOWN = 1_000


class Tokens:
    """``load`` gives {digest: id} of the tokens that are good now; it raises `Unavailable`."""

    def __init__(self, load: Callable[[], Awaitable[dict[str, int]]]) -> None:
        self._load = load
        self._good: dict[str, int] | None = None
        self._generation = 0
        #: The whole header as sent, of gateways that were here before: looking it up is all that a request costs.
        self.known: dict[bytes, int] = {}
        #: Since the last write, by whatever way they were looked at.
        self.used: set[int] = set()
        self.watch: Watch | None = None

    def changed(self) -> None:
        self._good = None
        self._generation += 1
        self.known.clear()

    async def admit(self, header: str | None) -> bool:
        """Whether the token is good. Raises `Unavailable`."""
        token = bearer(header)
        if header is None or token is None:
            return False
        believed = self.watch is not None and self.watch.believed()
        good = self._good if believed else None
        if good is None:
            generation = self._generation
            good = await self._load()
            if believed and generation == self._generation:
                self._good = good
        number = good.get(digest_of(token))
        if number is None:
            return False
        self.used.add(number)
        if believed and self._good is good and len(self.known) < MOST_KNOWN:
            self.known[header.encode()] = number
        return True

    def was_good(self, header: str | None) -> bool:
        """Whether the token was good when the database was last heard of; for what is no yes to anybody's request."""
        number = None if header is None else self.known.get(header.encode())
        if number is None:
            return False
        self.used.add(number)
        return True

    def take_used(self) -> set[int]:
        """Those that were used since the last time."""
        used, self.used = self.used, set()
        return used
