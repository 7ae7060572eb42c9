"""The counts of a gateway are written to both databases with a few statements, whatever their number."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys.actions import key_loader
from apikeys.gateway.fastpath.prepared_key import PreparedKey
from apikeys.gateway.fastpath.usage_counters import UsageCounters
from apikeys.models import AddressUse, ApiKey, Credential, DailyUse, Refusal
from apikeys.usage import batch_writer
from apikeys.usage.batch import Batch
from tests.support import people
from tests.support.signed_requests import decided

pytestmark = pytest.mark.django_db


def compiled(key: ApiKey) -> PreparedKey:
    record = key_loader.load(key.key_id)
    assert record is not None
    return PreparedKey(record)


def batch_of(keys: list[PreparedKey], times: int) -> Batch:
    uses = UsageCounters()
    for key in keys:
        credential = key.record.credentials[0].id
        for permission, address in (("read", "203.0.113.9"), ("trade", "::ffff:198.51.100.7")):
            use = uses.counter_for(key, permission, address, credential)
            use.count, use.skew_ms = times, -120
    return Batch(list(uses.drain()))


def counts(key: ApiKey) -> dict[str, int]:
    return {f"{row.outcome} {row.permission}": row.count for row in DailyUse.objects.filter(key=key)}


def test_counts_addresses_times_and_clock_are_added_to_what_is_there() -> None:
    key, other = (people.key_of(people.customer(), name) for name in ("one", "other"))
    for _ in range(2):
        batch_writer.write(batch_of([compiled(key), compiled(other)], 3))
    assert counts(key) == counts(other) == {"allowed read": 6, "allowed trade": 6}
    assert {use.address: use.count for use in AddressUse.objects.filter(key=key)} == {
        "203.0.113.9": 6, "::ffff:198.51.100.7": 6,
    }  # fmt: skip
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert timezone.now() - key.last_used_at < timedelta(minutes=5)
    assert key.last_used_ip in ("203.0.113.9", "198.51.100.7")
    assert key.skew_ms == -120
    assert Credential.objects.get(key=key).last_used_at is not None


def test_rejections_are_counted_and_shown_and_keys_that_are_gone_are_left_out() -> None:
    key = people.key_of(people.customer())
    batch = Batch()
    for name in (key.key_id, "g" * 64):
        batch.add_rejection(name, decided(key, permission="trade"), "203.0.113.9", "trade")
    batch_writer.write(batch)
    assert counts(key) == {"permission trade": 1}
    assert [(rejection.key_id, rejection.outcome) for rejection in Refusal.objects.all()] == [
        (key.pk, "permission")
    ]
    assert DailyUse.objects.count() == 1


@pytest.mark.parametrize("odd", ["\ud800", "a\0b", "\u06f1", "\t\\N\n", "x" * 100])
def test_odd_texts_from_a_gateway_lose_no_counts(odd: str) -> None:
    key = people.key_of(people.customer())
    batch = batch_of([compiled(key)], 1)
    batch.add_rejection(key.key_id, decided(key, permission="trade"), odd, odd)
    batch_writer.write(batch)
    counted = counts(key)
    assert counted.pop("allowed read") == counted.pop("allowed trade") == 1
    assert list(counted.values()) == [1]
    assert Refusal.objects.filter(key=key).count() == 1


def test_a_hundred_keys_cost_no_more_statements_than_two() -> None:
    owners = [people.customer() for _ in range(25)]
    made = [compiled(people.key_of(owner, f"bot {n}")) for owner in owners for n in range(4)]

    def statements(keys: list[PreparedKey]) -> int:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            batch_writer.write(batch_of(keys, 2))
        return len(caught)

    assert statements(made[:2]) == statements(made) <= 15
