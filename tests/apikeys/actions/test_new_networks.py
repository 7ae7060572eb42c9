"""A notice when an unrestricted key is used from a new network: once, bounded, and only for signed requests."""

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from accounts.models import AuditEvent, Notice
from accounts.notifications import texts
from apikeys.actions import key_loader, new_networks
from apikeys.gateway.fastpath.prepared_key import PreparedKey
from apikeys.gateway.fastpath.usage_counters import UsageCounters
from apikeys.models import AddressUse, ApiKey, NetworkUse
from apikeys.policy.events import KeyEvent
from apikeys.usage import batch_writer
from apikeys.usage.batch import Batch
from apikeys.verification.networks import wide_network
from apikeys.verification.outcomes import Outcome
from tests.support import people
from tests.support.people import Person
from tests.support.signed_requests import WRONG, send

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
HOME, NEAR, FAR = "203.0.113.7", "203.0.7.200", "198.51.100.7"
#: Sends an allowed request from each of these addresses, in this order.
Sender = Callable[..., None]


def by_portal(key: ApiKey, *addresses: str) -> None:
    for address in addresses:
        assert send(key, address) is Outcome.ALLOWED


def by_gateway(key: ApiKey, *addresses: str, signed: bool = True) -> None:
    for address in addresses:
        record = key_loader.load(key.key_id)
        assert record is not None
        counters = UsageCounters()
        credential = record.credentials[0].id if signed else 0
        counters.counter_for(PreparedKey(record), "read", address, credential).count = 3
        batch_writer.write(Batch(list(counters.drain())))


@pytest.fixture
def key(sara: Person) -> ApiKey:
    return people.key_of(sara, "bot")


@pytest.fixture(params=[by_portal, by_gateway])
def send_from(request: pytest.FixtureRequest) -> Sender:
    chosen: Sender = request.param
    return chosen


def notified() -> list[str]:
    events = AuditEvent.objects.filter(event=KeyEvent.NEW_NETWORK.value).order_by("pk")
    for event in events:
        assert Notice.objects.filter(event=event, channel="sms").count() == 1
    return [event.address for event in events]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.0.0/16"),
        ("::ffff:203.0.113.7", "203.0.0.0/16"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("somewhere", ""),
        ("", ""),
    ],
)
def test_the_network_of_an_address(address: str, network: str) -> None:
    assert wide_network(address) == network


def test_a_new_network_is_notified_once_and_the_first_one_never(key: ApiKey, send_from: Sender) -> None:
    send_from(key, HOME, NEAR, HOME)
    assert notified() == []
    send_from(key, FAR, FAR, HOME, "198.51.7.7", "2001:db8:1::1", "2001:db8:1:ffff::2", FAR)
    assert notified() == [FAR, "2001:db8:1::1"]


def test_a_key_with_trusted_ips_is_not_watched(key: ApiKey, send_from: Sender) -> None:
    key.apply(["read"], "trusted", [HOME, FAR])
    send_from(key, HOME, FAR)
    assert notified() == []
    assert not NetworkUse.objects.exists()


def test_requests_without_a_signature_say_nothing_and_hide_nothing(key: ApiKey) -> None:
    by_gateway(key, HOME)
    by_gateway(key, FAR, signed=False)
    assert AddressUse.objects.filter(address=FAR).exists()
    assert notified() == []
    assert send(key, FAR, secret=WRONG) is Outcome.SIGNATURE
    assert notified() == []
    by_gateway(key, FAR)
    assert notified() == [FAR]


def test_notices_of_a_day_are_bounded_and_the_rest_comes_the_next_day(
    sara: Person, key: ApiKey, send_from: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [people.key_of(sara, f"bot {n}") for n in range(2)]
    for one in (key, *others):
        send_from(one, HOME)
    far = [f"198.{n}.0.1" for n in range(20, 26)]
    for one in (key, *others):
        send_from(one, *far)
    assert len(notified()) == new_networks.OWNER_NOTICES
    per_key = AuditEvent.objects.filter(event=KeyEvent.NEW_NETWORK.value, target=str(key.pk))
    assert [event.address for event in per_key.order_by("pk")] == far[: new_networks.KEY_NOTICES]
    monkeypatch.setattr(new_networks, "PERIOD", timedelta(0))  # a day has passed
    send_from(key, far[5])
    assert notified()[-1] == far[5]
    assert len(notified()) == new_networks.OWNER_NOTICES + 1


def test_many_networks_at_once_are_a_few_notices(key: ApiKey) -> None:
    by_gateway(key, HOME)
    record = key_loader.load(key.key_id)
    assert record is not None
    counters = UsageCounters()
    for n in range(100):
        address = f"198.{n}.0.1"
        counters.counter_for(PreparedKey(record), "read", address, record.credentials[0].id).count = 1
    batch = Batch(list(counters.drain()))
    batch_writer.write(batch)
    batch_writer.write(batch)
    assert len(notified()) == new_networks.KEY_NOTICES
    assert NetworkUse.objects.count() == 1 + new_networks.KEY_NOTICES


def test_a_key_keeps_the_last_networks(key: ApiKey) -> None:
    by_gateway(key, HOME)
    now = timezone.now()
    NetworkUse.objects.bulk_create(
        NetworkUse(key=key, network=f"10.{n}.0.0/16", last_at=now - timedelta(days=n + 2)) for n in range(40)
    )
    by_gateway(key, FAR)
    kept = list(NetworkUse.objects.filter(key=key).values_list("network", flat=True))
    assert len(kept) == new_networks.KEPT_NETWORKS
    assert {wide_network(HOME), wide_network(FAR), "10.0.0.0/16"} <= set(kept)
    assert "10.39.0.0/16" not in kept


def test_a_network_in_use_is_not_the_one_that_is_forgotten(key: ApiKey, send_from: Sender) -> None:
    send_from(key, HOME)
    NetworkUse.objects.update(last_at=timezone.now() - timedelta(days=3))
    send_from(key, NEAR)
    assert NetworkUse.objects.get().last_at > timezone.now() - timedelta(minutes=1)


def test_the_notice_says_which_key_and_from_where(key: ApiKey) -> None:
    by_gateway(key, HOME, FAR)
    notice = Notice.objects.get(event__event=KeyEvent.NEW_NETWORK.value, channel="sms")
    text = texts.sms_text(notice)
    for part in ("bot", FAR, "http"):
        assert part in text
    assert len(text.encode("utf-16-le")) // 2 <= texts.LONGEST_SMS


def test_what_keys_were_used_from_before_the_upgrade_is_known(key: ApiKey) -> None:
    by_gateway(key, HOME, FAR)
    NetworkUse.objects.all().delete()
    restricted = people.key_of(people.customer(), "other")
    restricted.apply(["read"], "trusted", [HOME])
    by_gateway(restricted, HOME)
    migration = import_module("apikeys.migrations.0012_networks_of_unrestricted_keys")
    migration.learn(apps, None)
    assert set(NetworkUse.objects.values_list("network", flat=True)) == {
        wide_network(HOME),
        wide_network(FAR),
    }
    assert not NetworkUse.objects.exclude(key=key).exists()
    by_gateway(key, HOME, FAR)
    assert len(notified()) == 1, "the notice of the first lines, and no other"
