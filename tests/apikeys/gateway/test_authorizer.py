"""The authorizer with the key cache: what it serves from memory and when it loads; the database is late or down."""

import asyncio
import dataclasses
import hashlib
import hmac
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from apikeys.gateway.authorizer import Authorizer, RequestLimits
from apikeys.gateway.fastpath.lru import GenerationalCache
from apikeys.gateway.fastpath.rate_limits import Buckets
from apikeys.gateway.fastpath.replay_guard import ReplayGuard
from apikeys.gateway.keycache.cache import ALL, KeyCache, Unavailable
from apikeys.gateway.keycache.sqlite_invalidation import SqliteListener
from apikeys.gateway.requests import AuthorizationRequest
from apikeys.usage.batch import MAX_REJECTIONS, Batch
from apikeys.verification.decision import Decision
from apikeys.verification.networks import compile_networks
from apikeys.verification.outcomes import Outcome
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind
from tests.support.event_loops import StubListener, run_in_thread

SECRET, ADDRESS = b"s" * 64, "203.0.113.9"
UNLIMITED = RequestLimits(1, 1)


def record(key_id: str = "k" * 64, *, active: bool = True) -> KeyRecord:
    return KeyRecord(
        user="7", key=key_id, active=active, owner_active=True, expires_at_ms=None, permissions=frozenset({"read"}),
        restricted=False, networks=compile_networks([]), credentials=(CredentialRecord(1, Kind.HMAC, SECRET),),
    )  # fmt: skip


class FakeDatabase:
    """A database with keys; it counts queries, can be made unavailable, and delays results until ``gate`` is set."""

    def __init__(self) -> None:
        self.rows: dict[str, KeyRecord] = {"k" * 64: record()}
        self.load_count = 0
        self.gone = False
        self.gate: asyncio.Event | None = None

    async def load(self, key_id: str) -> KeyRecord | None:
        self.load_count += 1
        if self.gone:
            raise Unavailable
        row = self.rows.get(key_id)  # as of the moment of the query
        await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        return row


def make_authorizer(
    fake_database: FakeDatabase, listener: StubListener, *, grace: float = 0.0, size: int = 100
) -> Authorizer:
    async def first_use(_credential: int) -> None:
        return None

    key_cache = KeyCache(fake_database.load, size, grace)
    key_cache.listener = listener
    return Authorizer(key_cache, first_use, UNLIMITED)


def make_request(key_id: str = "k" * 64) -> AuthorizationRequest:
    query = f"timestamp={time.time_ns() // 1_000_000}"
    signature = hmac.new(SECRET, query.encode(), hashlib.sha256).hexdigest()
    return AuthorizationRequest(key_id, f"{query}&signature={signature}".encode(), b"", ADDRESS, "read")


async def passes(authorizer: Authorizer, key_id: str = "k" * 64) -> bool:
    authorization = make_request(key_id)
    counter = authorizer.authorize_fast(key_id.encode(), authorization.query, ADDRESS.encode(), b"read")
    return counter is not None or (await authorizer.authorize(authorization)).decision.allowed


def run_scenario(scenario: Callable[[FakeDatabase, StubListener], Awaitable[None]]) -> None:
    run_in_thread(_with_books(scenario))


async def _with_books(scenario: Callable[[FakeDatabase, StubListener], Awaitable[None]]) -> None:
    await scenario(FakeDatabase(), StubListener())


def test_key_is_loaded_once_and_then_cached() -> None:
    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        assert [await passes(gate) for _ in range(5)] == [True] * 5
        assert fake_database.load_count == 1
        assert gate.authorize_fast(b"k" * 64, make_request().query, ADDRESS.encode(), b"read") is not None
        assert gate.authorize_fast(b"k" * 64, make_request().query, ADDRESS.encode(), b"trade") is None

    run_scenario(scenario)


def test_concurrent_requests_share_one_load() -> None:
    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        assert await asyncio.gather(*(passes(gate) for _ in range(50))) == [True] * 50
        assert fake_database.load_count == 1

    run_scenario(scenario)


def test_unknown_key_is_cached_until_its_creation_is_reported() -> None:
    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        assert not any([await passes(gate, "u" * 64) for _ in range(5)])
        assert fake_database.load_count == 1
        fake_database.rows["u" * 64] = record("u" * 64)
        gate.key_cache.invalidate("u" * 64)
        assert await passes(gate, "u" * 64)

    run_scenario(scenario)


def test_unknown_key_is_refreshed_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SECURITY: a request for a known key does not wait; waiting for unknown ones would reveal the difference."""
    monkeypatch.setattr("apikeys.gateway.keycache.cache.UNKNOWN_KEY_SECONDS", 0.0)

    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        assert not await passes(gate, "u" * 64)
        fake_database.rows["u" * 64] = record("u" * 64)
        fake_database.gate = asyncio.Event()
        for _ in range(3):
            assert not await passes(gate, "u" * 64)
            await asyncio.sleep(0.01)
        assert fake_database.load_count == 2
        fake_database.gate.set()
        await asyncio.sleep(0.01)
        assert await passes(gate, "u" * 64)
        assert fake_database.load_count == 2
        assert not gate.key_cache.is_unknown("u" * 64), "or it would be one again when it is forgotten"

    run_scenario(scenario)


@pytest.mark.parametrize("name", ["k" * 64, ALL])
def test_change_evicts_the_key(name: str) -> None:
    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        assert await passes(gate)
        fake_database.rows["k" * 64] = record(active=False)
        gate.key_cache.invalidate(name)
        assert not await passes(gate)

    run_scenario(scenario)


def test_load_that_is_older_than_a_change_is_not_used() -> None:
    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        fake_database.gate = asyncio.Event()
        waiting = [asyncio.create_task(passes(gate)) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert fake_database.load_count == 1
        fake_database.rows["k" * 64] = record(active=False)
        gate.key_cache.invalidate("k" * 64)
        fake_database.gate.set()
        assert not any(await asyncio.gather(*waiting))
        assert not await passes(gate)

    run_scenario(scenario)


def test_stale_cache_is_bypassed_and_loads_are_not_shared() -> None:
    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        assert await passes(gate)
        listener.fresh = False
        assert await asyncio.gather(*(passes(gate) for _ in range(10))) == [True] * 10
        assert fake_database.load_count == 11
        fake_database.rows["k" * 64] = record(active=False)
        assert not await passes(gate)
        fake_database.rows.clear()
        assert not await passes(gate)

    run_scenario(scenario)


def test_no_request_is_allowed_while_the_database_is_unavailable() -> None:
    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        assert await passes(gate)
        listener.fresh, listener.lost_at, fake_database.gone = False, time.monotonic(), True
        for key_id in ("k" * 64, "u" * 64):
            with pytest.raises(Unavailable):
                await passes(gate, key_id)

    run_scenario(scenario)


def test_grace_period_is_for_cached_keys_and_ends() -> None:
    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener, grace=30.0)
        assert await passes(gate)
        listener.fresh, fake_database.gone = False, True
        listener.lost_at = time.monotonic() - 29
        assert await passes(gate)
        with pytest.raises(Unavailable):
            await passes(gate, "u" * 64)
        listener.lost_at = time.monotonic() - 31
        with pytest.raises(Unavailable):
            await passes(gate)

    run_scenario(scenario)


def test_cache_is_bounded_and_keeps_recently_used_keys() -> None:
    cache: GenerationalCache[int] = GenerationalCache(100)
    for number in range(1000):
        cache.put(f"key {number}", number + 1)
        assert cache.get("key 0") == 1
    assert len(cache) <= 100
    cache.drop("key 0")
    assert cache.get("key 0") is None
    cache.clear()
    assert len(cache) == 0


def test_batch_is_bounded() -> None:
    batch = Batch()
    gate_record = record()
    decision = run_in_thread(_decision(gate_record))
    for number in range(MAX_REJECTIONS * 3):
        batch.add_rejection(f"key {number % 100}", decision, "x" * 500, "p" * 50)
    assert len(batch.rejected_requests) == MAX_REJECTIONS
    assert max(len(one.address) for one in batch.rejected_requests) == 45
    assert sum(batch.rejections.values()) == MAX_REJECTIONS * 3


async def _decision(row: KeyRecord) -> Decision:
    fake_database = FakeDatabase()
    fake_database.rows[row.key] = dataclasses.replace(row, active=False)
    return (await make_authorizer(fake_database, StubListener()).authorize(make_request())).decision


def test_bucket_refills_at_its_rate() -> None:
    buckets = Buckets(60)
    assert [buckets.bucket_for("a").acquire(0.0) for _ in range(60)] == [0.0] * 60
    assert 0 < buckets.bucket_for("a").acquire(0.0) <= 1.0
    assert buckets.bucket_for("b").acquire(0.0) == 0.0
    assert buckets.bucket_for("a").acquire(1.0) == 0.0
    assert buckets.bucket_for("a").acquire(1.0) > 0
    assert [buckets.bucket_for("a").acquire(61.5) for _ in range(60)] == [0.0] * 60


def test_replay_guard_stores_a_request_for_its_time() -> None:
    guard = ReplayGuard()
    assert guard.register(b"a", 0.0, 62.0)
    assert not guard.register(b"a", 61.9, 62.0)
    assert guard.register(b"b", 61.9, 62.0)
    assert guard.register(b"a", 62.1, 62.0)
    assert not guard.register(b"b", 100.0, 62.0)


def test_full_replay_guard_rejects_until_an_entry_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apikeys.gateway.fastpath.replay_guard.MAX_ENTRIES", 3)
    guard = ReplayGuard()
    assert [guard.register(name, float(at), 62.0) for at, name in enumerate((b"a", b"b", b"c"))] == [True] * 3
    assert [guard.register(b"d", at, 62.0) for at in (3.0, 61.9)] == [False] * 2
    assert guard.register(b"d", 62.0, 62.0), "one is forgotten"
    assert set(guard._expiries) == {name for _at, name in guard._order} == {b"b", b"c", b"d"}, (
        "and takes no room"
    )
    assert not guard.register(b"e", 62.5, 62.0)
    assert [guard.register(name, 70.0, 62.0) for name in (b"b", b"c", b"b", b"d", b"e")] == [
        True,
        True,
        *[False] * 3,
    ]


def test_sqlite_cache_is_fresh_until_another_connection_writes(tmp_path: Path) -> None:
    path = tmp_path / "portal.sqlite3"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("CREATE TABLE t (n)")
    dropped: list[str] = []
    watch = SqliteListener(str(path), dropped.append)
    assert watch.is_fresh()
    dropped.clear()
    assert watch.is_fresh()
    assert dropped == []
    other.execute("BEGIN")
    other.execute("INSERT INTO t VALUES (1)")
    assert watch.is_fresh()
    assert dropped == []  # not committed yet
    other.execute("COMMIT")
    assert watch.is_fresh()
    assert dropped == [ALL]
    missing = SqliteListener(str(tmp_path / "nothing" / "here"), dropped.append)
    assert not missing.is_fresh()


def test_rate_limited_request_verifies_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """SECURITY: otherwise the response time of a 429 reveals which keys exist, and the work is done all the same."""
    checked: list[bytes] = []

    def fails(*_signed: object) -> bool:
        checked.append(b"")
        return False

    monkeypatch.setattr("apikeys.verification.signature_check.check_against_dummy", fails)
    monkeypatch.setattr("apikeys.gateway.fastpath.verifiers._HmacVerifier.verifies", fails)

    async def scenario(fake_database: FakeDatabase, listener: StubListener) -> None:
        gate = make_authorizer(fake_database, listener)
        gate = Authorizer(gate.key_cache, gate._first_use, RequestLimits(1, 1, None, Buckets(2)))
        for key_id in ("k" * 64, "u" * 64):
            checked.clear()
            authorization = dataclasses.replace(make_request(key_id), client_ip=key_id[:1])
            for _n in range(4):
                arguments = key_id.encode(), authorization.query[:-1] + b"x", key_id[:1].encode(), b"read"
                assert gate.authorize_fast(*arguments) is None
                await gate.authorize(dataclasses.replace(authorization, query=arguments[1]))
            before = len(checked)
            assert before > 0
            answer = (
                gate.authorize_fast(*arguments),
                await gate.authorize(dataclasses.replace(authorization, query=arguments[1])),
            )
            assert answer[0] is None
            assert answer[1].decision.outcome is Outcome.RATE_LIMITED
            assert len(checked) == before

    run_scenario(scenario)
