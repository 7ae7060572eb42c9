"""Decides what gateways ask, from memory where that can be believed, else from the database."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from redis.exceptions import RedisError

from apikeys.gateway.fastpath import query as fastpath_query
from apikeys.gateway.fastpath import verifiers
from apikeys.gateway.fastpath.prepared_key import Compiled
from apikeys.gateway.fastpath.rate_limits import Bucket, Buckets
from apikeys.gateway.fastpath.replay_guard import ReplayGuard
from apikeys.gateway.fastpath.usage_counters import Use, Uses
from apikeys.gateway.keycache.cache import Memory, Unavailable
from apikeys.gateway.requests import LARGEST_PAYLOAD, Ask
from apikeys.gateway.shared_limits import SharedBuckets, SharedReplayGuard
from apikeys.usage.batch import Batch
from apikeys.verification import decision as verification_decision
from apikeys.verification import networks, signing
from apikeys.verification.decision import Decision, KeyRecord
from apikeys.verification.outcomes import Outcome

logger = logging.getLogger("portal.gateway")
#: Uses that are counted off before answers have their turn: 0.1 ms. At 500, of 10,000 keys one request in a hundred
#: came while that went on.
AT_ONCE = 100
#: The longest that a request can be fresh: recvWindow of 60 s, and 1 s ahead of the clock.
FRESH_SECONDS = 62.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and the key if it passes. ``retry_after``: seconds, for `Outcome.RATE_LIMITED`."""

    decision: Decision
    record: KeyRecord | None = None
    retry_after: int = 0


@dataclass(slots=True)
class Limits:
    """Who counts what; None: nobody does."""

    rate_of_key: int
    rate_of_address: int
    keys: Buckets | SharedBuckets | None = None
    addresses: Buckets | SharedBuckets | None = None
    seen: ReplayGuard | SharedReplayGuard | None = None


class Gatekeeper:
    """One a process, used in the thread of its event loop.

    ``first_use`` is told of a credential that signed for the first time, before that request passes.
    """

    def __init__(
        self,
        memory: Memory,
        first_use: Callable[[int], Awaitable[None]],
        limits: Limits,
    ) -> None:
        self.memory = memory
        self._first_use = first_use
        self._limits = limits
        self._addresses = limits.addresses if isinstance(limits.addresses, Buckets) else None
        self._holders = limits.keys if isinstance(limits.keys, Buckets) else None
        shared = isinstance(limits.addresses, SharedBuckets) or isinstance(limits.keys, SharedBuckets)
        self._quick = not shared and limits.seen is None
        self.batch = Batch()
        self._uses = Uses()
        self._turns = 0

    def swift(self, api_key: bytes, query: bytes, client_ip: bytes, permission: bytes) -> Use | None:
        """What the request uses when it passes, without a question to anybody; None when `verdict` has to be asked."""
        # Belief first: asking may drop keys.
        if not self._quick or not self.memory.believed() or len(query) > LARGEST_PAYLOAD:
            return None
        now_ms = time.time_ns() // 1_000_000
        # SECURITY: no part of a use that is remembered has a line feed; so nothing else is the same when joined.
        said = b"\n".join((api_key, client_ip, permission))
        use = self.memory.hot.get(said)
        request = fastpath_query.read(query, now_ms, fastpath_query.NO_SHAPE if use is None else use.shape)
        if request is None:
            return None
        now = time.monotonic()
        if use is not None:
            of_address = use.of_address
        else:
            # What is no plain address (with a port, say) has no bucket of its own: `verdict` reads it.
            if networks.number_of(client_ip.decode("latin-1")) is None:
                return None
            of_address = self._bucket_of(client_ip)
        # SECURITY: first, as in `verdict`: whoever asks too often learns nothing by the time, and costs nothing more.
        if of_address is not None and of_address.take(now):
            return None
        if use is None:
            use = self._look(said, request, now_ms, of_address)
        elif not use.signer.verifies(request[0], request[1]):
            verifiers.work_as_for_any_key(request[0], request[1], (use.signer,))
            use = None
        elif not use.since_ms <= now_ms < use.until_ms:
            use = None
        if use is None or (use.of_key is not None and use.of_key.take(now)):
            if of_address is not None:
                of_address.give_back()  # `verdict` takes it again
            return None
        use.count += 1
        use.skew_ms = request[2]
        return use

    def _bucket_of(self, client_ip: bytes) -> Bucket | None:
        return None if self._addresses is None else self._addresses.of(client_ip.decode("latin-1"))

    def _look(
        self, said: bytes, request: fastpath_query.Read, now_ms: int, of_address: Bucket | None
    ) -> Use | None:
        """What a request uses, if it may: looked at whole, once for all that are alike until the next write."""
        name, address, permission = said.decode("latin-1").rsplit("\n", 2)
        key = self.memory.remembered(name)
        if key is None:
            if self.memory.is_unknown(name):
                _NOBODY.signed_by(request, now_ms)  # SECURITY: it costs the work of a known one
            return None
        signer = key.signed_by(request, now_ms)
        if signer is None:
            return None
        span = key.span(address, permission, now_ms)
        if span is None:
            return None
        use = self._uses.of(key, permission, address, signer.number)
        use.signer, use.shape = signer, fastpath_query.shape_of(request[0])
        use.since_ms, use.until_ms = span[0], min(span[1], signer.retires_at_ms)
        use.of_address = of_address
        use.of_key = None if self._holders is None else self._holders.of(name)
        # Of two credentials one would answer for the other's requests; a use of several addresses for all of them.
        if key.has_only(signer, now_ms) and not self._uses.is_full:
            self.memory.heat(name, said, use)
        return use

    async def take_batch(self) -> Batch:
        """What was counted, to be written; from now on the next batch counts. Answers go on meanwhile."""
        batch, self.batch = self.batch, Batch()
        for use in self._uses.take():
            batch.uses.append(use)
            if len(batch.uses) % AT_ONCE == 0:
                await asyncio.sleep(0)
        turns = sum(buckets.turns for buckets in (self._addresses, self._holders) if buckets is not None)
        # SECURITY: who goes on to take from a bucket that is forgotten has a second one beside it.
        if turns != self._turns or self._uses.is_full or 2 * len(batch.uses) < len(self._uses):
            self._turns = turns
            batch.uses += self._uses.take()  # what passed meanwhile
            self._uses.clear()
            self.memory.cool()
        return batch

    async def verdict(self, ask: Ask) -> Verdict:
        """The whole decision. Raises `Unavailable`."""
        address = ask.client_ip or ""
        wait = await _take(self._limits.addresses, address)
        if wait:
            return self._limited(ask, self._limits.rate_of_address, wait)
        if len(ask.query) + len(ask.body) > LARGEST_PAYLOAD:
            # It can't be read in time; which outcome it is matters less than that it is none.
            return Verdict(Decision(Outcome.SIGNATURE, 413, -1000, "The request is too large."))
        named = (
            ask.api_key if ask.api_key is not None and verification_decision.is_key_id(ask.api_key) else None
        )
        key = None if named is None else await self.memory.find(named)
        decision = verification_decision.decide(
            key.record if key is not None else None,
            api_key=ask.api_key,
            query=ask.query,
            body=ask.body,
            client_ip=ask.client_ip,
            permission=ask.permission,
            now_ms=_now_ms(),
        )
        if key is None:
            self.batch.outcomes[decision.outcome] += 1
            return Verdict(decision)
        return await self._settle(ask, key, decision, address)

    async def _settle(self, ask: Ask, key: Compiled, decision: Decision, address: str) -> Verdict:
        """What a decision about a key that exists leaves behind, and what may still refuse it."""
        if decision.rightly_signed:
            # SECURITY: only what the key's holder signed counts against it, or a stranger could use up its rate.
            wait = await _take(self._limits.keys, key.record.key)
            if wait:
                return self._limited(ask, self._limits.rate_of_key, wait)
        if decision.allowed and not await self._is_first(ask, key):
            decision = Decision.of(Outcome.REPLAYED)
        if not decision.allowed:
            self.batch.outcomes[decision.outcome] += 1
            self.batch.refuse(key.record.key, decision, address, ask.permission)
            return Verdict(decision)
        credential = decision.credential_id or 0
        if any(known.id == credential and known.is_new for known in key.record.credentials):
            await self._first_use(credential)
        use = self._uses.of(key, ask.permission, address, credential)
        use.count += 1
        use.skew_ms = decision.skew_ms
        return Verdict(decision, key.record)

    def _limited(self, ask: Ask, rate: int, wait: float) -> Verdict:
        decision = Decision.of(Outcome.RATE_LIMITED, str(rate), "1 MINUTE")
        self.batch.outcomes[decision.outcome] += 1
        if ask.api_key is not None and self.memory.remembered(ask.api_key) is not None:
            self.batch.refuse(ask.api_key, decision, ask.client_ip or "", ask.permission)
        return Verdict(decision, retry_after=math.ceil(wait))

    async def _is_first(self, ask: Ask, key: Compiled) -> bool:
        seen = self._limits.seen
        if seen is None:
            return True
        request = signing.parse(ask.query, ask.body)
        # Hex in either case is the same signature; base64 has one spelling.
        signature = request.signature.lower() if len(request.signature) == 64 else request.signature
        name = hashlib.sha256(key.record.key.encode() + b"\0" + signature).digest()
        if isinstance(seen, ReplayGuard):
            return seen.first(name, time.monotonic(), FRESH_SECONDS)
        return await _ask_valkey(seen.first(name, FRESH_SECONDS))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _take(buckets: Buckets | SharedBuckets | None, name: str) -> float:
    if buckets is None:
        return 0.0
    if isinstance(buckets, Buckets):
        return buckets.of(name).take(time.monotonic())
    return await _ask_valkey(buckets.take(name))


Answer = TypeVar("Answer")


async def _ask_valkey(question: Awaitable[Answer]) -> Answer:
    try:
        return await question
    except (RedisError, OSError, TimeoutError) as error:
        logger.error("the gateway's limits can't be asked: %s", type(error).__name__)
        raise Unavailable from None


_NOBODY = Compiled(verification_decision.NOBODY)
