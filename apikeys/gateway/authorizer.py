"""Authorize requests of gateways: from the key cache while it is fresh, otherwise from the database."""

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
from apikeys.gateway.fastpath.prepared_key import PreparedKey
from apikeys.gateway.fastpath.rate_limits import Bucket, Buckets
from apikeys.gateway.fastpath.replay_guard import ReplayGuard
from apikeys.gateway.fastpath.usage_counters import UsageCounter, UsageCounters
from apikeys.gateway.keycache.cache import KeyCache, Unavailable
from apikeys.gateway.requests import MAX_PAYLOAD_BYTES, AuthorizationRequest, Security
from apikeys.gateway.shared_limits import SharedBuckets, SharedReplayGuard
from apikeys.usage.batch import Batch
from apikeys.verification import decision as verification_decision
from apikeys.verification import networks, signing
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import DUMMY_KEY, KeyRecord

logger = logging.getLogger("portal.gateway")
#: Usage counters that are drained before the event loop handles requests again; they take 0.1 ms. With 500, one request
#: in a hundred (of 10,000 keys) arrived while counters were being drained.
COUNTERS_PER_SLICE = 100
#: The longest time for which a request can be fresh: a recvWindow of 60 s, and a clock that is 1 s ahead.
MAX_FRESH_SECONDS = 62.0
#: Behind a public id, the name of the rate of a key's requests without a signature. No public id contains a space.
UNSIGNED_RATE = " unsigned"


@dataclass(frozen=True, slots=True)
class AuthorizationResult:
    """A decision, and the key if the request is allowed for one. ``retry_after``: seconds, for `Outcome.RATE_LIMITED`.

    ``security``: what was checked; the key is None for an allowed request of `Security.NONE`.
    """

    decision: Decision
    record: KeyRecord | None = None
    retry_after: int = 0
    security: Security = Security.SIGNED


def rejected(status: int, msg: str) -> AuthorizationResult:
    """Return the result for a request that cannot be decided, with code -1000. It is not counted as an outcome."""
    return AuthorizationResult(Decision(Outcome.SIGNATURE, status, -1000, msg))


TOO_LARGE = rejected(413, "The request is too large.")


@dataclass(slots=True)
class RequestLimits:
    """Rates per minute and the objects that enforce them. A limit that is None is not enforced."""

    key_rate: int
    address_rate: int
    key_buckets: Buckets | SharedBuckets | None = None
    address_buckets: Buckets | SharedBuckets | None = None
    replay_guard: ReplayGuard | SharedReplayGuard | None = None


class Authorizer:
    """The authorizer of a process; only the thread of its event loop may use it.

    ``first_use`` is called with the id of a credential that signed for the first time, before that request is allowed.
    """

    def __init__(
        self,
        key_cache: KeyCache,
        first_use: Callable[[int], Awaitable[None]],
        limits: RequestLimits,
    ) -> None:
        self.key_cache = key_cache
        self._first_use = first_use
        self._limits = limits
        self._address_buckets = (
            limits.address_buckets if isinstance(limits.address_buckets, Buckets) else None
        )
        self._key_buckets = limits.key_buckets if isinstance(limits.key_buckets, Buckets) else None
        shared = isinstance(limits.address_buckets, SharedBuckets) or isinstance(
            limits.key_buckets, SharedBuckets
        )
        self._fast_path_enabled = not shared and limits.replay_guard is None
        self.batch = Batch()
        self._counters = UsageCounters()
        self._generation = 0

    def authorize_fast(
        self, api_key: bytes, query: bytes, client_ip: bytes, permission: bytes
    ) -> UsageCounter | None:
        """Return the usage counter of a signed request that is allowed. Return None if `authorize` has to decide.

        Makes no call to the database or to Valkey.
        """
        # Check freshness first: the check may evict entries.
        if not self._fast_path_enabled or not self.key_cache.is_fresh() or len(query) > MAX_PAYLOAD_BYTES:
            return None
        now_ms = time.time_ns() // 1_000_000
        # SECURITY: no part of a stored entry contains a line feed, so two different requests never have the same name.
        entry_name = b"\n".join((api_key, client_ip, permission))
        counter = self.key_cache.entries.get(entry_name)
        pattern = fastpath_query.NO_PATTERN if counter is None else counter.pattern
        request = fastpath_query.parse(query, now_ms, pattern)
        if request is None:
            return None
        now = time.monotonic()
        if counter is not None:
            address_bucket = counter.address_bucket
        else:
            # An address in another form (with a port, for example) has no bucket of its own: `authorize` parses it.
            if networks.address_number(client_ip.decode("latin-1")) is None:
                return None
            address_bucket = self._address_bucket(client_ip)
        # SECURITY: before anything else, as in `authorize`: above the rate, the response time reveals nothing, and no
        # further work is done.
        if address_bucket is not None and address_bucket.acquire(now):
            return None
        if counter is None:
            counter = self._check(entry_name, request, now_ms, address_bucket)
        elif not counter.verifier.verifies(request[0], request[1]):
            verifiers.pad_work(request[0], request[1], (counter.verifier,))
            counter = None
        elif not counter.valid_from_ms <= now_ms < counter.valid_until_ms:
            counter = None
        if counter is None or (counter.key_bucket is not None and counter.key_bucket.acquire(now)):
            if address_bucket is not None:
                address_bucket.release()  # `authorize` acquires it again
            return None
        counter.count += 1
        counter.skew_ms = request[2]
        return counter

    def _address_bucket(self, client_ip: bytes) -> Bucket | None:
        buckets = self._address_buckets
        return None if buckets is None else buckets.bucket_for(client_ip.decode("latin-1"))

    def _check(
        self,
        entry_name: bytes,
        request: fastpath_query.ParsedQuery,
        now_ms: int,
        address_bucket: Bucket | None,
    ) -> UsageCounter | None:
        """Check a request in full and return its usage counter, or None if it is not allowed.

        Until the counters are cleared, later requests of the same key, address and permission use the stored entry.
        """
        name, address, permission = entry_name.decode("latin-1").rsplit("\n", 2)
        key = self.key_cache.cached(name)
        if key is None:
            if self.key_cache.is_unknown(name):
                _PREPARED_DUMMY_KEY.find_verifier(
                    request, now_ms
                )  # SECURITY: the same work as for a known key
            return None
        verifier = key.find_verifier(request, now_ms)
        if verifier is None:
            return None
        validity = key.validity(address, permission, now_ms)
        if validity is None:
            return None
        counter = self._counters.counter_for(key, permission, address, verifier.credential_id)
        counter.verifier, counter.pattern = verifier, fastpath_query.pattern_for(request[0])
        counter.valid_from_ms = validity[0]
        counter.valid_until_ms = min(validity[1], verifier.retires_at_ms)
        counter.address_bucket = address_bucket
        counter.key_bucket = None if self._key_buckets is None else self._key_buckets.bucket_for(name)
        # An entry has one verifier and one address: it is not stored for a key with two live credentials, nor when the
        # counters are full and one counter stands for several addresses.
        if key.is_only_verifier(verifier, now_ms) and not self._counters.is_full:
            self.key_cache.store(name, entry_name, counter)
        return counter

    async def take_batch(self) -> Batch:
        """Return what was counted, and start the next batch. Requests are handled meanwhile."""
        batch, self.batch = self.batch, Batch()
        for row in self._counters.drain():
            batch.allowed.append(row)
            if len(batch.allowed) % COUNTERS_PER_SLICE == 0:
                await asyncio.sleep(0)
        local_buckets = (self._address_buckets, self._key_buckets)
        generation = sum(buckets.generation for buckets in local_buckets if buckets is not None)
        # SECURITY: an entry that keeps an evicted bucket would have a second allowance beside the bucket's successor.
        if (
            generation != self._generation
            or self._counters.is_full
            or 2 * len(batch.allowed) < len(self._counters)
        ):
            self._generation = generation
            batch.allowed += self._counters.drain()  # what was allowed meanwhile
            self._counters.clear()
            self.key_cache.clear_entries()
        return batch

    async def authorize(self, request: AuthorizationRequest) -> AuthorizationResult:
        """Decide in full. Raise `Unavailable` if neither the key cache nor the database can be used."""
        address = request.client_ip or ""
        wait = await _acquire(self._limits.address_buckets, address)
        if wait:
            return self._rate_limited(request, self._limits.address_rate, wait)
        if len(request.query) + len(request.body) > MAX_PAYLOAD_BYTES:
            return TOO_LARGE  # parsing it would take too long
        if request.security is Security.NONE:
            self.batch.outcomes[Outcome.ALLOWED] += 1
            return AuthorizationResult(Decision.of(Outcome.ALLOWED), security=Security.NONE)
        key = None
        if request.api_key is not None and verification_decision.is_key_id(request.api_key):
            key = await self.key_cache.find(request.api_key)
        if request.security is Security.KEY:
            return await self._authorize_without_signature(request, key, address)
        decision = verification_decision.decide(
            key.record if key is not None else None,
            api_key=request.api_key,
            query=request.query,
            body=request.body,
            client_ip=request.client_ip,
            permission=request.permission,
            now_ms=_now_ms(),
        )
        if key is None:
            self.batch.outcomes[decision.outcome] += 1
            return AuthorizationResult(decision)
        return await self._complete(request, key, decision, address)

    async def _complete(
        self, request: AuthorizationRequest, key: PreparedKey, decision: Decision, address: str
    ) -> AuthorizationResult:
        """Apply the key's rate limit and the replay guard to a decision about an existing key, and count it."""
        if decision.is_authentic:
            # SECURITY: only requests that the key's holder signed count, or others could use up its rate.
            wait = await _acquire(self._limits.key_buckets, key.record.key)
            if wait:
                return self._rate_limited(request, self._limits.key_rate, wait)
        if decision.allowed and not await self._passes_replay_guard(request, key):
            decision = Decision.of(Outcome.REPLAYED)
        if not decision.allowed:
            self.batch.outcomes[decision.outcome] += 1
            self.batch.add_rejection(key.record.key, decision, address, request.permission, request.line)
            return AuthorizationResult(decision)
        credential = decision.credential_id or 0
        if any(known.id == credential and known.is_new for known in key.record.credentials):
            await self._first_use(credential)
        counter = self._counters.counter_for(key, request.permission, address, credential)
        counter.count += 1
        counter.skew_ms = decision.skew_ms
        return AuthorizationResult(decision, key.record)

    async def _authorize_without_signature(
        self, request: AuthorizationRequest, key: PreparedKey | None, address: str
    ) -> AuthorizationResult:
        """Decide in full about a request that needs a live key and no signature, and count it."""
        decision = verification_decision.decide_without_signature(
            key.record if key is not None else None,
            api_key=request.api_key,
            client_ip=request.client_ip,
            permission=request.permission,
            now_ms=_now_ms(),
        )
        if key is not None and decision.allowed:
            # SECURITY: a rate of its own: whoever knows a public id could use up that of the holder's signed requests.
            wait = await _acquire(self._limits.key_buckets, key.record.key + UNSIGNED_RATE)
            if wait:
                return self._rate_limited(request, self._limits.key_rate, wait)
            # 0: no credential signed.
            self._counters.counter_for(key, request.permission, address, 0).count += 1
            return AuthorizationResult(decision, key.record, security=Security.KEY)
        self.batch.outcomes[decision.outcome] += 1
        if key is not None:
            self.batch.add_rejection(key.record.key, decision, address, request.permission, request.line)
        return AuthorizationResult(decision)

    def _rate_limited(self, request: AuthorizationRequest, rate: int, wait: float) -> AuthorizationResult:
        decision = Decision.of(Outcome.RATE_LIMITED, str(rate), "1 MINUTE")
        self.batch.outcomes[decision.outcome] += 1
        if request.api_key is not None and self.key_cache.cached(request.api_key) is not None:
            self.batch.add_rejection(
                request.api_key, decision, request.client_ip or "", request.permission, request.line
            )
        return AuthorizationResult(decision, retry_after=math.ceil(wait))

    async def _passes_replay_guard(self, request: AuthorizationRequest, key: PreparedKey) -> bool:
        """Return whether the request was not used before. Raise `Unavailable`."""
        guard = self._limits.replay_guard
        if guard is None:
            return True
        signature = signing.parse(request.query, request.body).signature
        # Hexadecimal digits of either case are the same signature; base64 has one spelling.
        signature = signature.lower() if len(signature) == 64 else signature
        name = hashlib.sha256(key.record.key.encode() + b"\0" + signature).digest()
        if isinstance(guard, ReplayGuard):
            return guard.register(name, time.monotonic(), MAX_FRESH_SECONDS)
        return await _call_valkey(guard.register(name, MAX_FRESH_SECONDS))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _acquire(buckets: Buckets | SharedBuckets | None, name: str) -> float:
    """Return 0, or the seconds until the next request of ``name`` is allowed. Raise `Unavailable`."""
    if buckets is None:
        return 0.0
    if isinstance(buckets, Buckets):
        return buckets.bucket_for(name).acquire(time.monotonic())
    return await _call_valkey(buckets.acquire(name))


Result = TypeVar("Result")


async def _call_valkey(call: Awaitable[Result]) -> Result:
    try:
        return await call
    except (RedisError, OSError, TimeoutError) as error:
        logger.error("rate limits and replay guard unavailable (Valkey): %s", type(error).__name__)
        raise Unavailable from None


_PREPARED_DUMMY_KEY = PreparedKey(DUMMY_KEY)
