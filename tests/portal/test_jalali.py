"""Dates, digits and masked values as people see them."""

import datetime as dt

import pytest
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from hitobit_portal.i18n import jalali

MOMENT = dt.datetime(2026, 11, 22, 10, 42, tzinfo=dt.UTC)  # 14:12 in Tehran, 1 Azar 1405
LATE = dt.datetime(2026, 11, 22, 21, 0, tzinfo=dt.UTC)  # half past midnight of the 23rd in Tehran


def test_persian_dates_are_jalali_in_persian_digits() -> None:
    with translation.override("fa"):
        assert jalali.day_local(MOMENT) == "۱ آذر ۱۴۰۵"
        assert jalali.date_local(MOMENT) == "۱ آذر ۱۴۰۵، ۱۴:۱۲"


def test_english_dates_are_gregorian() -> None:
    with translation.override("en"):
        assert jalali.date_local(MOMENT) == "22 Nov 2026, 14:12"


def test_day_changes_at_midnight_in_tehran() -> None:
    with translation.override("en"):
        assert jalali.day_local(LATE) == "23 Nov 2026"


@pytest.mark.parametrize(
    ("gregorian", "shown"),
    [
        (dt.date(2025, 3, 20), "۳۰ اسفند ۱۴۰۳"),  # 1403 is a leap year
        (dt.date(2025, 3, 21), "۱ فروردین ۱۴۰۴"),
        (dt.date(2026, 3, 20), "۲۹ اسفند ۱۴۰۴"),
    ],
)
def test_year_ends_are_right(gregorian: dt.date, shown: str) -> None:
    with translation.override("fa"):
        assert jalali.day_local(gregorian) == shown


@pytest.mark.parametrize("show", [jalali.day_local, jalali.date_local, jalali.clock_local, jalali.ago])
def test_missing_date_shows_nothing(show: object) -> None:
    assert callable(show)
    assert show(None) == ""


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (dt.timedelta(seconds=-90), "just now"),
        (dt.timedelta(seconds=59), "just now"),
        (dt.timedelta(seconds=60), "1 minute ago"),
        (dt.timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (dt.timedelta(hours=1), "1 hour ago"),
        (dt.timedelta(hours=23, minutes=59), "23 hours ago"),
        (dt.timedelta(days=6), "6 days ago"),
    ],
)
def test_age_counts_the_largest_whole_unit(
    monkeypatch: pytest.MonkeyPatch, age: dt.timedelta, shown: str
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: MOMENT)
    with translation.override("en"):
        assert jalali.ago(MOMENT - age) == shown


def test_age_of_a_week_is_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: MOMENT)
    with translation.override("en"):
        assert jalali.ago(MOMENT - dt.timedelta(days=7)) == "15 Nov 2026"


def test_near_days_are_named_by_tehrans_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: LATE)
    with translation.override("en"):
        assert [jalali.near_day(dt.date(2026, 11, day)) for day in (24, 23, 22, 21)] == [
            "",
            "Today",
            "Yesterday",
            "",
        ]


def test_digits_follow_the_language() -> None:
    with translation.override("fa"):
        assert jalali.digits(30) == "۳۰"
    with translation.override("en"):
        assert jalali.digits(30) == "30"


@given(st.text(max_size=80))
def test_groups_lose_nothing(text: str) -> None:
    shown = jalali.groups(text)
    assert "".join(shown[i : i + 4] for i in range(0, len(shown), 5)) == text


@pytest.mark.parametrize(
    ("phone", "shown"), [("+989121234567", "0912•••4567"), ("+447911123456", "+447•••3456")]
)
def test_masked_phone_hides_the_middle(phone: str, shown: str) -> None:
    assert jalali.masked_phone(phone) == shown


def test_masked_key_keeps_both_ends() -> None:
    assert jalali.masked_key("7Qm4vT" + "x" * 54 + "x9Kd") == "7Qm4vT…x9Kd"
