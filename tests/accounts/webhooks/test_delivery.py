"""Webhooks against a real receiver that verifies with the official library: what arrives, and what does not."""

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.audit import chain
from accounts.choices.events import Event
from accounts.models import AuditEvent, AuditHead, User, WebhookDelivery, WebhookEndpoint
from accounts.operations import metrics, retention
from accounts.webhooks import endpoints, outbox, sender, transport
from accounts.webhooks.endpoints import EndpointError
from apikeys.operations import reencrypt
from apikeys.policy.events import KeyEvent
from hitobit_portal.security import crypto
from tests.support.people import customer, key_of
from tests.support.webhook_receiver import Receiver

pytestmark = pytest.mark.django_db
LOOPBACK = [ip_network("127.0.0.0/8")]


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.WEBHOOK_NETWORKS = LOOPBACK


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as each:
        yield each


def pointed_at(receiver: Receiver, name: str = "risk", events: tuple[str, ...] = ("*",)) -> WebhookEndpoint:
    """Return an endpoint whose first event is the next one."""
    chain.seal_pending()
    endpoint, secret = endpoints.create(name, receiver.url, list(events))
    receiver.secrets.append(secret)
    chain.seal_pending()
    head = AuditHead.objects.get()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(sequence=head.sequence)
    endpoint.refresh_from_db()
    return endpoint


def sent() -> sender.Sent:
    chain.seal_pending()
    return sender.send(lambda: False, seconds=30)


def later(**passed: float) -> None:
    """Let time pass for what waits."""
    span = timedelta(**passed)
    for row in WebhookDelivery.objects.all():
        row.next_try_at -= span
        row.since -= span
        row.created_at -= span
        row.save()


def test_message_verifies_and_is_a_cloud_event(receiver: Receiver) -> None:
    sara = customer()
    User.objects.filter(pk=sara.user.pk).update(external_id="c-1")
    key = key_of(sara, "bot")
    pointed_at(receiver)
    event = audit.record(
        KeyEvent.CHANGED, None, customer=sara.user, target=str(key.pk), label="bot", changes=["+trade"],
        note="not for others", reason=f"call {sara.user.phone}",
    )  # fmt: skip
    assert sent() == sender.Sent(delivered=1)
    [message] = receiver.received
    assert message.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    document = message.document
    assert document["id"] == message.headers["webhook-id"]
    assert (document["specversion"], document["source"]) == ("1.0", "https://portal.test")
    assert (document["type"], document["subject"]) == ("com.hitobit.portal.key.changed", "c-1")
    data = document["data"]
    assert (data["number"], data["sequence"], data["customer"]) == (1, event.link.sequence, sara.user.pk)
    assert (data["target"], data["api_key"]) == (str(key.pk), key.key_id)
    assert set(data["detail"]) == {"changes", "reason"}, "only listed details leave the portal"
    assert sara.user.phone not in message.raw.decode()
    assert "•••" in data["detail"]["reason"]


def test_only_what_the_filter_names_is_sent_and_numbers_have_no_gaps(receiver: Receiver) -> None:
    sara = customer()
    pointed_at(receiver, events=("key.*", "account.frozen"))
    for event in (Event.LOGIN, KeyEvent.CREATED, Event.LOGOUT, Event.ACCOUNT_FROZEN, KeyEvent.REVOKED):
        audit.record(event, None, customer=sara.user)
    sent()
    assert receiver.events() == ["key.created", "account.frozen", "key.revoked"]
    assert receiver.numbers == [1, 2, 3]


def test_event_of_a_transaction_that_is_undone_is_not_sent(receiver: Receiver) -> None:
    pointed_at(receiver)
    with transaction.atomic():
        audit.record(Event.LOGIN, None, customer=None)
        transaction.set_rollback(True)
    audit.record(Event.LOGOUT, None, customer=None)
    sent()
    assert (receiver.events(), receiver.numbers) == (["logout"], [1])


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (301, 301, ""), (302, 302, ""), (307, 307, ""), (404, 404, ""), (410, 410, ""), (500, 500, ""),
        ("garbage", None, "RemoteProtocolError"), ("never", None, "Deadline"),
    ],
)  # fmt: skip
def test_anything_but_success_is_tried_again(
    receiver: Receiver, behaviour: int | str, status: int | None, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 1.0 if behaviour == "never" else 10.0)
    receiver.behaviour = lambda n: behaviour if n == 1 else 200
    pointed_at(receiver)
    audit.record(Event.LOGIN, None, customer=None)
    assert sent() == sender.Sent(failed=1)
    row = WebhookDelivery.objects.get()
    assert (row.status, row.error, row.attempts, row.delivered_at) == (status, error, 1, None)
    assert timedelta(seconds=5) < row.next_try_at - timezone.now() <= timedelta(seconds=10)
    assert len(receiver.received) == 1, "a redirect is not followed"
    assert sent() == sender.Sent(), "it waits"
    later(seconds=11)
    assert sent() == sender.Sent(delivered=1)
    first, second = receiver.received
    assert first.document == second.document, "the same message, and the same id"
    row.refresh_from_db()
    assert (row.status, row.error, row.attempts) == (200, "", 2)


def test_answer_without_an_end_is_a_success_and_is_not_read(receiver: Receiver) -> None:
    receiver.behaviour = lambda _n: "endless"
    pointed_at(receiver)
    audit.record(Event.LOGIN, None, customer=None)
    assert sent() == sender.Sent(delivered=1)


def test_dead_receiver_is_given_up_after_three_days_and_gets_it_when_it_is_sent_again(
    receiver: Receiver,
) -> None:
    endpoint = pointed_at(receiver)
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(url="http://127.0.0.1:9/")
    audit.record(Event.LOGIN, None, customer=None)
    sent()
    assert WebhookDelivery.objects.get().error == "ConnectError"
    for _ in range(9):
        later(hours=7, minutes=55)
        sent()
    row = WebhookDelivery.objects.get()
    assert row.gave_up_at is None
    later(hours=8)
    sent()
    row.refresh_from_db()
    assert row.gave_up_at is not None
    later(hours=80)
    assert sent() == sender.Sent()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(url=receiver.url)
    assert endpoints.send_again(row)
    assert not endpoints.send_again(row), "it waits already"
    sent()
    login = next(each for each in receiver.received if each.document["data"]["event"] == "login")
    assert (login.number, login.headers["webhook-id"]) == (1, row.message_id)
    assert AuditEvent.objects.filter(event="webhook.resent").count() == 1


def test_pauses_grow_to_eight_hours() -> None:
    seconds = [outbox.pause_after(n).total_seconds() for n in range(1, 9)]
    assert seconds == [10, 40, 160, 640, 2560, 10240, 28800, 28800]
    assert outbox.pause_after(10**6) == timedelta(hours=8)


def test_later_events_of_a_customer_wait_for_the_first_and_those_of_others_do_not(receiver: Receiver) -> None:
    sara, ali = customer(), customer()
    pointed_at(receiver)
    receiver.behaviour = lambda n: 503 if n == 1 else 200
    audit.record(KeyEvent.CREATED, None, customer=sara.user)
    sent()
    audit.record(KeyEvent.REVOKED, None, customer=sara.user)
    audit.record(KeyEvent.CREATED, None, customer=ali.user)
    sent()
    assert receiver.numbers == [1, 3]
    later(seconds=11)
    sent()
    assert receiver.numbers == [1, 3, 1, 2]


def test_receiver_that_hangs_gets_few_at_once_and_holds_nobody_up(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 2.0)
    receiver.behaviour = lambda _n: "never"
    with Receiver() as quick:
        pointed_at(receiver, "slow")
        pointed_at(quick, "quick")
        people = [customer() for _ in range(6)]
        WebhookEndpoint.objects.update(sequence=AuditHead.objects.get().sequence)
        for person in people:
            audit.record(Event.LOGIN, None, customer=person.user)
        chain.seal_pending()
        sender.send(lambda: len(quick.received) == 6)
    assert receiver.most_at_once == outbox.CONCURRENCY
    assert WebhookDelivery.objects.filter(endpoint__name="slow", delivered_at=None).count() == 6


def test_both_secrets_verify_while_one_is_rotated(receiver: Receiver) -> None:
    endpoint = pointed_at(receiver, events=("login",))
    old = receiver.secrets.pop()
    new = endpoints.rotate("risk", timedelta(hours=1))
    for secrets in ([old], [new]):
        receiver.secrets = secrets
        audit.record(Event.LOGIN, None, customer=None)
        sent()
    assert [message.number for message in receiver.received] == [1, 2]
    WebhookEndpoint.objects.update(old_secret_until=timezone.now() - timedelta(seconds=1))
    receiver.secrets = [old]
    audit.record(Event.LOGIN, None, customer=None)
    sent()
    assert receiver.received[-1].document is None, "the old one signs no more"
    assert endpoints.rotate("risk", timedelta(0)) not in (old, new)
    endpoint.refresh_from_db()
    assert endpoint.old_secret_sealed == ""


def test_secret_is_sealed_for_its_endpoint(receiver: Receiver) -> None:
    one, two = (pointed_at(receiver, name, ("login",)) for name in ("one", "two"))
    assert receiver.secrets[0] not in json.dumps([str(value) for value in vars(one).values()])
    two.secret_sealed = one.secret_sealed
    with pytest.raises(crypto.SealError):
        two.secrets(timezone.now())
    two.save()
    audit.record(Event.LOGIN, None, customer=None)
    assert sent() == sender.Sent(delivered=1), "it keeps the other one from nothing"


def test_old_address_is_told_of_the_new_one(receiver: Receiver) -> None:
    with Receiver() as other:
        endpoint = pointed_at(receiver, events=("login",))
        other.secrets = receiver.secrets
        endpoints.change("risk", url=other.url)
        sent()
        for place, number in ((receiver, None), (other, 1)):
            [message] = place.received
            assert (message.document["data"]["event"], message.number) == ("webhook.moved", number)
            assert message.document["data"]["detail"] == {
                "old": f"127·0·0·1:{receiver.port}", "new": f"127·0·0·1:{other.port}",
            }  # fmt: skip
        endpoints.send_test(endpoint)
        sent()
        assert (len(receiver.received), other.events()) == (1, ["webhook.moved", "webhook.tested"])


def test_paused_endpoint_gets_everything_when_it_goes_on(receiver: Receiver) -> None:
    pointed_at(receiver, events=("login",))
    endpoints.change("risk", is_active=False)
    for _ in range(3):
        audit.record(Event.LOGIN, None, customer=None)
    assert sent() == sender.Sent()
    assert not WebhookDelivery.objects.exists()
    endpoints.change("risk", is_active=True)
    sent()
    assert sorted(receiver.numbers) == [1, 2, 3]


def test_gap_in_the_chain_is_a_gap_in_the_numbers(receiver: Receiver) -> None:
    endpoint = pointed_at(receiver, events=("login",))
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(sequence=endpoint.sequence - 1)
    outbox.fan_out()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(sequence=-5)
    audit.record(Event.LOGIN, None, customer=None)
    sent()
    assert receiver.numbers == [2]


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/", "ftp://hooks.example.com/", "https://user:pass@hooks.example.com/",
        "https://hooks.example.com/?token=1", "https://hooks.example.com/#x", "https:///x", "https://a b/",
        "https://hooks.example.com:99999/", "https://[::1", "https://hööks.example.com/", "https://h/" + "x" * 500,
        "https://hooks.example.com\\@127.0.0.1/",
    ],
)  # fmt: skip
def test_address_that_is_not_plain_https_is_refused(url: str, settings: Any) -> None:
    settings.WEBHOOK_NETWORKS = []
    with pytest.raises(EndpointError) as refused:
        endpoints.create("risk", url, ["*"])
    assert url not in str(refused.value)
    assert not AuditEvent.objects.filter(event="webhook.made").exists()


def test_there_are_at_most_twenty_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 1)
    endpoints.create("one", "https://hooks.example.com/", ["*"])
    with pytest.raises(EndpointError):
        endpoints.create("two", "https://hooks.example.com/", ["*"])
    endpoints.delete("one")
    endpoints.create("two", "https://hooks.example.com/", ["*"])
    with pytest.raises(EndpointError):
        endpoints.delete("one")


def test_secrets_are_encrypted_again_with_a_new_master_key(receiver: Receiver, settings: Any) -> None:
    endpoint = pointed_at(receiver, events=("login",))
    receiver.secrets.append(endpoints.rotate("risk", timedelta(hours=1)))
    settings.MASTER_KEYS = {"next": b"n" * 32, **settings.MASTER_KEYS}
    damaged: list[str] = []
    assert sum(reencrypt.reencrypt_batches(10, damaged)) == 2
    assert damaged == []
    endpoint.refresh_from_db()
    assert {endpoint.secret_sealed[:8], endpoint.old_secret_sealed[:8]} == {"v1:next:"}
    assert endpoint.secrets(timezone.now()) == receiver.secrets[::-1]


def test_deliveries_are_pruned_when_they_are_over(receiver: Receiver) -> None:
    endpoint, now = pointed_at(receiver), timezone.now()
    event = AuditEvent.objects.latest("pk")
    for number, (days, values) in enumerate(
        [(31, {"delivered_at": now}), (31, {"gave_up_at": now}), (31, {}), (29, {"delivered_at": now})],
        start=100,
    ):
        WebhookDelivery.objects.create(
            endpoint=endpoint, event=event, number=number, created_at=now - timedelta(days=days), **values
        )
    retention.remove(retention.RETENTION["deliveries to webhooks"])
    assert list(WebhookDelivery.objects.order_by("number").values_list("number", flat=True)) == [102, 103]


def test_event_that_was_pruned_is_given_up_and_one_that_is_not_linked_waits(receiver: Receiver) -> None:
    endpoint, now = pointed_at(receiver), timezone.now() + timedelta(seconds=1)
    for number, days in ((100, 0), (101, 4)):
        WebhookDelivery.objects.create(
            endpoint=endpoint, event_id=10**9, number=number, created_at=now - timedelta(days=days)
        )
    assert outbox.take(now) == []
    waits, lost = WebhookDelivery.objects.order_by("number")
    assert (waits.gave_up_at, waits.attempts, waits.next_try_at > now) == (None, 0, True)
    assert (lost.gave_up_at, lost.error) == (now, "Pruned")


def test_metrics_count_what_waits_and_what_was_given_up(receiver: Receiver) -> None:
    endpoint, now = pointed_at(receiver, "risk"), timezone.now()
    pointed_at(receiver, "paused")
    endpoints.change("paused", is_active=False)
    event = AuditEvent.objects.latest("pk")
    hour, day = timedelta(hours=1), timedelta(days=1)
    for number, values in enumerate(
        [
            {"created_at": now - hour},
            {},
            {"delivered_at": now},
            {"gave_up_at": now - 2 * day},
            {"gave_up_at": now - hour},
        ],
        start=100,
    ):
        WebhookDelivery.objects.create(endpoint=endpoint, event=event, number=number, **values)
    values_of = {
        family.name: {sample.labels["webhook"]: sample.value for sample in family.samples}
        for family in metrics._webhooks(now)
    }
    assert values_of == {
        "portal_webhook_waiting": {"risk": 2},
        "portal_webhook_age_seconds": {"risk": 3600},
        "portal_webhook_given_up": {"risk": 1},
    }


def test_age_counts_events_that_no_sender_has_looked_at(receiver: Receiver) -> None:
    pointed_at(receiver)
    event = audit.record(Event.LOGIN, None, customer=None)
    audit.record(Event.LOGOUT, None, customer=None)
    chain.seal_pending()
    waiting, age, _given_up = metrics._webhooks(event.at + timedelta(hours=2))
    assert waiting.samples[0].value == 0, "nobody made a delivery of it"
    assert age.samples[0].value == 7200


@pytest.mark.django_db(transaction=True)
def test_one_run_of_the_command_sends_webhooks_and_does_not_wait_for_their_success(
    receiver: Receiver,
) -> None:
    pointed_at(receiver, events=("login",))
    receiver.behaviour = lambda n: 500 if n == 1 else 200
    for _ in range(2):
        audit.record(Event.LOGIN, None, customer=None)
    chain.seal_pending()
    call_command("send_notices", stdout=StringIO())
    assert sorted(receiver.numbers) == [1, 2]
    assert WebhookDelivery.objects.filter(delivered_at__isnull=False).count() == 1


def test_later_events_do_not_wait_for_one_that_is_sent_again(receiver: Receiver) -> None:
    sara = customer()
    pointed_at(receiver, events=("key.*",))
    audit.record(KeyEvent.CREATED, None, customer=sara.user)
    receiver.behaviour = lambda _n: 400
    sent()
    WebhookDelivery.objects.update(gave_up_at=timezone.now())
    endpoints.send_again(WebhookDelivery.objects.get())
    sent()
    receiver.behaviour = lambda _n: 200
    audit.record(KeyEvent.REVOKED, None, customer=sara.user)
    sent()
    assert receiver.numbers == [1, 1, 2]
