"""Reminders are sent 30, 7 and 1 days before a key expires: each threshold once, and of several the nearest."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import audit
from accounts.audit import chain
from accounts.models import AuditEvent, Notice, User
from accounts.notifications import outbox
from apikeys.actions import expiry_reminders
from apikeys.actions.expiry_reminders import send_reminders
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from tests.support import people, sms_collector
from tests.support.concurrency import run_concurrently

pytestmark = pytest.mark.usefixtures("collected_sms")

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def key_expiring(at: datetime | None, name: str = "bot") -> ApiKey:
    key = people.key_of(people.customer(), name)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=at)
    key.refresh_from_db()
    return key


def sent_days(event: KeyEvent = KeyEvent.EXPIRES_SOON) -> list[int]:
    events = AuditEvent.objects.filter(event=event.value).order_by("pk")
    return [event.detail["days"] for event in events]


@pytest.mark.django_db
def test_each_threshold_is_sent_once() -> None:
    now = timezone.now()
    end = now + 40 * DAY
    key_expiring(end)
    assert send_reminders(end - 30 * DAY - SECOND) == 0
    for days in (30, 7, 1):
        assert send_reminders(end - days * DAY) == 1
        assert send_reminders(end - days * DAY) == 0
        assert send_reminders(end - days * DAY + timedelta(hours=5)) == 0
    assert send_reminders(end) == send_reminders(end + DAY) == 0
    assert sent_days() == [30, 7, 1]


@pytest.mark.django_db
@pytest.mark.parametrize(("left", "days"), [(20 * DAY, 20), (6.5 * DAY, 7), (timedelta(hours=3), 1)])
def test_of_several_that_have_passed_the_nearest_is_sent_with_the_days_that_are_left(
    left: timedelta, days: int
) -> None:
    now = timezone.now()
    key_expiring(now + left)
    assert send_reminders(now) == 1
    assert send_reminders(now) == 0
    assert sent_days() == [days]


@pytest.mark.django_db
def test_the_event_and_its_notice_hold_the_name_and_the_date() -> None:
    now = timezone.now()
    key = key_expiring(now + 7 * DAY, "ربات")
    User.objects.update(language="en")
    send_reminders(now)
    event = AuditEvent.objects.get(event=KeyEvent.EXPIRES_SOON.value)
    assert (event.customer, event.label, event.target) == (key.owner, "ربات", str(key.pk))
    assert key.expires_at is not None
    assert event.detail == {"days": 7, "date": key.expires_at.isoformat()}
    outbox.send_due()
    text = sms_collector.newest().text
    assert "in 7 days" in text
    assert "ربات" in text


@pytest.mark.django_db
def test_keys_without_an_end_expired_keys_and_deleted_ones_get_no_reminder() -> None:
    now = timezone.now()
    key_expiring(None)
    key_expiring(now)
    key_expiring(now - DAY)
    key_expiring(now + DAY).set_state(KeyState.REVOKED)
    assert send_reminders(now) == 0
    assert Notice.objects.count() == 0
    key_expiring(now + DAY).set_state(KeyState.FROZEN)
    assert send_reminders(now) == 1


@pytest.mark.django_db
def test_a_new_date_is_reminded_of_again() -> None:
    now = timezone.now()
    key = key_expiring(now + DAY)
    assert send_reminders(now) == 1
    ApiKey.objects.filter(pk=key.pk).update(expires_at=now + 20 * DAY, expiry_told_days=None)
    assert send_reminders(now) == 1
    assert sent_days() == [1, 20]


@pytest.mark.django_db
def test_a_date_that_was_changed_meanwhile_gets_no_reminder(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    key = key_expiring(now + DAY)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=now + timedelta(hours=2))
    assert not expiry_reminders._record_reminder(expiry_reminders.EXPIRY, key, 1, now)
    assert sent_days() == []


def key_trading(until: datetime) -> ApiKey:
    key = people.key_of(people.customer())
    key.apply(["read", "trade"], "unrestricted", [])
    ApiKey.objects.filter(pk=key.pk).update(trade_until=until)
    key.refresh_from_db()
    return key


@pytest.mark.django_db
def test_the_end_of_trading_from_any_ip_is_reminded_of_at_the_same_thresholds_and_again_after_a_renewal() -> (
    None
):
    end = timezone.now() + 40 * DAY
    key = key_trading(end)
    User.objects.update(language="en")
    assert send_reminders(end - 30 * DAY - SECOND) == 0
    for days in (30, 7, 1):
        assert send_reminders(end - days * DAY) == 1
        assert send_reminders(end - days * DAY) == 0
    assert sent_days(KeyEvent.TRADE_ENDS_SOON) == [30, 7, 1]
    assert sent_days() == []
    outbox.send_due()
    assert "Trading ends" in sms_collector.newest().text
    assert key.renew_trade()
    assert send_reminders() == 0
    assert send_reminders(timezone.now() + 60 * DAY) == 1


@pytest.mark.django_db
def test_an_end_of_trading_that_means_nothing_gets_no_reminder() -> None:
    now = timezone.now()
    ApiKey.objects.filter(pk=key_trading(now + 5 * DAY).pk).update(
        expires_at=now + 4 * DAY, expiry_told_days=1
    )
    key_trading(now + 5 * DAY).set_state(KeyState.REVOKED)
    key_trading(now - DAY)
    key_trading(now + 5 * DAY).apply(["read"], "unrestricted", [])
    key_trading(now + 5 * DAY).apply(["read", "trade"], "trusted", [people.ADDRESS])
    assert send_reminders(now) == 0


@pytest.mark.django_db(transaction=True)
def test_the_threshold_counts_as_sent_only_with_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    key_expiring(now + DAY)

    def fails(*arguments: object, **more: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", fails)
        with pytest.raises(RuntimeError):
            send_reminders(now)
    assert send_reminders(now) == 1


@pytest.mark.django_db(transaction=True)
def test_interrupted_reminders_leave_whole_pages_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    owner = people.customer()
    for number in range(7):
        people.key_of(owner, f"bot {number}")
    ApiKey.objects.update(expires_at=now + 5 * DAY)
    monkeypatch.setattr(expiry_reminders, "PAGE", 3)
    record = audit.record

    def interrupted(*arguments: Any, **more: Any) -> object:
        if len(sent_days()) == 5:
            raise KeyboardInterrupt
        return record(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", interrupted)
        with pytest.raises(KeyboardInterrupt):
            send_reminders(now)
    assert len(sent_days()) == ApiKey.objects.filter(expiry_told_days=7).count() == 3
    assert send_reminders(now, limit=2) == 2
    assert send_reminders(now) == 2
    assert len(sent_days()) == Notice.objects.count() == 7


@pytest.mark.django_db(transaction=True)
def test_pages_of_reminders_are_one_transaction_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = timezone.now()
    keys = [key_expiring(now + 5 * DAY, f"bot {n}") for n in range(5)]
    monkeypatch.setattr(expiry_reminders, "PAGE", 2)
    seals: list[int] = []
    seal = chain._Seal.__call__

    def counted(self: chain._Seal) -> None:
        seals.append(len(sent_days()))
        seal(self)

    monkeypatch.setattr(chain._Seal, "__call__", counted)
    assert send_reminders(now) == len(keys)
    assert seals == [2, 4, 5]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_eight_at_once_tell_each_key_once() -> None:
    now = timezone.now()
    keys = [key_expiring(now + 5 * DAY, f"bot {n}") for n in range(10)]
    assert sum(run_concurrently([lambda: send_reminders(now)] * 8)) == len(keys)
    assert len(sent_days()) == len(keys) == Notice.objects.count()
