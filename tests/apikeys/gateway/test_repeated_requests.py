"""Entries of the fast path: a repeated request is decided from its entry, a different one is not."""

import asyncio
import dataclasses
from functools import partial
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeys.gateway import authorizer as gateway_authorizer
from apikeys.gateway.authorizer import Authorizer, RequestLimits
from apikeys.gateway.fastpath.rate_limits import Buckets
from apikeys.gateway.keycache.cache import ALL, TOKENS, KeyCache
from apikeys.gateway.requests import MAX_PAYLOAD_BYTES
from apikeys.usage.batch import UsageRow
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind
from tests.apikeys.gateway.test_fast_path import (  # fmt: skip
    KEY,
    LISTED,
    NOW,
    OLD,
    RECORD,
    TRUSTED,
    UNLISTED,
    assert_shares,
    decision_result,
    good,
    hmac_of,
    permissions,
    records,
    signed,
    times,
    usually,
    values,
    weighed,
    windows,
)
from tests.support.event_loops import StubListener, run_in_thread
from tests.support.examples import times as examples


class LocalAuthorizer:
    """An authorizer with one cached key; the test sets the time."""

    def __init__(self, record: KeyRecord, rate: int = 10**6) -> None:
        self.addresses = Buckets(10)
        limits = RequestLimits(9, 9, Buckets(rate), self.addresses if rate < 10**6 else Buckets(10**6))
        self.authorizer = Authorizer(KeyCache(_nobody, 9, 0), _nobody, limits)
        self.authorizer.key_cache.listener = StubListener()
        self.authorizer.key_cache.put(record)
        self.key_id = record.key

    def passes(self, query: str, address: str = LISTED, permission: str = "read", now: int = NOW) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            clock = SimpleNamespace(time_ns=partial(int, now * 10**6), monotonic=float)
            patch.setattr(gateway_authorizer, "time", clock)
            sent = (self.key_id, query, address, permission)
            return self.authorizer.authorize_fast(*(text.encode() for text in sent)) is not None

    def taken(self) -> list[UsageRow]:
        return run_in_thread(self.authorizer.take_batch()).allowed


async def _nobody(*_arguments: Any) -> Any:
    raise AssertionError("unexpected call")


moments = st.integers(NOW - 4, NOW + 4)
ordinary = weighed(
    *[st.just(signed(f"symbol=BTCIRT&timestamp={NOW}"))] * 3, st.just(signed(f"timestamp={NOW}", OLD))
)
requests = st.tuples(ordinary, usually(LISTED, seldom=(UNLISTED,)), permissions, moments)


def test_earlier_requests_never_allow_a_request() -> None:
    seen: list[tuple[int, int]] = []

    @settings(max_examples=examples(300))
    @given(weighed(good, records), st.lists(requests, min_size=2, max_size=6))
    def one(record: KeyRecord, requests: list[tuple[str, str, str, int]]) -> None:
        local = LocalAuthorizer(record)
        for request in requests:  # a clock that goes back as well
            assert not local.passes(*request) or decision_result(record, *request) != 0
        local = LocalAuthorizer(record)
        for request in sorted(requests, key=itemgetter(3)):
            seen.append((local.passes(*request), decision_result(record, *request)))
            assert seen[-1][0] == (seen[-1][1] != 0)

    one()
    assert_shares(seen)


def test_similar_request_is_checked_where_it_differs() -> None:
    query = signed(f"timestamp={NOW}")
    local = LocalAuthorizer(dataclasses.replace(TRUSTED, expires_at_ms=NOW + 3))
    assert local.passes(query, permission="trade")
    assert not local.passes(query, UNLISTED, "trade")
    assert not local.passes(query, permission="nothing")
    assert local.passes(query, permission="trade", now=NOW + 2)
    assert not local.passes(query, permission="trade", now=NOW + 3)
    assert local.passes(query, permission="read", now=NOW + 3)
    local = LocalAuthorizer(dataclasses.replace(RECORD, reads_until_ms=NOW))
    assert local.passes(query, permission="trade", now=NOW)
    assert not local.passes(query, permission="trade", now=NOW - 1)


def test_each_request_is_counted_once_for_its_credential_permission_and_address() -> None:
    credentials = (*RECORD.credentials, CredentialRecord(2, Kind.HMAC, OLD))
    local = LocalAuthorizer(dataclasses.replace(RECORD, credentials=credentials))
    mine, old = signed(f"timestamp={NOW}"), signed(f"timestamp={NOW}", OLD)
    for query, address, permission in (
        (mine, LISTED, "read"), (mine, LISTED, "read"), (old, LISTED, "read"), (mine, UNLISTED, "read"),
        (mine, LISTED, "trade"), (mine, LISTED, "read"),
    ):  # fmt: skip
        assert local.passes(query, address, permission)
    used = local.taken()
    assert {(number, address, permission): times for _key, permission, address, number, times, _ in used} == {
        (1, LISTED, "read"): 3, (2, LISTED, "read"): 1, (1, UNLISTED, "read"): 1, (1, LISTED, "trade"): 1,
    }  # fmt: skip
    assert local.taken() == []
    assert local.passes(mine)
    assert [times for *_name, times, _skew_ms in local.taken()] == [1]


def test_used_entries_are_kept_from_write_to_write() -> None:
    local = LocalAuthorizer(RECORD)
    query, entries = signed(f"timestamp={NOW}"), local.authorizer.key_cache.entries
    for permission in ("read", "trade"):
        assert local.passes(query, permission=permission)
    uses = list(entries.values())
    for _write in range(3):
        assert len(local.taken()) == 2
        for permission in ("read", "trade"):
            assert local.passes(query, permission=permission)
    assert list(entries.values()) == uses
    local.taken()
    local.taken()
    assert not entries, "nobody came"
    assert local.passes(query)


@pytest.mark.parametrize("others", [0, 3])
def test_request_during_a_drain_is_counted_in_this_batch_or_the_next(
    others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``others`` that were not used since, all counters are cleared at the end."""
    monkeypatch.setattr(gateway_authorizer, "COUNTERS_PER_SLICE", 1)
    local, query = LocalAuthorizer(TRUSTED), signed(f"timestamp={NOW}")
    for number in range(others):
        assert local.passes(query, f"203.0.113.{100 + number}")
    local.taken()
    assert local.passes(query)

    async def meanwhile() -> int:
        taking = asyncio.create_task(local.authorizer.take_batch())
        await asyncio.sleep(0)
        passed = sum(local.passes(query) for _n in range(5))
        batches = [await taking, await local.authorizer.take_batch()]
        assert passed == 5
        return sum(times for batch in batches for *_name, times, _skew_ms in batch.allowed)

    assert run_in_thread(meanwhile()) == 6


def test_changed_key_is_checked_again_after_a_write() -> None:
    local = LocalAuthorizer(RECORD)
    query = signed(f"timestamp={NOW}")
    assert local.passes(query)
    local.taken()
    local.authorizer.key_cache.invalidate(KEY)
    assert not local.authorizer.key_cache.entries
    local.authorizer.key_cache.put(dataclasses.replace(RECORD, active=False))
    assert not local.passes(query)
    local.authorizer.key_cache.put(RECORD)
    assert local.passes(query)
    assert [times for *_name, times, _skew_ms in local.taken()] == [1]


def test_entry_uses_the_current_bucket_of_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SECURITY: otherwise a hundred thousand other addresses give a key a second bucket permanently."""
    monkeypatch.setattr("apikeys.gateway.fastpath.rate_limits.MAX_BUCKETS", 4)
    local = LocalAuthorizer(RECORD, rate=3)
    query = signed(f"timestamp={NOW}")
    assert local.passes(query)
    local.taken()
    for number in range(9):
        local.addresses.bucket_for(f"192.0.2.{number}")
    assert local.passes(query)
    assert local.taken()
    assert not local.authorizer.key_cache.entries


def test_clock_skew_is_that_of_the_last_correctly_signed_request() -> None:
    local = LocalAuthorizer(RECORD)
    assert local.passes(signed(f"timestamp={NOW - 250}"))
    assert not local.passes(signed(f"timestamp={NOW - 900}", OLD))
    assert local.taken()[0][-1] == -250
    assert local.passes(signed(f"timestamp={NOW - 250}"))
    assert local.passes(signed(f"timestamp={NOW + 20}"))
    assert local.taken()[0][-1] == 20


shapes_of = ("symbol", "a-b.c", "recvWindow", "timestamp")


#: Values of the four names, of which at most one is unusual.
said_of = weighed(
    *[st.tuples(st.just("x"), st.just("1"), st.just("5000"), st.just(str(NOW)))] * 6,
    st.tuples(values, st.just("1"), st.just("5000"), times),
    st.tuples(st.just("x"), values, windows, st.just(str(NOW))),
    st.tuples(st.just("x"), st.just("1"), values, st.just(str(NOW))),
    st.tuples(st.just("x"), st.just("1"), st.just("5000"), values),
)


def test_stored_pattern_parses_requests_as_the_decision_does() -> None:
    first = "&".join(
        f"{name}={value}" for name, value in zip(shapes_of, ("x", "1", "5000", NOW), strict=True)
    )
    seen: list[tuple[int, int]] = []

    @settings(max_examples=examples(300))
    @given(weighed(good, records), said_of, moments)
    def one(record: KeyRecord, values: tuple[str, ...], now: int) -> None:
        local = LocalAuthorizer(record)
        local.passes(signed(first))
        request = signed("&".join(f"{name}={value}" for name, value in zip(shapes_of, values, strict=True)))
        seen.append((local.passes(request, now=now), decision_result(record, request, now=now)))
        assert seen[-1][1] != 0 or not seen[-1][0]

    one()
    assert_shares(seen)


@pytest.mark.parametrize(
    "payload",
    [
        f"symbol=x&symbol=y&timestamp={NOW}",
        f"symbol=x&timestamp=1&timestamp={NOW}",
        f"symbol=%4&timestamp={NOW}",
        f"symbol=%4g&timestamp={NOW}",
        f"symbol=%&timestamp={NOW}",
        f'symbol="&timestamp={NOW}',
        f"symbol=\xe9&timestamp={NOW}",
        f"symbol=x\n&timestamp={NOW}",
        f"symbol=x&timestamp={NOW}\n",
        f"symbol=x&timestamp={NOW}a",
        f"symbol=x&timestamp= {NOW}",
        f"symbol=x&timestamp={NOW - 5001}",
        f"symbol=x&timestamp={NOW + 1000}",
        f"symbol=x&signature=&timestamp={NOW}",
        f"symbol=x&timestamp={NOW}&signature=1",
    ],
)
def test_rejected_request_is_not_allowed_by_a_stored_pattern(payload: str) -> None:
    local = LocalAuthorizer(RECORD)
    assert local.passes(signed(f"symbol=BTCIRT&timestamp={NOW}"))
    assert decision_result(RECORD, signed(payload)) == 0
    assert not local.passes(signed(payload))


def test_recently_used_credential_ends_on_time() -> None:
    ending = dataclasses.replace(RECORD.credentials[0], retires_at_ms=NOW + 2)
    local = LocalAuthorizer(dataclasses.replace(RECORD, credentials=(ending,)))
    query = signed(f"timestamp={NOW}")
    assert [local.passes(query, now=NOW + later) for later in range(4)] == [True, True, False, False]


def test_all_entries_of_a_key_are_stored_and_evicted_when_it_changes() -> None:
    local = LocalAuthorizer(RECORD)
    kinds = [(address, permission) for address in (LISTED, UNLISTED) for permission in ("read", "trade")]
    for _ in range(2):
        for address, permission in kinds:
            assert local.passes(signed(f"timestamp={NOW}"), address, permission)
    key_cache = local.authorizer.key_cache
    assert len(key_cache.entries) == len(kinds)
    key_cache.invalidate("o" * 64)
    assert len(key_cache.entries) == len(kinds)
    key_cache.invalidate(KEY)
    assert not key_cache.entries
    assert not local.passes(signed(f"timestamp={NOW}"))
    for name in (ALL, TOKENS):
        key_cache.put(RECORD)
        assert local.passes(signed(f"timestamp={NOW}"))
        key_cache.invalidate(name)
        assert local.passes(signed(f"timestamp={NOW}")) is (name == TOKENS)


@pytest.mark.parametrize(
    ("api_key", "address", "permission"),
    [
        (KEY + "2", "03.0.113.9", "trade"),
        (f"{KEY}\n{LISTED}", "trade", ""),
        (f"{KEY}\n{LISTED}\ntrade", "", ""),
        (KEY, f"{LISTED}\ntrade", ""),
        (KEY, UNLISTED, f"{LISTED}\ntrade"),
        (KEY, LISTED, "trade\n"),
        (KEY[:-1], "k" + LISTED, "trade"),
    ],
)
def test_entry_is_not_used_for_a_request_with_a_similar_name(
    api_key: str, address: str, permission: str
) -> None:
    local = LocalAuthorizer(TRUSTED)
    query = signed(f"timestamp={NOW}")
    assert local.passes(query, LISTED, "trade")
    local.key_id = api_key
    assert not local.passes(query, address, permission)


def test_entry_of_one_secret_does_not_allow_another() -> None:
    local = LocalAuthorizer(RECORD)
    assert local.passes(signed(f"timestamp={NOW}"))
    assert not local.passes(signed(f"timestamp={NOW}", OLD))
    assert not local.passes(f"timestamp={NOW}&signature=")
    assert not local.passes(f"timestamp={NOW}&signature={'0' * 63}x")
    assert local.passes(f"timestamp={NOW}&signature={hmac_of(f'timestamp={NOW}').upper()}")


def test_request_above_the_key_rate_counts_once_for_its_address() -> None:
    local = LocalAuthorizer(RECORD, rate=1)
    assert [local.passes(signed(f"timestamp={NOW}")) for _ in range(6)] == [True] + [False] * 5
    # `authorize`, which is called for each of the five, acquires from it.
    assert [local.addresses.bucket_for(LISTED).acquire(0.0) == 0 for _ in range(10)] == [True] * 9 + [False]


def test_entry_is_stored_when_only_one_credential_is_left() -> None:
    ended = CredentialRecord(2, Kind.HMAC, OLD, NOW)
    local = LocalAuthorizer(dataclasses.replace(RECORD, credentials=(ended, *RECORD.credentials)))
    assert local.passes(signed(f"timestamp={NOW}"), now=NOW - 1)
    assert not local.authorizer.key_cache.entries
    assert local.passes(signed(f"timestamp={NOW}"))
    assert local.authorizer.key_cache.entries
    assert not local.passes(signed(f"timestamp={NOW}", OLD))


def test_request_over_the_largest_size_is_decided_by_the_full_decision() -> None:
    local = LocalAuthorizer(RECORD)
    assert local.passes(signed(f"timestamp={NOW}"))
    for more, passes in ((0, True), (1, False)):
        tail = f"&timestamp={NOW}"
        query = signed("a=" + "x" * (MAX_PAYLOAD_BYTES - len(signed(tail)) - 2 + more) + tail)
        assert len(query) == MAX_PAYLOAD_BYTES + more
        assert decision_result(RECORD, query) == 1
        assert local.passes(query) is passes


@pytest.mark.parametrize("address", ["", "x", "203.0.113.9:80", "[::1]", "203.0.113.09", "\n"])
def test_what_is_no_plain_address_has_no_bucket_of_its_own(address: str) -> None:
    """SECURITY: or who asks too often goes on by another spelling, and fills the memory of addresses with such."""
    local = LocalAuthorizer(RECORD, rate=9)
    assert not local.passes(signed(f"timestamp={NOW}"), address)
    assert len(local.addresses._buckets) == 0
    assert local.passes(signed(f"timestamp={NOW}"))
    assert len(local.addresses._buckets) == 1
