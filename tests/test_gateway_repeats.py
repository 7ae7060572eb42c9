"""A request like the key's last one passes without a second look at what cannot have changed, and no other does."""

import dataclasses
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys.gateway import gatekeeper
from apikeys.gateway.gatekeeper import Gatekeeper, Limits
from apikeys.gateway.limits import Buckets
from apikeys.gateway.memory import Memory
from apikeys.gateway.tally import Batch
from apikeys.signing import Kind
from apikeys.verification import CredentialRecord, KeyRecord
from tests.gateways import Belief
from tests.test_gateway_compiled import (
    LISTED,
    NOW,
    OLD,
    RECORD,
    STRANGER,
    TRUSTED,
    good,
    permissions,
    records,
    signed,
    slow,
)  # fmt: skip


class Asked:
    """A gatekeeper that remembers one key, at a time that the test says."""

    def __init__(self, record: KeyRecord) -> None:
        limits = Limits(9, 9, Buckets(10**6), Buckets(10**6))
        self.keeper = Gatekeeper(Memory(_nobody, 9, 0), _nobody, limits)
        self.keeper.memory.watch = Belief()
        self.keeper.memory.keep(record)
        self._key_id = record.key

    def passes(self, query: str, address: str = LISTED, permission: str = "read", now: int = NOW) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            clock = SimpleNamespace(time_ns=partial(int, now * 10**6), monotonic=float)
            patch.setattr(gatekeeper, "time", clock)
            return (
                self.keeper.swift(
                    self._key_id.encode(), query.encode(), address.encode(), permission.encode()
                )
                is not None
            )


async def _nobody(*_arguments: Any) -> Any:
    raise AssertionError("nobody has to be asked")


moments = st.integers(NOW - 4, NOW + 4)
ordinary = st.sampled_from([signed(f"symbol=BTCIRT&timestamp={NOW}"), signed(f"timestamp={NOW}", OLD)])
requests = st.tuples(ordinary, st.sampled_from([LISTED, STRANGER]), permissions, moments)


@given(st.one_of(good, records), st.lists(requests, min_size=2, max_size=6))
def test_what_came_before_never_lets_a_request_pass(
    record: KeyRecord, requests: list[tuple[str, str, str, int]]
) -> None:
    asked = Asked(record)
    for request in requests:
        assert asked.passes(*request) == (slow(record, *request) != 0)


def test_request_like_the_last_one_is_looked_at_again_where_it_differs() -> None:
    query = signed(f"timestamp={NOW}")
    asked = Asked(dataclasses.replace(TRUSTED, expires_at_ms=NOW + 3))
    assert asked.passes(query, permission="trade")
    assert not asked.passes(query, STRANGER, "trade")
    assert not asked.passes(query, permission="nothing")
    assert asked.passes(query, permission="trade", now=NOW + 2)
    assert not asked.passes(query, permission="trade", now=NOW + 3)
    assert asked.passes(query, permission="read", now=NOW + 3)
    asked = Asked(dataclasses.replace(RECORD, reads_until_ms=NOW))
    assert asked.passes(query, permission="trade", now=NOW)
    assert not asked.passes(query, permission="trade", now=NOW - 1)


def test_each_request_is_counted_once_for_its_credential_permission_and_address() -> None:
    credentials = (*RECORD.credentials, CredentialRecord(2, Kind.HMAC, OLD))
    asked = Asked(dataclasses.replace(RECORD, credentials=credentials))
    mine, old = signed(f"timestamp={NOW}"), signed(f"timestamp={NOW}", OLD)
    for query, address, permission in (
        (mine, LISTED, "read"), (mine, LISTED, "read"), (old, LISTED, "read"), (mine, STRANGER, "read"),
        (mine, LISTED, "trade"), (mine, LISTED, "read"),
    ):  # fmt: skip
        assert asked.passes(query, address, permission)
    used = asked.keeper.batch.used()
    assert {(number, address, permission): times for _key, permission, address, number, times in used} == {
        (1, LISTED, "read"): 3, (2, LISTED, "read"): 1, (1, STRANGER, "read"): 1, (1, LISTED, "trade"): 1,
    }  # fmt: skip
    asked.keeper.batch = Batch()
    assert asked.passes(mine)
    assert [times for *_name, times in asked.keeper.batch.used()] == [1]
