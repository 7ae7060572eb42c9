"""The expiry on a key's pages: choices, dates in both calendars, a later one only with both codes."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import jdatetime
import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import AuditEvent
from apikeys.models import ApiKey
from apikeys.pages import session_state
from apikeys.pages.forms import SettingsForm
from apikeys.policy.detail_texts import change_text
from apikeys.policy.settings_change import Settings, SettingsChange
from hitobit_portal.i18n.jalali import date_local
from tests.support import sms_collector
from tests.support.people import Person, both_codes, key_of, logged_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
FREE = "unrestricted"
DAY = timedelta(days=1)
TEHRAN = ZoneInfo("Asia/Tehran")


@pytest.fixture
def key(sara: Person) -> ApiKey:
    return key_of(sara, "bot")


def expiring(key: ApiKey, days: float) -> datetime:
    """Set the key's expiry to a number of days from now, and return it."""
    at = timezone.now() + days * DAY
    ApiKey.objects.filter(pk=key.pk).update(expires_at=at)
    return at


def save(client: Client, key: ApiKey, expiry: str, date: str = "", **fields: Any) -> HttpResponse:
    data = {"name": "bot", "permissions": ["read"], "ip_policy": FREE, "network": "", "save": "1"}
    data |= {"expiry": expiry, "expiry_date": date, **fields}
    return client.post(f"/keys/{key.pk}/", data)  # type: ignore[return-value]


def expiry_of(key: ApiKey) -> datetime | None:
    return ApiKey.objects.get(pk=key.pk).expires_at


def end_of(day: datetime) -> datetime:
    return datetime.combine(day.astimezone(TEHRAN).date(), time(23, 59, 59), TEHRAN)


@pytest.mark.parametrize("days", ["30", "90", "180", "365"])
def test_a_first_expiry_takes_no_code(sara: Person, key: ApiKey, days: str) -> None:
    save(logged_in(sara), key, days)
    expires = expiry_of(key)
    assert expires is not None
    assert abs(expires - timezone.now() - int(days) * DAY) < timedelta(minutes=1)
    assert sms_collector.messages == []


@pytest.mark.parametrize("expiry", ["date", "keep"])
def test_a_typed_day_counts_until_its_end_in_tehran_in_either_calendar(
    sara: Person, key: ApiKey, expiry: str
) -> None:
    client, day = logged_in(sara), timezone.now() + 20 * DAY
    jalali = jdatetime.date.fromgregorian(date=day.astimezone(TEHRAN).date())
    persian = f"{jalali.year}/{jalali.month}/{jalali.day}".translate(
        str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
    )
    for text in (persian, f"{day.astimezone(TEHRAN):%Y-%m-%d}"):
        ApiKey.objects.filter(pk=key.pk).update(expires_at=None)
        save(client, key, expiry, text)
        assert expiry_of(key) == end_of(day)


@pytest.mark.parametrize(
    ("expiry", "date"),
    [("date", ""), ("date", "1405/13/01"), ("date", "soon"), ("date", "2020-01-01"), ("date", "1399/01/01"),
     ("keep", "0000/00/00"), ("7", ""), ("-1", ""), ("date", "9" * 5000)],
    ids=lambda text: text[:10],
)  # fmt: skip
def test_a_day_that_cannot_be_is_an_error_beside_the_field_with_what_was_typed(
    sara: Person, key: ApiKey, expiry: str, date: str
) -> None:
    before = expiring(key, 40)
    answer: Any = save(logged_in(sara), key, expiry, date)
    form = answer.context["form"]
    assert set(form.errors) <= {"expiry", "expiry_date"}
    assert form.errors
    assert form["expiry_date"].value() == date
    assert expiry_of(key) == before


@pytest.mark.parametrize(
    ("expiry", "days"), [("never", 40), ("90", 40), ("30", -1), ("30", -100), ("never", -1)]
)
def test_a_later_expiry_takes_both_codes_also_after_the_end(
    sara: Person, key: ApiKey, expiry: str, days: float
) -> None:
    before, client = expiring(key, days), logged_in(sara)
    answer = save(client, key, expiry)
    assert answer["Location"] == f"/keys/{key.pk}/verify/"
    assert expiry_of(key) == before
    client.post(answer["Location"], both_codes(sara, "key.change"))
    after = expiry_of(key)
    assert after is None if expiry == "never" else after is not None and after > timezone.now() + 29 * DAY


def test_an_earlier_expiry_takes_none(sara: Person, key: ApiKey) -> None:
    expiring(key, 100)
    save(logged_in(sara), key, "30")
    expires = expiry_of(key)
    assert expires is not None
    assert expires < timezone.now() + 31 * DAY
    assert sms_collector.messages == []


def test_a_passed_expiry_is_kept_by_other_changes(sara: Person, key: ApiKey) -> None:
    before = expiring(key, -2)
    save(logged_in(sara), key, "keep", ip_policy="trusted", network="192.0.2.1")
    assert expiry_of(key) == before
    assert ApiKey.objects.get().ip_policy == "trusted"


def test_page_of_the_codes_and_the_sms_show_old_and_new(sara: Person, key: ApiKey) -> None:
    before, client = expiring(key, 40), logged_in(sara)
    client.cookies["language"] = "en"
    page = client.get(save(client, key, "never", permissions=["read", "trade"])["Location"]).content.decode()
    form = page.index('id="verify"')
    tones = {
        "Add the permission “Trade”": "<li>",
        f"Remove the expiry, which was {date_local_en(before)}": '<li class="tone" data-tone="warn">',
    }
    for line, start in tones.items():
        assert page.index(f"{start}{line}</li>") < form
        assert page.count(line) == 1, "said once"
        assert line in sms_collector.newest("key.change").text


def date_local_en(at: datetime) -> str:
    with translation.override("en"):
        return date_local(at)


def test_codes_for_one_expiry_do_not_approve_another(sara: Person, key: ApiKey) -> None:
    before, client = expiring(key, 40), logged_in(sara)
    save(client, key, "90")
    code = sms_collector.newest("key.change").code
    save(client, key, "never")
    client.post(f"/keys/{key.pk}/verify/", {"sms_code": code, "totp_code": sara.totp()})
    assert expiry_of(key) == before


def test_warnings_start_again_with_a_new_expiry(sara: Person, key: ApiKey) -> None:
    expiring(key, 100)
    ApiKey.objects.filter(pk=key.pk).update(expiry_told_days=30)
    save(logged_in(sara), key, "90")
    assert ApiKey.objects.get().expiry_told_days is None


def test_event_holds_old_and_new_and_reads_in_words(sara: Person, key: ApiKey) -> None:
    save(logged_in(sara), key, "30")
    expires = expiry_of(key)
    assert expires is not None
    codes = AuditEvent.objects.get(event="key.changed").detail["changes"]
    assert codes == [f"expires:>{expires.isoformat()}"]
    with translation.override("en"):
        assert change_text(codes[0]) == f"Set the expiry to {date_local(expires)}"


def test_page_shows_the_present_expiry_and_offers_never_only_to_keys_that_expire(
    sara: Person, key: ApiKey
) -> None:
    client = logged_in(sara)
    assert 'value="never"' not in client.get(f"/keys/{key.pk}/settings/").content.decode()
    expires = expiring(key, 40)
    page = client.get(f"/keys/{key.pk}/settings/").content.decode()
    assert 'value="never"' in page
    with translation.override("fa"):
        assert date_local(expires) in page


def test_form_that_is_sent_again_keeps_what_was_chosen(sara: Person, key: ApiKey) -> None:
    answer = save(logged_in(sara), key, "date", "1500/01/01", add_network="1", name="other")
    page = answer.content.decode()
    assert '<option value="date" selected>' in page
    assert 'value="1500/01/01"' in page
    assert 'value="other"' in page


TIMES = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(TIMES, TIMES)
def test_no_expiry_lets_a_key_live_longer_without_codes(
    before: datetime | None, after: datetime | None
) -> None:
    def settings(at: datetime | None) -> Settings:
        return Settings(frozenset({"read"}), FREE, (), at.isoformat() if at else "")

    longer = before is not None and (after is None or after > before)
    assert SettingsChange(settings(before), settings(after)).adds_power is longer


@given(st.text(max_size=30), st.sampled_from(["keep", "never", "30", "date", "", "x"]))
def test_whatever_is_typed_as_a_day_is_taken_or_refused_and_never_a_failure(text: str, expiry: str) -> None:
    data = {"permissions": "read", "ip_policy": FREE, "expiry": expiry, "expiry_date": text}
    form = SettingsForm(_query(data), chips=[], expires_at="")
    wanted = form.wanted()
    if wanted is not None and wanted.expiry is not None:
        assert wanted.expiry > timezone.now()


def _query(data: dict[str, str]) -> Any:
    from django.http import QueryDict

    query = QueryDict(mutable=True)
    query.update(data)
    return query


def test_a_new_key_gets_the_recommended_expiry_unless_another_is_chosen(sara: Person, key: ApiKey) -> None:
    ApiKey.objects.update(first_settings_at=None)
    client = logged_in(sara)
    session = client.session
    session[session_state.MADE_KEY] = {"key": str(key.pk), "until": timezone.now().timestamp() + 600}
    session.save()
    client.cookies["language"] = "en"
    page = client.get(f"/keys/{key.pk}/").content.decode()
    assert '<option value="90" selected>In 90 days (recommended)</option>' in page
    assert 'value="never"' in page
    assert 'value="keep"' not in page
    save(client, key, "never")
    assert expiry_of(key) is None
