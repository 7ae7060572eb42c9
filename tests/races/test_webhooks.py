"""Webhooks with several sender processes at once, which are killed in between. On PostgreSQL."""

import os
import random
import signal
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts import audit
from accounts.audit import chain
from accounts.models import AuditLink, WebhookDelivery, WebhookEndpoint
from accounts.webhooks import endpoints, outbox
from apikeys.policy.events import KeyEvent
from tests.commands.test_send_notices import senders, wait_for
from tests.support.concurrency import RACES, room_for, run_concurrently
from tests.support.people import customer
from tests.support.webhook_receiver import Receiver

pytestmark = RACES
_room = room_for(8)
PEOPLE, EVENTS = 5, 12


@pytest.fixture
def receiver(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.0/8")]
    monkeypatch.setenv("PORTAL_WEBHOOK_NETWORKS", "127.0.0.0/8")
    with Receiver() as each:
        _endpoint, secret = endpoints.create("risk", each.url, ["key.*"])
        each.secrets.append(secret)
        yield each


def make_events() -> None:
    """Events of several customers, by several requests at once."""
    people = [customer() for _ in range(PEOPLE)]

    def work(user: Any) -> None:
        for _ in range(EVENTS):
            audit.record(KeyEvent.REVEALED, None, customer=user)

    run_concurrently([lambda person=person: work(person.user) for person in people])  # type: ignore[misc]
    chain.seal_pending()


def first_arrivals(receiver: Receiver) -> dict[int, list[int]]:
    """Return the numbers of each customer's events in the order in which they arrived, without repetitions."""
    arrived: dict[int, list[int]] = defaultdict(list)
    for message in receiver.received:
        assert message.document is not None, "every message verifies"
        numbers = arrived[message.document["data"]["customer"]]
        if message.number not in numbers:
            numbers.append(message.number)
    return arrived


def check_order(receiver: Receiver) -> None:
    arrived = first_arrivals(receiver)
    for numbers in arrived.values():
        assert numbers == sorted(numbers)
    assert sorted(number for numbers in arrived.values() for number in numbers) == list(
        range(1, PEOPLE * EVENTS + 1)
    ), "none is missing"


def test_two_senders_send_each_event_once_and_in_order(receiver: Receiver, tmp_path: Path) -> None:
    with senders(2, tmp_path) as children:
        make_events()
        wait_for(
            lambda: WebhookDelivery.objects.filter(delivered_at__isnull=False).count() == PEOPLE * EVENTS
        )
        for child in children:
            child.send_signal(signal.SIGTERM)
            _out, err = child.communicate(timeout=60)
            assert (child.returncode, err) == (0, "")
    assert len(receiver.received) == PEOPLE * EVENTS, "none is sent twice"
    check_order(receiver)
    assert receiver.most_at_once <= outbox.CONCURRENCY


def test_nothing_is_lost_when_senders_are_killed_and_the_receiver_fails(
    receiver: Receiver, tmp_path: Path
) -> None:
    choose = random.Random(1)
    receiver.behaviour = lambda _n: choose.choice([200, 200, 200, 500, 302])
    make_events()
    for _ in range(3):
        before = len(receiver.received)
        with senders(2, tmp_path) as children:
            wait_for(lambda before=before: len(receiver.received) >= before + 3)
            for child in children:
                os.kill(child.pid, signal.SIGKILL)
        # Leases and pauses of the killed ones run out.
        past = timezone.now() - timedelta(seconds=1)
        WebhookDelivery.objects.update(leased_until=None, next_try_at=past)
    receiver.behaviour = lambda _n: 200
    with senders(2, tmp_path):
        wait_for(
            lambda: WebhookDelivery.objects.filter(delivered_at__isnull=False).count() == PEOPLE * EVENTS
        )
    check_order(receiver)


def test_many_at_once_make_each_delivery_once(receiver: Receiver) -> None:
    make_events()
    run_concurrently([outbox.fan_out] * 6)
    while outbox.fan_out():
        pass
    endpoint = WebhookEndpoint.objects.get()
    rows = WebhookDelivery.objects.order_by("number").values_list("number", "event")
    links = AuditLink.objects.filter(event__event="key.revealed").order_by("sequence")
    assert list(rows) == [(n, link.event_id) for n, link in enumerate(links, start=1)]
    assert endpoint.number == PEOPLE * EVENTS
