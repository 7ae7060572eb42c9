"""Webhooks with several sender processes at once, which are killed in between. On PostgreSQL."""

import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone
from psycopg import sql

from accounts import audit
from accounts.audit import chain
from accounts.choices.events import Event
from accounts.models import AuditEvent, AuditHead, AuditLink, WebhookDelivery, WebhookEndpoint
from accounts.webhooks import endpoints, outbox
from apikeys.policy.events import KeyEvent
from tests.commands.test_send_notices import database_url, senders, wait_for
from tests.support.concurrency import RACES, room_for, run_concurrently
from tests.support.people import customer
from tests.support.webhook_receiver import Receiver, ReceiverProcess

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


def first_arrivals(documents: Iterable[Any]) -> dict[int, list[int]]:
    """Return the numbers of each customer's events in the order in which they arrived, without repetitions."""
    arrived: dict[int, dict[int, None]] = defaultdict(dict)
    for document in documents:
        assert document is not None, "every message verifies"
        arrived[document["data"]["customer"]][document["data"]["number"]] = None
    return {customer: list(numbers) for customer, numbers in arrived.items()}


def check_order(receiver: Receiver) -> None:
    arrived = first_arrivals(message.document for message in receiver.received)
    for numbers in arrived.values():
        assert numbers == sorted(numbers)
    assert sorted(number for numbers in arrived.values() for number in numbers) == list(
        range(1, PEOPLE * EVENTS + 1)
    ), "none is missing"


def end_leases_and_pauses() -> None:
    """Let the time pass after which what was in work, or has failed, is tried again."""
    past = timezone.now() - timedelta(seconds=1)
    WebhookDelivery.objects.filter(outbox.WAITING).update(leased_until=None, next_try_at=past)


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
        end_leases_and_pauses()
    receiver.behaviour = lambda _n: 200
    with senders(2, tmp_path):
        wait_for(
            lambda: WebhookDelivery.objects.filter(delivered_at__isnull=False).count() == PEOPLE * EVENTS
        )
    check_order(receiver)


class Chaos:
    """Receiver, senders and their connections to the database, which are killed in turn and come again."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory, self.stack = directory, stack
        self.receiver = ReceiverProcess(directory)
        stack.callback(lambda: self.receiver.kill())

    def start(self) -> None:
        self.receiver.start()
        self.sender()

    def sender(self) -> None:
        # Of its reports on notices nobody reads more than the first.
        [self.child] = self.stack.enter_context(senders(1, self.directory, "--every", "60"))

    def kill_receiver(self) -> None:
        self.receiver.kill()
        wait_for(WebhookDelivery.objects.filter(outbox.WAITING, error="ConnectError").exists)
        self.receiver.start()

    def kill_sender(self) -> None:
        os.kill(self.child.pid, signal.SIGKILL)
        self.sender()

    def kill_database(self) -> None:
        """End the sender's connections, and refuse new ones for a while."""
        name = connection.settings_dict["NAME"]
        server = database_url().rpartition("/")[0]
        with psycopg.connect(f"{server}/postgres", autocommit=True) as other:
            allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            other.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
            ended = other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s AND application_name <> 'portal-tests'",
                [name],
            ).fetchall()
            time.sleep(1)
            other.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
        assert ended, "the sender had connections"

    def arrived(self) -> int:
        return len(self.receiver.documents())

    def go_on(self, count: int) -> None:
        """Wait until ``count`` more messages have arrived."""
        with connection.cursor() as cursor:
            # As autovacuum, which the tests' server does without: the plans of an empty table are slow by now.
            cursor.execute("ANALYZE accounts_webhookdelivery")
        before = self.arrived()
        wait_for(lambda: self.arrived() >= before + count)


def test_a_thousand_events_arrive_while_receiver_database_and_sender_are_killed_in_turn(
    receiver: Receiver, tmp_path: Path
) -> None:
    WebhookEndpoint.objects.all().delete()
    people = [customer() for _ in range(20)]
    # None of them sends a notice.
    kinds = [Event.LOGIN, Event.LOGOUT, Event.LOGIN, Event.LOGOUT, KeyEvent.REVEALED]

    def work(number: int) -> None:
        """250 events of five customers."""
        for n in range(250):
            audit.record(kinds[n % 5], None, customer=people[5 * number + n // 5 % 5].user)

    with ExitStack() as stack:
        chaos = Chaos(tmp_path, stack)
        chain.seal_pending()
        for name, events in (("warehouse", ["*"]), ("risk", ["key.*"])):
            chaos.receiver.secrets.append(endpoints.create(name, chaos.receiver.url, events)[1])
        begins = {row.name: row.sequence for row in WebhookEndpoint.objects.all()}
        chaos.start()
        recording = threading.Thread(target=lambda: run_concurrently([partial(work, n) for n in range(4)]))
        recording.start()
        for fault in [chaos.kill_receiver, chaos.kill_database, chaos.kill_sender] * 2:
            chaos.go_on(40)
            fault()
            end_leases_and_pauses()
        chaos.go_on(40)
        recording.join()
        chain.seal_pending()
        end_leases_and_pauses()
        head = AuditHead.objects.get()
        wait_for(lambda: not WebhookEndpoint.objects.exclude(sequence=head.sequence).exists())
        wait_for(lambda: not WebhookDelivery.objects.filter(outbox.WAITING).exists())
        documents = chaos.receiver.documents()

    assert AuditEvent.objects.filter(event__in=[kind.value for kind in kinds]).count() == 1000
    assert WebhookDelivery.objects.filter(attempts__gt=1).exists(), "some were in work when a part was killed"
    for name, begin in begins.items():
        links = AuditLink.objects.filter(sequence__gt=begin).order_by("sequence")
        if name == "risk":
            links = links.filter(event__event__startswith="key.")
        ours = [document for document in documents if document["data"]["endpoint"] == name]
        pairs = {(document["data"]["number"], document["data"]["sequence"]) for document in ours}
        assert pairs == set(enumerate(links.values_list("sequence", flat=True), 1)), "none is missing"
        for person, numbers in first_arrivals(ours).items():
            assert person is None or numbers == sorted(numbers)


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
