"""Which events are notified, to whom, and how often: the rows that `policy.put` leaves in the outbox."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import audit
from accounts.choices.events import Event, SecurityEvent
from accounts.models import AuditEvent, Notice
from accounts.notifications import policy as notifications_policy
from accounts.notifications.policy import HELD_BACK, HOURLY, MANDATORY, OF_STAFF, OPTIONAL
from apikeys.policy.events import KeyEvent
from apikeys.policy.settings_change import Settings, SettingsChange
from tests.support import people
from tests.support.concurrency import run_concurrently
from tests.support.people import Person

pytestmark = pytest.mark.django_db


def owner(*, email: str = "sara@example.com") -> Person:
    sara = people.customer()
    sara.user.email = email
    sara.user.save()
    return sara


def happens(event: SecurityEvent, sara: Person, **more: Any) -> AuditEvent:
    return audit.record(event, None, customer=sara.user, **more)


def notified(sara: Person) -> int:
    return Notice.objects.filter(user=sara.user).count()


def test_events_of_the_closed_lists_exist_and_a_failed_notice_is_told_to_nobody() -> None:
    assert not MANDATORY & set(OPTIONAL)
    assert HOURLY <= HELD_BACK <= MANDATORY | set(OPTIONAL) | OF_STAFF
    sara = owner()
    happens(Event.NOTICE_FAILED, sara)
    assert Event.NOTICE_FAILED not in MANDATORY | set(OPTIONAL)
    assert notified(sara) == 0


def test_optional_notices_are_told_to_those_who_want_them() -> None:
    sara = owner()
    happens(Event.LOGIN, sara)
    assert notified(sara) == 0
    sara.user.optional_notices = [Event.LOGIN.value, Event.LOGOUT.value, "nonsense"]
    sara.user.save()
    happens(Event.LOGIN, sara)
    happens(Event.LOGOUT, sara)
    assert notified(sara) == 2


def test_also_tells_the_replaced_number_and_address_once_each() -> None:
    sara = owner()
    also = [("sms", "+989121111111"), ("email", "old@example.com"), ("sms", sara.user.phone), ("sms", "")]
    audit.record(Event.PHONE_CHANGED, None, customer=sara.user, also=also)
    assert set(Notice.objects.values_list("channel", "to")) == {
        ("sms", sara.user.phone),
        ("email", "sara@example.com"),
        ("sms", "+989121111111"),
        ("email", "old@example.com"),
    }


def test_a_phone_that_is_not_confirmed_and_a_missing_address_get_nothing(settings: Any) -> None:
    nima = people.newcomer()
    audit.record(Event.CODE_LOCKED, None, customer=nima.user)
    audit.record(Event.CODE_LOCKED, None, customer=None)
    assert Notice.objects.count() == 0
    settings.EMAIL = False
    sara = owner()
    audit.record(Event.PASSWORD_CHANGED, None, customer=sara.user, also=[("email", "old@example.com")])
    assert Notice.objects.get().channel == "sms"


@pytest.mark.parametrize("event", sorted(HOURLY, key=str))
def test_what_anybody_can_bring_about_is_told_once_an_hour(event: SecurityEvent) -> None:
    sara, omid = owner(email=""), owner(email="")
    for person in (sara, omid):
        person.user.optional_notices = [event.value]
        person.user.save()
    for _n in range(20):
        audit.record(event, None, customer=sara.user, succeeded=False)
    audit.record(event, None, customer=omid.user, succeeded=False)
    assert (notified(sara), notified(omid)) == (1, 1)
    Notice.objects.update(created_at=timezone.now() - timedelta(minutes=59))
    audit.record(event, None, customer=sara.user)
    assert notified(sara) == 1
    Notice.objects.update(created_at=timezone.now() - timedelta(minutes=61))
    audit.record(event, None, customer=sara.user)
    assert notified(sara) == 2


def test_no_change_that_adds_power_waits_for_the_cap() -> None:
    sara = owner()
    for changes, waits in (
        (["-trade"], True),
        (["ip:trusted", "+203.0.113.7"], True),
        (["-203.0.113.7"], True),
        (["+203.0.113.7", "-203.0.113.8"], False),
        (["ip:unrestricted", "-203.0.113.8"], False),
        (["ip:trusted", "+203.0.113.7", "+withdraw"], False),
    ):
        event = happens(KeyEvent.CHANGED, sara, label="bot", changes=changes)
        assert notifications_policy.may_wait(event) is waits, changes
    for grave in (Event.PHONE_CHANGED, Event.PHONE_CHANGE_ASKED, KeyEvent.CREATED, Event.PASSWORD_RESET):
        assert not notifications_policy.may_wait(happens(grave, sara))


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_twelve_at_once_one_is_told() -> None:
    sara = owner(email="")
    run_concurrently([lambda: happens(Event.LOGIN_LIMITED, sara)] * 12)
    assert notified(sara) == 1
    assert AuditEvent.objects.count() == 12


def test_no_change_that_adds_power_waits_for_its_sms() -> None:
    networks = ((), ("192.0.2.1",), ("192.0.2.1", "198.51.100.0/24"))
    settings = [
        Settings(permissions, policy, listed, expires)
        for permissions in (frozenset({"read"}), frozenset({"trade"}), frozenset({"read", "withdraw"}))
        for policy, listed in (("unrestricted", ()), *(("trusted", listed) for listed in networks))
        for expires in ("", "2027-01-01T00:00:00+00:00", "2028-01-01T00:00:00+00:00")
    ]
    changes = [SettingsChange(before, after) for before in settings for after in settings]
    powerful = [change for change in changes if change.adds_power]
    assert len(powerful) > 100
    for change in powerful:
        event = AuditEvent(event=KeyEvent.CHANGED.value, detail={"changes": change.codes()})
        assert not notifications_policy.may_wait(event), change


def test_the_end_of_a_credential_is_told() -> None:
    """SECURITY: a thief who ends the new one before its first use keeps the old one, which he has."""
    sara = owner()
    happens(KeyEvent.CREDENTIAL_ENDED, sara, label="bot")
    assert notified(sara) > 0
