"""Recorded requests of a key: counts per day, addresses, clock skew."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys.models import AddressUse, ApiKey, DailyUse
from apikeys.usage import chart, clock_skew, queries, recorder
from apikeys.usage.chart import Day
from apikeys.usage.clock_skew import ClockState
from apikeys.verification.outcomes import Outcome
from tests.support import people
from tests.support.binance_client import BinanceClient
from tests.support.key_usage import OTHER, REFUSED, counted, page, rejection, text
from tests.support.people import ADDRESS, Person, logged_in, secret_of
from tests.support.signed_requests import WRONG, decided, send

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]


# --- counting -------------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_outcome_and_permission(key: ApiKey) -> None:
    for _n in range(3):
        assert send(key) is Outcome.ALLOWED
    assert send(key, permission="trade") is Outcome.PERMISSION
    assert send(key, secret=WRONG) is Outcome.SIGNATURE
    assert counted(key) == {"allowed read": 3, "permission trade": 1, "signature read": 1}


def test_a_day_begins_at_midnight_in_tehran(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    decision = decided(key)
    for hour, minute, day in ((20, 29, date(2026, 11, 21)), (20, 31, date(2026, 11, 22))):
        moment = datetime(2026, 11, 21, hour, minute, tzinfo=UTC)
        monkeypatch.setattr(timezone, "now", lambda moment=moment: moment)
        recorder.record(key.key_id, decision, ADDRESS, "read")
        assert DailyUse.objects.filter(key=key, day=day).count() == 1


def test_days_are_kept_for_400_days(key: ApiKey) -> None:
    old, kept = (recorder.today() - timedelta(days=days) for days in (401, 400))
    for day in (old, kept):
        DailyUse.objects.create(key=key, day=day, outcome="allowed", permission="read", count=1)
    send(key)
    assert set(key.daily_use.values_list("day", flat=True)) == {kept, recorder.today()}


def test_last_use_and_the_last_twenty_addresses_are_kept(key: ApiKey) -> None:
    key.apply(["read"], "unrestricted", [])
    for n in range(25):
        send(key, people.address(n))
    send(key, people.address(24))
    key.refresh_from_db()
    assert key.last_used_ip == people.address(24)
    assert AddressUse.objects.count() == recorder.KEPT_ADDRESSES
    assert AddressUse.objects.get(address=people.address(24)).count == 2
    assert not AddressUse.objects.filter(address=people.address(0)).exists()


def test_refused_requests_are_not_counted_as_use(key: ApiKey) -> None:
    send(key, OTHER)
    key.refresh_from_db()
    assert key.last_used_at is None
    assert not AddressUse.objects.exists()


def test_nothing_is_noted_of_keys_that_do_not_exist(key: ApiKey) -> None:
    recorder.record("A" * 64, decided(key), ADDRESS, "read")
    assert not DailyUse.objects.exists()


def test_what_fails_while_it_is_noted_does_not_reach_the_request(key: ApiKey) -> None:
    query = BinanceClient(key.key_id, secret_of(key)).call(
        "GET", "/", [("timestamp", str(int(time.time() * 1000)))]
    )
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE apikeys_dailyuse RENAME TO away")
    answer = people.browser().get(
        f"/sapi/v1/account/apiRestrictions?{query.query.decode()}", headers={"x-mbx-apikey": key.key_id}
    )
    assert answer.status_code == 200


def test_noting_costs_few_statements(key: ApiKey) -> None:
    for decision, address in ((decided(key), ADDRESS), (decided(key, OTHER, secret=WRONG), OTHER)):
        recorder.record(key.key_id, decision, address, "read")
        with CaptureQueriesContext(connection) as captured:
            recorder.record(key.key_id, decision, address, "read")
        assert len(captured) <= 10, captured.captured_queries


# --- the month and the clock ----------------------------------------------------------------------------------------


def test_the_month_has_thirty_days_up_to_today(key: ApiKey) -> None:
    today = recorder.today()
    for ago in (0, 29, 30):
        for outcome, count in (("allowed", 10), ("stale", 1), ("signature", 2)):
            DailyUse.objects.create(
                key=key, day=today - timedelta(days=ago), outcome=outcome, permission="read", count=count
            )
    days = queries.month(key)
    assert len(days) == 30
    assert days[-1] == Day(today, 10, 3)
    assert days[0] == Day(today - timedelta(days=29), 10, 3)
    assert sum(day.total for day in days) == 26


@pytest.mark.parametrize("numbers", [[], [(0, 0)] * 30, [(10**12, 1)] * 30, [(n, 30 - n) for n in range(30)]])
def test_bars_stay_in_the_picture(numbers: list[tuple[int, int]]) -> None:
    for bar in chart.bars([Day(date(2026, 1, 1), *pair) for pair in numbers]):
        assert 0 <= bar.no_y <= bar.ok_y <= chart.HEIGHT
        assert bar.ok_y + bar.ok_height == chart.HEIGHT
        assert 0 <= bar.x <= bar.x + bar.width <= chart.WIDTH
        assert bool(bar.ok_height) == bool(bar.day.allowed)
        assert bool(bar.no_height) == bool(bar.day.refused)


def test_the_worst_day_is_the_one_with_most_rejections() -> None:
    days = [Day(date(2026, 1, n), 5, count) for n, count in ((1, 2), (2, 7), (3, 1))]
    assert chart.worst(days) == days[1]
    assert chart.worst(days[:0]) is None


@pytest.mark.parametrize(
    ("skew_ms", "state"),
    [
        (None, ClockState.UNKNOWN),
        (0, ClockState.RIGHT),
        (500, ClockState.RIGHT),
        (501, ClockState.FAST),
        (-2500, ClockState.RIGHT),
        (-2501, ClockState.SLOW),
    ],
)
def test_a_clock_is_called_wrong_before_requests_fail(skew_ms: int | None, state: ClockState) -> None:
    assert clock_skew.clock_state(skew_ms) is state


def test_the_clock_is_measured_by_signed_requests_only(sara: Person, key: ApiKey) -> None:
    send(key, secret=WRONG, skew_ms=900)
    key.refresh_from_db()
    assert key.skew_ms is None
    send(key, skew_ms=900)
    key.refresh_from_db()
    assert key.skew_ms is not None
    assert 800 <= key.skew_ms <= 900
    shown = text(page(sara, key))
    assert "ahead of our clock" in shown
    assert "timedatectl set-ntp true" in shown


def test_a_timestamp_in_seconds_is_counted_and_explained(sara: Person, key: ApiKey) -> None:
    assert send(key, skew_ms=1_700_000_000 - int(time.time() * 1000)) is Outcome.STALE
    key.refresh_from_db()
    assert key.skew_ms == -recorder.MAX_SKEW_MS
    assert counted(key) == {"stale read": 1}
    assert "it counts milliseconds since 1970" in text(page(sara, key))


@pytest.mark.parametrize("page", ["", "usage/"])
def test_a_keys_page_costs_at_most_10_statements_with_everything_on_it(
    page: str, sara: Person, key: ApiKey
) -> None:
    key.apply(["read"], "trusted", [people.address(n) for n in range(30)])
    for outcome in REFUSED:
        rejection(key, outcome)
    for n in range(20):
        AddressUse.objects.create(key=key, address=people.address(n), last_at=timezone.now(), count=n)
    send(key, OTHER)
    client = logged_in(sara)
    client.get(f"/keys/{key.pk}/{page}")
    with CaptureQueriesContext(connection) as captured:
        assert client.get(f"/keys/{key.pk}/{page}").status_code == 200
    assert len(captured) <= 10, captured.captured_queries


def test_the_page_has_no_inline_style_and_localised_numbers(sara: Person, key: ApiKey) -> None:
    DailyUse.objects.create(key=key, day=recorder.today(), outcome="allowed", permission="read", count=24_618)
    html = logged_in(sara).get(f"/keys/{key.pk}/usage/").content.decode()
    assert "style=" not in html
    assert "۲۴٬۶۱۸" in html
    assert 'class="ok-bar"' in html
