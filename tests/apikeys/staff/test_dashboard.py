"""The staff's dashboard: its figures are correct and take few statements, whatever the amount of data."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit
from accounts.actions import freeze
from accounts.choices.events import Event
from accounts.models import AuditEvent, SmsDelivery, TrustedDevice
from accounts.sms import delivery_log
from accounts.staff.forms import start_of
from apikeys.models import DailyUse
from apikeys.policy.events import KeyEvent
from apikeys.staff import dashboard
from apikeys.usage.recorder import today
from tests.support.people import customer, key_of
from tests.support.staff import KEYS, USERS, page_of, staff_browser

pytestmark = pytest.mark.django_db
STATEMENTS = 6
MOST = 34  # the densest page, a customer's, with session, login and permissions of the member of staff


def figure(name: str) -> dashboard.Figure:
    return next(one for one in dashboard.load_dashboard().figures if one.name == name)


def test_events_are_counted_by_tehrans_day() -> None:
    sara = customer()
    for days in (0, 0, 3, 29, 30, 400):
        moment = start_of(today() - timedelta(days=days)) + timedelta(minutes=5)
        AuditEvent.objects.create(event=Event.SIGNED_UP.value, customer=sara.user, at=moment)
    chart = figure("sign-ups")
    assert (chart.today.allowed, chart.ok_sum) == (2, 4)
    assert [chart.days[index].allowed for index in (0, 26, 29)] == [1, 1, 2]


def test_rejections_by_reason_most_frequent_first() -> None:
    key = key_of(customer())
    for outcome, days, count in (("stale", 0, 5), ("stale", 3, 5), ("signature", 0, 7), ("allowed", 0, 900)):
        DailyUse.objects.create(
            key=key, day=today() - timedelta(days=days), outcome=outcome, permission="read", count=count
        )
    reasons = dashboard.load_dashboard().reasons
    assert [(reason.today, reason.month) for reason in reasons] == [(5, 10), (7, 7)]
    assert figure("refusals").no_sum == 17


def test_sms_are_counted_and_cost_what_providers_charge(settings: Any) -> None:
    rows = [
        ("accounts.sms.kavenegar", True, 3),
        ("accounts.sms.kavenegar", False, 2),
        ("accounts.sms.file", True, 1),
    ]
    for backend, succeeded, parts in rows:
        SmsDelivery.objects.create(
            backend=backend, purpose="login", number="0912•••4567", succeeded=succeeded, parts=parts
        )
    assert (figure("sms").ok_sum, figure("sms").no_sum) == (2, 1)
    assert dashboard.load_dashboard().cost is None
    settings.SMS_PRICE = 120.0
    assert dashboard.load_dashboard().cost == (360.0, 360.0)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3),
        ("س" * 70, 1), ("س" * 71, 2), ("س" * 134, 2), ("س" * 135, 3), ("😀" * 35, 1), ("😀" * 36, 2), ("", 1),
    ],
)  # fmt: skip
def test_parts_of_a_message_as_providers_count_them(text: str, parts: int) -> None:
    assert delivery_log.count_parts(text) == parts


def test_frozen_and_quarantined_accounts_now() -> None:
    freeze.freeze(None, customer().user)
    freeze.quarantine(customer().user)
    board = dashboard.load_dashboard()
    assert (board.frozen, board.quarantined, figure("locked").ok_sum) == (1, 1, 1)


def test_overview_shows_charts_with_their_numbers_in_words() -> None:
    sara = customer()
    audit.record(Event.SIGNED_UP, None, customer=sara.user)
    page = staff_browser("support").get("/admin/").content.decode()
    assert page.count("<figure") == 1
    assert page.count("<table") == 1
    assert 'aria-hidden="true"><path class="rule"' in page


def test_overview_costs_the_same_few_statements_with_nothing_and_with_much() -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as statements:
            dashboard.load_dashboard()
        return len(statements)

    empty = count()
    for n in range(5):
        key = key_of(customer(), f"key {n}")
        audit.record(KeyEvent.CREATED, None, customer=key.owner)
        DailyUse.objects.create(key=key, day=today(), outcome="stale", count=1)
    assert count() == empty <= STATEMENTS


@pytest.mark.parametrize("count", [1, 12])
def test_staff_pages_cost_few_statements(count: int) -> None:
    sara = customer(name="Sara")
    keys = [key_of(sara, f"key {n}") for n in range(count)]
    for n in range(count):
        keys[n].apply(["read"], "trusted", ["203.0.113.0/24"])
        audit.record(KeyEvent.CREATED, None, customer=sara.user, target=str(keys[n].pk))
        TrustedDevice.objects.create(
            user=sara.user, digest=str(n), expires_at=timezone.now() + timedelta(days=1)
        )
    client = staff_browser("security")
    for path in (USERS, KEYS, page_of(sara), f"{KEYS}{keys[0].pk}/change/"):
        client.get(path)
        with CaptureQueriesContext(connection) as statements:
            assert client.get(path).status_code == 200
        assert len(statements) <= MOST, (path, len(statements))
