"""The outbox's sender: each notice once, whoever sends, whatever fails, and nothing is lost in silence."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.db import DatabaseError
from django.utils import timezone

from accounts import audit
from accounts.choices.events import Event, SecurityEvent
from accounts.models import AuditEvent, Notice
from accounts.notifications import outbox, texts
from accounts.notifications.outbox import BACKOFF, GIVE_UP_AFTER, LEASE, Report
from accounts.sms import circuit_breaker, file
from apikeys.policy.events import KeyEvent
from hitobit_portal.security.ratelimits import Rate
from tests.support import people, sms_collector
from tests.support.people import Person

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _phone(settings: Any, tmp_path: Path) -> None:
    settings.SMS_BACKENDS, settings.DATA_DIR = ["tests.support.sms_collector"], tmp_path
    sms_collector.reset()


def owner(*, email: str = "") -> Person:
    sara = people.customer()
    sara.user.language, sara.user.email = "en", email
    sara.user.save()
    return sara


def noticed(sara: Person, event: SecurityEvent = Event.PASSWORD_CHANGED, **more: Any) -> Notice:
    audit.record(event, None, customer=sara.user, **more)
    return Notice.objects.latest("pk")


@pytest.mark.django_db
def test_a_notice_goes_out_once_by_each_channel() -> None:
    noticed(owner(email="sara@example.com"))
    assert outbox.send_due() == Report(sent=2)
    assert outbox.send_due(timezone.now() + timedelta(days=30)) == Report()
    assert len(sms_collector.messages) == len(mail.outbox) == 1
    assert sms_collector.newest().purpose == "notice"
    assert sms_collector.newest().code == ""
    assert not Notice.objects.filter(sent_at=None).exists()


@pytest.mark.django_db
def test_no_more_than_the_limit_goes_out_and_the_oldest_first() -> None:
    sara = owner()
    rows = [noticed(sara) for _n in range(5)]
    assert outbox.send_due(limit=3) == Report(sent=3)
    assert set(Notice.objects.filter(sent_at=None)) == set(rows[3:])


@pytest.mark.django_db
def test_signs_of_a_theft_go_out_before_the_rest_and_announcements_last() -> None:
    sara = owner()
    days = {"days": 7, "date": timezone.now().isoformat()}
    bulk = [noticed(sara, KeyEvent.EXPIRES_SOON, label="bot", **days) for _n in range(3)]
    normal = noticed(sara, KeyEvent.REVOKED, label="bot")
    first, second = noticed(sara, Event.ACCOUNT_FROZEN), noticed(sara, Event.PHONE_CHANGED)
    order: list[Notice] = []
    for _n in range(6):
        waiting = set(Notice.objects.filter(sent_at=None))
        assert outbox.send_due(limit=1) == Report(sent=1)
        order += waiting - set(Notice.objects.filter(sent_at=None))
    assert order == [first, second, normal, *bulk]
    # What comes between is not kept waiting by what is left.
    later = [noticed(sara, KeyEvent.EXPIRES_SOON, label="bot", **days) for _n in range(2)]
    assert outbox.send_due(limit=1) == Report(sent=1)
    urgent = noticed(sara, Event.ACCOUNT_FROZEN)
    assert outbox.send_due(limit=1) == Report(sent=1)
    assert set(Notice.objects.filter(sent_at=None)) == {later[1]}
    assert Notice.objects.get(pk=urgent.pk).sent_at


@pytest.mark.django_db
def test_an_urgent_notice_that_waits_for_its_next_try_keeps_no_other_waiting() -> None:
    sara = owner()
    noticed(sara, Event.ACCOUNT_FROZEN)
    sms_collector.failing = True
    assert outbox.send_due() == Report(failed=1)
    sms_collector.failing = False
    noticed(sara, KeyEvent.REVOKED, label="bot")
    assert outbox.send_due() == Report(sent=1)


@pytest.mark.django_db
def test_a_provider_that_is_down_is_asked_again_less_and_less_often() -> None:
    notice = noticed(owner())
    sms_collector.failing = True
    now = notice.next_try_at
    for pause in (*BACKOFF, BACKOFF[-1], BACKOFF[-1]):
        assert outbox.send_due(now) == Report(failed=1)
        assert outbox.send_due(now + pause - SECOND) == Report()
        now += pause
    sms_collector.failing = False
    circuit_breaker.record_success(
        "tests.support.sms_collector"
    )  # as if a minute had passed on its clock, too
    assert outbox.send_due(now) == Report(sent=1)
    assert len(sms_collector.messages) == 1


@pytest.mark.django_db
def test_after_three_days_it_is_given_up_with_an_event_and_without_a_notice_of_that() -> None:
    notice = noticed(owner())
    sms_collector.failing = True
    before = notice.created_at + GIVE_UP_AFTER - SECOND
    assert outbox.send_due(before) == Report(failed=1)
    assert outbox.send_due(before + timedelta(hours=2)) == Report(gave_up=1)
    assert outbox.send_due(before + timedelta(days=99)) == Report()
    failed = AuditEvent.objects.get(event=Event.NOTICE_FAILED.value)
    assert failed.customer == notice.user
    assert failed.detail == {"channel": "sms", "of": "password.changed"}
    assert Notice.objects.get().gave_up_at is not None


@pytest.mark.django_db
def test_after_an_outage_of_our_own_each_notice_has_its_try_however_old() -> None:
    notice = noticed(owner())
    assert outbox.send_due(notice.created_at + timedelta(days=9)) == Report(sent=1)


@pytest.mark.django_db
def test_one_notice_that_cannot_be_sent_does_not_keep_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sara = owner()
    bad, _good = noticed(sara), noticed(sara)
    right = texts.sms_text

    def text(notice: Notice) -> str:
        if notice == bad:
            raise ValueError("https://portal.test/n/token/")
        return right(notice)

    monkeypatch.setattr(texts, "sms_text", text)
    assert outbox.send_due() == Report(sent=1, failed=1)
    assert "ValueError" in caplog.text
    assert "token" not in caplog.text


class Killed(BaseException):
    """Stands in for SIGKILL: nothing of ours gets a word in."""


@pytest.mark.django_db(transaction=True)
def test_a_sender_killed_after_handing_over_repeats_it_under_the_same_reference(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.SMS_BACKENDS = ["accounts.sms.file"]
    noticed(owner(email="sara@example.com"))
    now, right = timezone.now(), outbox._hand_over

    def killed(notice: Notice) -> None:
        right(notice)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_hand_over", killed)
        for _channel in range(2):
            with pytest.raises(Killed):
                outbox.send_due(now)
    assert outbox.send_due(now + LEASE - SECOND) == Report(), "both are leased"
    assert outbox.send_due(now + LEASE) == Report(sent=2)
    assert len(file.messages()) == 1, "the provider knows the reference"
    letters = [letter.message() for letter in mail.outbox]
    assert len(letters) == 2
    assert {letter["Message-ID"] for letter in letters} == {
        f"<notice-{Notice.objects.get(channel='email').pk}@portal.test>"
    }


@pytest.mark.django_db
def test_a_database_that_is_away_is_said_and_what_was_in_work_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notice = noticed(owner())

    def away(notice: Notice) -> None:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_hand_over", away)
        with pytest.raises(DatabaseError):
            outbox.send_due(notice.next_try_at)
    assert outbox.send_due(notice.next_try_at + LEASE) == Report(sent=1)


@pytest.mark.django_db
def test_an_account_gets_sixty_sms_a_day_of_what_a_thief_repeats_and_all_of_the_rest() -> None:
    sara, most = owner(), Rate.NOTICE_ACCOUNT.value.count
    for _n in range(most + 5):
        noticed(sara, KeyEvent.CHANGED, label="bot", changes=["-trade"])
    noticed(sara, Event.PHONE_CHANGED)
    noticed(owner(), KeyEvent.CHANGED, label="bot", changes=["-trade"])
    assert outbox.send_due(limit=200) == Report(sent=most + 2, postponed=5)
    held = Notice.objects.filter(sent_at=None)
    assert {notice.attempts for notice in held} == {0}
    assert all(notice.next_try_at > timezone.now() for notice in held)
    cache.clear()  # as if the day had passed
    assert outbox.send_due(timezone.now() + timedelta(days=1)) == Report(sent=5)


@pytest.mark.django_db
def test_the_cap_counts_each_notice_once_and_leaves_email_alone() -> None:
    sara = owner(email="sara@example.com")
    now = timezone.now()
    noticed(sara, KeyEvent.REVOKED, label="bot")
    sms_collector.failing = True
    for _n in range(Rate.NOTICE_ACCOUNT.value.count + 5):
        now += BACKOFF[-1] / 70 + LEASE
        Notice.objects.filter(sent_at=None).update(next_try_at=now)
        outbox.send_due(now)
    sms_collector.failing = False
    circuit_breaker.record_success("tests.support.sms_collector")
    noticed(sara, KeyEvent.REVOKED, label="bot")
    Notice.objects.filter(sent_at=None).update(next_try_at=now)
    assert outbox.send_due(now) == Report(sent=3)
    assert len(mail.outbox) == 2


@pytest.mark.django_db
def test_email_that_was_turned_off_fails_and_is_not_written_anywhere(settings: Any) -> None:
    noticed(owner(email="sara@example.com"))
    settings.EMAIL = False
    assert outbox.send_due() == Report(sent=1, failed=1)
    assert mail.outbox == []
