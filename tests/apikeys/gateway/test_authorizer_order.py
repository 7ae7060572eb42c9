"""The full decision: the order of its steps, and what each outcome counts, stores and reports."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from apikeys.gateway import authorizer as gateway_authorizer
from apikeys.gateway.authorizer import AuthorizationResult, Authorizer, RequestLimits
from apikeys.gateway.fastpath.rate_limits import Bucket, Buckets
from apikeys.gateway.fastpath.replay_guard import ReplayGuard
from apikeys.gateway.keycache.cache import KeyCache, Unavailable
from apikeys.gateway.requests import MAX_PAYLOAD_BYTES, AuthorizationRequest
from apikeys.gateway.shared_limits import SharedBuckets, SharedReplayGuard
from apikeys.usage.batch import UsageRow
from apikeys.verification import signing
from apikeys.verification.networks import compile_networks
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind
from tests.support.event_loops import StubListener, run_in_thread
from tests.support.one_defect import (
    KEY,
    LISTED,
    NOW,
    UNLISTED,
    CredentialDraft,
    RequestDraft,
    percent,
    signing_key,
)
from tests.support.servers import free_port

OTHER = "o" * 64
RECORD = KeyRecord(
    user="7",
    key=KEY,
    active=True,
    owner_active=True,
    expires_at_ms=None,
    permissions=frozenset({"read"}),
    restricted=True,
    networks=compile_networks(["203.0.113.0/24"]),
    credentials=(CredentialRecord(5, Kind.HMAC, signing_key(Kind.HMAC).material),),
)
TOO_MANY = "Too many requests; current limit is 2 requests per 1 MINUTE."


class Clock:
    """Replaces the module `time` in the authorizer; ``ms`` since 1970."""

    def __init__(self) -> None:
        self.ms = float(NOW)

    def time_ns(self) -> int:
        return int(self.ms) * 1_000_000

    def monotonic(self) -> float:
        return self.ms / 1000


class RecordingBuckets(Buckets):
    def __init__(self, rate: int, what: str, events: list[str]) -> None:
        super().__init__(rate)
        self._what, self._events = what, events

    def bucket_for(self, name: str) -> Bucket:
        self._events.append(f"{self._what} {name}")
        return super().bucket_for(name)


class RecordingReplayGuard(ReplayGuard):
    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self._events = events

    def register(self, name: bytes, now: float, seconds: float) -> bool:
        self._events.append("guard")
        return super().register(name, now, seconds)


class AuthorizerHarness:
    """An authorizer with both limits and the replay guard; ``events`` lists its steps in order."""

    def __init__(self, *records: KeyRecord, of_key: int = 10**6, of_address: int = 10**6) -> None:
        self.events: list[str] = []
        self.records = {record.key: record for record in records or (RECORD,)}
        self.first_use_fails = False
        self.limits = RequestLimits(
            of_key,
            of_address,
            RecordingBuckets(of_key, "rate of key", self.events),
            RecordingBuckets(of_address, "rate of address", self.events),
            RecordingReplayGuard(self.events),
        )
        self.authorizer = Authorizer(KeyCache(self._load, 9, 0), self._first_use, self.limits)
        self.authorizer.key_cache.listener = StubListener()

    async def _load(self, key_id: str) -> KeyRecord | None:
        self.events.append("database")
        return self.records.get(key_id)

    async def _first_use(self, credential: int) -> None:
        self.events.append(f"first use of {credential}")
        if self.first_use_fails:
            raise Unavailable

    async def ask(self, query: str, **changed: Any) -> AuthorizationResult:
        fields: dict[str, Any] = {
            "api_key": KEY,
            "body": b"",
            "client_ip": LISTED,
            "permission": "read",
        } | changed
        return await self.authorizer.authorize(AuthorizationRequest(query=query.encode(), **fields))

    async def outcome(self, query: str, **changed: Any) -> Outcome:
        return (await self.ask(query, **changed)).decision.outcome

    async def left(self) -> tuple[dict[str, int], dict[tuple[str, str, str], int], list[Any], list[UsageRow]]:
        """Return the content of the batch: outcomes, rejections by key, rejections in full, and uses."""
        batch = await self.authorizer.take_batch()
        whole = [
            (one.key_id, one.decision.outcome.value, one.address, one.permission)
            for one in batch.rejected_requests
        ]
        outcomes = {outcome.value: count for outcome, count in batch.outcomes.items()}
        return outcomes, dict(batch.rejections), whole, batch.allowed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(
        gateway_authorizer, "time", SimpleNamespace(time_ns=clock.time_ns, monotonic=clock.monotonic)
    )
    return clock


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Append each verification of a signature to the lists in it."""
    lists: list[list[str]] = []
    real = signing.verify

    def verify(*arguments: Any) -> bool:
        for events in lists:
            events.append("signature")
        return real(*arguments)

    monkeypatch.setattr(signing, "verify", verify)
    return lists


def signed(number: int = 0, by: Kind = Kind.HMAC, *, secret: int = 0, stamp: int = NOW) -> str:
    draft = RequestDraft("read", pieces=[f"number={number}", "recvWindow=60000", f"timestamp={stamp}"])
    draft.credential = CredentialDraft(signing_key(by, secret), 5)
    if by is Kind.HMAC:
        draft.spelled = bytes.decode
    return draft.query()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario()

    run_in_thread(whole())


ADDRESS_RATE, KEY_RATE = f"rate of address {LISTED}", f"rate of key {KEY}"
UNSIGNED = [ADDRESS_RATE, "database", "signature"]
SIGNED = [*UNSIGNED, KEY_RATE]
#: Query, changes, outcome, steps in order, and whether the rejection is counted for the key's owner.
TABLE: dict[str, tuple[str, dict[str, Any], Outcome, list[str], bool]] = {
    "allowed": (signed(), {}, Outcome.ALLOWED, [*SIGNED, "guard"], False),
    "no address": (
        *(signed(), {"client_ip": None}, Outcome.ADDRESS_REFUSED),
        *(["rate of address ", "database", "signature", KEY_RATE], True),
    ),
    "another address": (
        *(signed(), {"client_ip": UNLISTED}, Outcome.ADDRESS_REFUSED),
        *([f"rate of address {UNLISTED}", "database", "signature", KEY_RATE], True),
    ),
    "malformed key": (signed(), {"api_key": "short"}, Outcome.KEY_MALFORMED, [ADDRESS_RATE], False),
    "no key": (signed(), {"api_key": None}, Outcome.KEY_MALFORMED, [ADDRESS_RATE], False),
    "unknown key": (signed(), {"api_key": OTHER}, Outcome.KEY_UNKNOWN, UNSIGNED, False),
    "another secret": (signed(secret=1), {}, Outcome.SIGNATURE, UNSIGNED, True),
    "body beside": (signed(), {"body": b"a=1"}, Outcome.SIGNATURE, UNSIGNED, True),
    "stale": (signed(stamp=NOW - 60_001), {}, Outcome.STALE, UNSIGNED, True),
    "ahead": (signed(stamp=NOW + 1000), {}, Outcome.AHEAD, UNSIGNED, True),
    "unreadable": ("a=1", {}, Outcome.PARAMETER_MISSING, UNSIGNED[:2], True),
    "no permission": (signed(), {"permission": "trade"}, Outcome.PERMISSION, SIGNED, True),
}


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("case", TABLE)
def test_steps_of_each_outcome_happen_in_order_and_are_counted(case: str, checked: list[list[str]]) -> None:
    query, changed, outcome, events, owner = TABLE[case]

    async def scenario() -> None:
        harness = AuthorizerHarness()
        checked.append(harness.events)
        result = await harness.ask(query, **changed)
        assert result.decision.outcome is outcome
        assert harness.events == events
        assert (result.record is RECORD) is (outcome is Outcome.ALLOWED)
        assert result.retry_after == 0
        permission, address = changed.get("permission", "read"), changed.get("client_ip", LISTED) or ""
        outcomes, refusals, whole, uses = await harness.left()
        assert outcomes == ({} if outcome is Outcome.ALLOWED else {outcome.value: 1})
        assert refusals == ({(KEY, outcome.value, permission): 1} if owner else {})
        assert whole == ([(KEY, outcome.value, address, permission)] if owner else [])
        assert uses == ([(KEY, "read", LISTED, 5, 1, 0)] if outcome is Outcome.ALLOWED else [])

    run(scenario)


@pytest.mark.usefixtures("clock")
def test_address_limit_is_checked_before_anything_else(checked: list[list[str]]) -> None:
    async def scenario() -> None:
        harness = AuthorizerHarness(of_address=2)
        checked.append(harness.events)
        assert [await harness.outcome(signed(number)) for number in range(2)] == [Outcome.ALLOWED] * 2
        harness.events.clear()
        result = await harness.ask(signed(3))
        assert harness.events == [ADDRESS_RATE]
        assert (result.decision.status, result.decision.code, result.decision.msg) == (
            429,
            -1003,
            TOO_MANY,
        )
        assert (result.record, result.retry_after) == (None, 30)
        # An unknown key has no owner for whom to count.
        assert await harness.outcome(signed(3), api_key=OTHER) is Outcome.RATE_LIMITED
        assert await harness.outcome(signed(3), api_key=None) is Outcome.RATE_LIMITED
        outcomes, refusals, whole, uses = await harness.left()
        assert outcomes == {"rate_limited": 3}
        assert refusals == {(KEY, "rate_limited", "read"): 1}
        assert whole == [(KEY, "rate_limited", LISTED, "read")]
        assert sum(use[4] for use in uses) == 2
        # Other addresses are not limited.
        assert await harness.outcome(signed(3), client_ip="203.0.113.10") is Outcome.ALLOWED

    run(scenario)


def test_request_after_retry_after_seconds_is_allowed(clock: Clock) -> None:
    async def scenario() -> None:
        harness = AuthorizerHarness(of_address=7)
        for number in range(7):
            assert await harness.outcome(signed(number)) is Outcome.ALLOWED
        clock.ms += 100
        result = await harness.ask(signed(7))
        assert result.retry_after == 9  # 8.47
        clock.ms += 1000 * result.retry_after
        assert await harness.outcome(signed(7)) is Outcome.ALLOWED

    run(scenario)


def test_request_above_the_key_rate_consumes_nothing_and_is_allowed_later(
    clock: Clock, checked: list[list[str]]
) -> None:
    new = dataclasses.replace(RECORD.credentials[0], is_new=True)

    async def scenario() -> None:
        harness = AuthorizerHarness(dataclasses.replace(RECORD, credentials=(new,)), of_key=2)
        checked.append(harness.events)
        for number in range(2):
            assert await harness.outcome(signed(number)) is Outcome.ALLOWED
        harness.events.clear()
        result = await harness.ask(signed(3))
        assert harness.events == [ADDRESS_RATE, "signature", KEY_RATE], "neither guard nor first use"
        assert (result.decision.status, result.decision.code, result.decision.msg) == (
            429,
            -1003,
            TOO_MANY,
        )
        assert (result.record, result.retry_after) == (None, 30)
        outcomes, refusals, whole, _uses = await harness.left()
        assert (outcomes, refusals) == ({"rate_limited": 1}, {(KEY, "rate_limited", "read"): 1})
        assert whole == [(KEY, "rate_limited", LISTED, "read")]
        # Foreign signatures and a stale request do not count for the key.
        clock.ms += 30_000
        assert await harness.outcome(signed(4, secret=1)) is Outcome.SIGNATURE
        assert await harness.outcome(signed(5, stamp=NOW - 60_001)) is Outcome.STALE
        assert await harness.outcome(signed(3)) is Outcome.ALLOWED
        # Requests that its holder signed do, whatever the outcome.
        clock.ms += 30_000
        assert await harness.outcome(signed(6), permission="trade") is Outcome.PERMISSION
        assert await harness.outcome(signed(7)) is Outcome.RATE_LIMITED

    run(scenario)


@pytest.mark.usefixtures("clock")
def test_rejected_request_is_not_stored_by_the_replay_guard() -> None:
    async def scenario() -> None:
        harness = AuthorizerHarness()
        for changed in ({"permission": "trade"}, {"client_ip": UNLISTED}):
            assert await harness.outcome(signed(), **changed) is not Outcome.ALLOWED
        assert await harness.outcome(signed()) is Outcome.ALLOWED

    run(scenario)


@pytest.mark.usefixtures("clock")
def test_first_use_of_the_signing_credential_is_recorded_before_the_request_is_allowed() -> None:
    old = CredentialRecord(4, Kind.HMAC, signing_key(Kind.HMAC, 1).material)
    new = dataclasses.replace(RECORD.credentials[0], is_new=True)

    async def scenario() -> None:
        harness = AuthorizerHarness(dataclasses.replace(RECORD, credentials=(old, new)))
        assert await harness.outcome(signed(secret=1)) is Outcome.ALLOWED
        assert "first use of 4" not in harness.events
        assert "first use of 5" not in harness.events
        for refused in (signed(secret=2), signed(stamp=NOW - 60_001)):
            assert await harness.outcome(refused) is not Outcome.ALLOWED
        assert await harness.outcome(signed(), permission="trade") is Outcome.PERMISSION
        assert "first use of 5" not in harness.events
        assert await harness.outcome(signed()) is Outcome.ALLOWED
        assert harness.events[-2:] == ["guard", "first use of 5"]
        harness.events.clear()
        assert await harness.outcome(signed()) is Outcome.REPLAYED
        assert "first use of 5" not in harness.events
        await harness.left()
        # If it cannot be recorded, the request is not allowed and not counted.
        harness.first_use_fails = True
        with pytest.raises(Unavailable):
            await harness.ask(signed(1))
        assert (await harness.left())[3] == []

    run(scenario)


@pytest.mark.usefixtures("clock")
def test_oversized_payload_is_not_parsed() -> None:
    async def scenario() -> None:
        harness = AuthorizerHarness()
        for query, body in ((MAX_PAYLOAD_BYTES + 1, 0), (1, MAX_PAYLOAD_BYTES), (0, MAX_PAYLOAD_BYTES + 1)):
            harness.events.clear()
            result = await harness.ask("a" * query, body=b"a" * body)
            assert (result.decision.status, result.decision.code, result.record) == (413, -1000, None)
            assert harness.events == [ADDRESS_RATE]
        tail = f"&timestamp={NOW}"
        draft = RequestDraft("read", pieces=["a=" + "a" * (MAX_PAYLOAD_BYTES - len(tail) - 2 - 75) + tail])
        draft.spelled = bytes.decode
        assert len(draft.query()) == MAX_PAYLOAD_BYTES
        assert await harness.outcome(draft.query()) is Outcome.ALLOWED

    run(scenario)


@pytest.mark.usefixtures("clock")
def test_fast_path_is_off_while_the_replay_guard_is_on() -> None:
    async def scenario() -> None:
        harness = AuthorizerHarness()
        assert await harness.outcome(signed()) is Outcome.ALLOWED
        for number in (0, 1):
            fields = KEY.encode(), signed(number).encode(), LISTED.encode(), b"read"
            assert harness.authorizer.authorize_fast(*fields) is None
        assert await harness.outcome(signed()) is Outcome.REPLAYED
        outcomes, refusals, whole, _uses = await harness.left()
        assert outcomes == {"replayed": 1}
        assert refusals == {(KEY, "replayed", "read"): 1}
        assert whole == [(KEY, "replayed", LISTED, "read")]

    run(scenario)


def spellings(kind: Kind) -> list[str]:
    """Return the same signed request in other spellings: with its parts in other places, and its signature in every
    form that some decoder reads as the same bytes."""
    payload, _mark, sent = signed(by=kind).rpartition("&signature=")
    text = signing_key(kind).sign(payload.encode())
    signatures = {sent, percent(text), text.decode(), sent.lower(), sent.upper(), sent.swapcase()}
    signatures |= {"".join(f"%{byte:02x}" for byte in text), "".join(f"%{byte:02X}" for byte in text)}
    if kind is Kind.HMAC:
        signatures |= {text.decode().title(), "%61" + text.decode()[1:] if text[:1] == b"a" else ""}
    else:
        lower = text.decode().replace("+", "%2b").replace("/", "%2f").replace("=", "%3d")
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        filled = text.decode().rstrip("=")
        last = {percent(f"{filled[:-1]}{letter}{'=' * text.count(b'=')}".encode()) for letter in letters}
        cut = {percent(filled.encode()), percent(text + b"="), percent(text + b"\n"), f"%20{percent(text)}"}
        safe = percent(text.replace(b"+", b"-").replace(b"/", b"_"))
        signatures |= {lower, safe, *last, *cut, percent(text[:40] + b"\r\n" + text[40:])}
        signatures |= {percent(text).replace("%2B", space) for space in ("+", "%20", " ")}
    return [f"{payload}&signature={one}" for one in sorted(signatures)]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("kind", list(Kind))
def test_signed_request_is_allowed_once_in_any_spelling(kind: Kind) -> None:
    """SECURITY: the same order in upper-case hex, or base64 that decodes to the same bytes, is the same request."""
    credential = CredentialRecord(5, kind, signing_key(kind).material)

    async def scenario() -> None:
        record = dataclasses.replace(RECORD, credentials=(credential,))
        answers: dict[Outcome, int] = {}
        for first in spellings(kind):
            harness = AuthorizerHarness(record)
            if await harness.outcome(first) is not Outcome.ALLOWED:
                continue  # not an accepted spelling
            for again in spellings(kind):
                outcome = await harness.outcome(again)
                answers[outcome] = answers.get(outcome, 0) + 1
            payload, _mark, signature = first.rpartition("&signature=")
            front, _mark, end = payload.partition("&")
            for query, body in (
                (f"signature={signature}&{payload}", ""),
                (f"{front}&signature={signature}&{end}", ""),
                (payload, f"signature={signature}"),
                (f"signature={signature}", payload),
                ("", first),
            ):
                assert await harness.outcome(query, body=body.encode()) is Outcome.REPLAYED
        assert answers.keys() <= {Outcome.REPLAYED, Outcome.SIGNATURE, Outcome.PARAMETER_MISSING}
        # At least: as it was sent, in the other case, and with each byte encoded, after each of these.
        assert answers[Outcome.REPLAYED] >= 9

    run(scenario)


@pytest.mark.usefixtures("clock")
def test_replay_guard_stores_signatures_by_key() -> None:
    async def scenario() -> None:
        harness = AuthorizerHarness(RECORD, dataclasses.replace(RECORD, key=OTHER))
        for key_id in (KEY, OTHER):
            assert await harness.outcome(signed(), api_key=key_id) is Outcome.ALLOWED
            assert harness.events.count("guard") == 1, "called once"
            harness.events.clear()
        for key_id in (KEY, OTHER):
            assert await harness.outcome(signed(), api_key=key_id) is Outcome.REPLAYED

    run(scenario)


def test_replay_guard_stores_a_request_while_it_is_fresh(clock: Clock) -> None:
    """From the most that a clock may be ahead to the end of the longest window."""

    async def scenario() -> None:
        harness, query = AuthorizerHarness(), signed(stamp=NOW + 999)
        assert await harness.outcome(query) is Outcome.ALLOWED
        for ms in (0, 1, 30_000, 59_999, 60_000, 60_500, 60_999):
            clock.ms = float(NOW + ms)
            assert await harness.outcome(query) is Outcome.REPLAYED
        for ms in (61_000, 61_999, 62_000, 62_001, 90_000):
            clock.ms = float(NOW + ms)
            assert await harness.outcome(query) is Outcome.STALE

    run(scenario)


def test_limits_and_replay_guard_in_valkey_behave_like_local_ones(valkey_url: str) -> None:
    async def scenario() -> None:
        server = redis.asyncio.Redis.from_url(valkey_url)
        await server.flushdb()
        now = gateway_authorizer._now_ms()
        harnesses = [AuthorizerHarness(), AuthorizerHarness()]  # two processes
        for harness in harnesses:
            limits = RequestLimits(2, 4, SharedBuckets(server, "key", 2), SharedBuckets(server, "address", 4))
            limits.replay_guard = SharedReplayGuard(server)
            harness.authorizer = Authorizer(harness.authorizer.key_cache, harness._first_use, limits)
        first, second = harnesses
        assert await first.outcome(signed(stamp=now)) is Outcome.ALLOWED
        (name,) = [name async for name in server.scan_iter("gateway:seen:*")]
        assert 61_000 < await server.pttl(name) <= 62_000
        assert await second.outcome(signed(stamp=now)) is Outcome.REPLAYED
        result = await second.ask(signed(1, stamp=now))
        assert result.decision.outcome is Outcome.RATE_LIMITED
        assert result.decision.msg == TOO_MANY
        assert 25 <= result.retry_after <= 30
        assert await first.outcome(signed(2, secret=1, stamp=now)) is Outcome.SIGNATURE
        result = await first.ask(signed(2, secret=1, stamp=now))
        assert result.decision.outcome is Outcome.RATE_LIMITED
        assert "is 4 requests" in result.decision.msg
        assert 10 <= result.retry_after <= 15
        for harness in harnesses:
            assert (
                harness.authorizer.authorize_fast(
                    KEY.encode(), signed(3, stamp=now).encode(), b"198.18.0.1", b"read"
                )
                is None
            )
        await server.aclose()

    run(scenario)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("gone", ["address_buckets", "key_buckets", "replay_guard"])
def test_no_request_is_allowed_while_valkey_is_unavailable(gone: str) -> None:
    async def scenario() -> None:
        nobody = redis.asyncio.Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
        harness = AuthorizerHarness()
        harness.limits.replay_guard = None  # with a replay guard the fast path is off in any case
        setattr(
            harness.limits,
            gone,
            SharedReplayGuard(nobody) if gone == "replay_guard" else SharedBuckets(nobody, gone, 10**6),
        )
        authorizer = Authorizer(harness.authorizer.key_cache, harness._first_use, harness.limits)
        harness.authorizer = authorizer
        authorizer.key_cache.put(RECORD)
        assert authorizer.authorize_fast(KEY.encode(), signed().encode(), LISTED.encode(), b"read") is None
        with pytest.raises(Unavailable):
            await asyncio.wait_for(harness.ask(signed()), 30)
        assert (await harness.left())[3] == []
        await nobody.aclose()

    run(scenario)
