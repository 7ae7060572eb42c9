"""Health of a key: eight checks, their limits, the action for each, and the star on the pages."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEvent
from apikeys.models import ApiKey, Credential, DailyUse
from apikeys.policy.choices import KeyState
from apikeys.usage import key_health, queries, recorder
from apikeys.usage.key_health import CheckName, RequestCounts
from tests.support import people
from tests.support.people import ADDRESS, Person, customer, key_of, logged_in

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
MOST_DASHBOARD = 8


@pytest.fixture
def key(sara: Person) -> ApiKey:
    """A key that passes all checks."""
    key = key_of(sara, "bot")
    key.apply(["read"], "trusted", [ADDRESS], timezone.now() + 60 * DAY)
    return key


def failed(key: ApiKey, used: RequestCounts = RequestCounts()) -> set[CheckName]:  # noqa: B008
    results = key_health.checks(ApiKey.objects.get(pk=key.pk), used, timezone.now())
    assert [check.name for check in results] == list(CheckName)
    assert all(check.text for check in results)
    assert all(check.passed or (check.label and (check.place or check.drop)) for check in results)
    return {check.name for check in results if not check.passed}


def aged(key: ApiKey, **fields: Any) -> ApiKey:
    ApiKey.objects.filter(pk=key.pk).update(**fields)
    return ApiKey.objects.get(pk=key.pk)


def test_a_key_without_faults_passes_all_eight(key: ApiKey) -> None:
    assert failed(key) == set()
    assert len(CheckName) == 8


def test_a_key_from_anywhere_without_end_fails_both_checks(key: ApiKey) -> None:
    key.apply(["read"], "unrestricted", [], None)
    assert failed(key) == {CheckName.UNRESTRICTED, CheckName.NEVER_EXPIRES}


@pytest.mark.parametrize(("left", "wrong"), [(15 * DAY, False), (14 * DAY, True), (-DAY, True)])
def test_expiry_is_soon_from_fourteen_days(key: ApiKey, left: timedelta, wrong: bool) -> None:
    aged(key, expires_at=timezone.now() + left)
    assert (CheckName.EXPIRING in failed(key)) == wrong


@pytest.mark.parametrize(("skew_ms", "wrong"), [(None, False), (500, False), (501, True), (-2501, True)])
def test_a_wrong_clock_fails_the_check(key: ApiKey, skew_ms: int | None, wrong: bool) -> None:
    aged(key, skew_ms=skew_ms)
    assert (CheckName.SKEW in failed(key)) == wrong


@pytest.mark.parametrize(
    ("allowed", "refused", "wrong"),
    [(0, 49, False), (49, 1, False), (48, 2, True), (98, 2, False), (97, 3, True), (0, 50, True)],
)
def test_refused_often_is_more_than_two_percent_of_fifty(
    key: ApiKey, allowed: int, refused: int, wrong: bool
) -> None:
    assert (CheckName.REFUSED in failed(key, RequestCounts(allowed=allowed, refused=refused))) == wrong


def test_unused_is_ninety_days_since_the_last_use_or_the_birth(key: ApiKey) -> None:
    old = timezone.now() - 90 * DAY
    aged(key, created_at=old + 10 * SECOND)
    assert CheckName.UNUSED not in failed(key)
    aged(key, created_at=old)
    assert CheckName.UNUSED in failed(key)
    aged(key, last_used_at=old + 10 * SECOND)
    assert CheckName.UNUSED not in failed(key)


def test_a_secret_is_old_after_180_days_unless_there_is_a_newer_one(key: ApiKey) -> None:
    Credential.objects.filter(key=key).update(created_at=timezone.now() - 180 * DAY)
    assert CheckName.OLD_SECRET in failed(key)
    Credential.new(key, None).save()
    assert CheckName.OLD_SECRET not in failed(key)


@pytest.mark.parametrize(
    ("granted", "used", "unused"),
    [
        ({"read"}, set(), ()),
        ({"trade"}, set(), ()),
        ({"read", "trade"}, {"read", "trade"}, ()),
        ({"read", "trade"}, {"read"}, ("trade",)),
        ({"read", "trade"}, {"trade"}, ("read",)),
        ({"read", "trade", "withdraw"}, set(), ("trade", "withdraw")),
        ({"read", "trade", "withdraw"}, {"trade"}, ("read", "withdraw")),
    ],
)
def test_power_that_lies_unused_is_reported_and_never_all_of_it(
    key: ApiKey, granted: set[str], used: set[str], unused: tuple[str, ...]
) -> None:
    key.apply(granted, "trusted", [ADDRESS])
    young = key_health.unused_permissions(key, RequestCounts(frozenset(used)), timezone.now())
    assert young == ()
    old = aged(key, created_at=timezone.now() - 31 * DAY)
    assert key_health.unused_permissions(old, RequestCounts(frozenset(used)), timezone.now()) == unused


def test_counts_are_of_30_days_for_power_and_of_7_for_rejections(sara: Person, key: ApiKey) -> None:
    other, today = key_of(sara, "second bot"), recorder.today()
    for owner, days, outcome, permission, count in (
        (key, 0, "allowed", "read", 5),
        (key, 6, "allowed", "read", 7),
        (key, 7, "allowed", "trade", 100),
        (key, 30, "allowed", "withdraw", 100),
        (key, 6, "stale", "read", 3),
        (key, 7, "stale", "read", 90),
        (other, 0, "signature", "read", 2),
    ):
        DailyUse.objects.create(
            key=owner, day=today - days * DAY, outcome=outcome, permission=permission, count=count
        )
    results = queries.counts_of([key, other])
    assert results[key.pk] == RequestCounts(
        frozenset({"read", "trade"}), 12, 3, today=5, month_allowed=112, month_refused=93
    )
    assert results[other.pk] == RequestCounts(frozenset(), 0, 2, today=2, month_refused=2)


# --- removing unused permissions ------------------------------------------------------------------------------------


def drop(person: Person, key: ApiKey, *permissions: str) -> Any:
    return logged_in(person).post(f"/keys/{key.pk}/permissions/drop/", {"permissions": permissions})


def test_unused_permissions_are_taken_away_at_once_with_an_event(sara: Person, key: ApiKey) -> None:
    key.apply(["read", "trade", "withdraw"], "trusted", [ADDRESS])
    aged(key, created_at=timezone.now() - 31 * DAY)
    html = logged_in(sara).get(f"/keys/{key.pk}/").content.decode()
    form = re.search(r'<form method="post" action="[^"]*/permissions/drop/">.*?</form>', html, re.S)
    assert form is not None
    assert re.findall(r'name="permissions" value="(\w+)"', form[0]) == ["trade", "withdraw"]
    assert drop(sara, key, "trade", "withdraw")["Location"] == f"/keys/{key.pk}/"
    assert ApiKey.objects.get(pk=key.pk).permissions == {"read"}
    assert AuditEvent.objects.get().detail == {"changes": ["-trade", "-withdraw"]}


@pytest.mark.parametrize("permissions", [("read", "trade"), (), ("withdraw", "everything")])
def test_nothing_is_taken_that_would_leave_nothing_or_is_not_there(
    permissions: tuple[str, ...], sara: Person, key: ApiKey
) -> None:
    key.apply(["read", "trade"], "trusted", [ADDRESS])
    drop(sara, key, *permissions)
    assert ApiKey.objects.get(pk=key.pk).permissions == {"read", "trade"}
    assert not AuditEvent.objects.exists()


def test_power_of_others_and_of_paused_keys_is_not_taken(sara: Person, key: ApiKey) -> None:
    key.apply(["read", "trade"], "trusted", [ADDRESS])
    assert drop(customer(), key, "trade").status_code == 404
    logged_in(sara).get(f"/keys/{key.pk}/permissions/drop/")
    key.set_state(KeyState.FROZEN)
    drop(sara, key, "trade")
    assert ApiKey.objects.get(pk=key.pk).permissions == {"read", "trade"}


# --- on the pages ---------------------------------------------------------------------------------------------------


def test_the_star_has_a_petal_for_each_passed_check(sara: Person, key: ApiKey) -> None:
    for petals in (8, 7):
        html = logged_in(sara).get(f"/keys/{key.pk}/").content.decode()
        assert f"#star-{petals}" in html
        aged(key, skew_ms=900)
    assert f'href="/keys/{key.pk}/usage/#clock"' in html


def test_the_dashboard_shows_the_five_worst_first(sara: Person, key: ApiKey) -> None:
    for n in range(6):
        key_of(sara, f"anywhere {n}")
    aged(key_of(sara, "the worst"), skew_ms=900)
    ApiKey.objects.update(first_settings_at=timezone.now())
    html = logged_in(sara).get("/dashboard/").content.decode()
    stars = re.findall(r"icons[^\"]*\.svg#star-(\d)", html)
    assert stars == ["5", "6", "6", "6", "6"]
    worst = ApiKey.objects.get(label="the worst")
    assert f'href="/keys/{worst.pk}/settings/#ip"' in html


def test_a_deleted_key_has_no_health_and_a_paused_one_no_button_into_its_settings(
    sara: Person, key: ApiKey
) -> None:
    key.apply(["read"], "unrestricted", [], None)
    key.set_state(KeyState.FROZEN)
    html = logged_in(sara).get(f"/keys/{key.pk}/").content.decode()
    assert "#star-6" in html
    assert "settings/#ip" not in html
    key.set_state(KeyState.REVOKED)
    assert "#star-" not in logged_in(sara).get(f"/keys/{key.pk}/").content.decode()


def test_the_dashboard_costs_at_most_8_statements_and_one_more_for_what_asks_the_customer(
    sara: Person,
) -> None:
    people.recovery_codes(sara)
    client = logged_in(sara)

    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/dashboard/").status_code == 200
        return len(captured)

    one = key_of(sara, "first")
    one.apply(["read", "trade"], "trusted", [ADDRESS])
    few = cost()
    for n in range(25):
        another = key_of(sara, f"key {n}")
        another.apply(["read", "trade"], "trusted", [ADDRESS, people.address(n)])
        another.rescues.create(address=people.address(n))
        DailyUse.objects.create(
            key=another, day=recorder.today(), outcome="stale", permission="read", count=60
        )
    assert few <= MOST_DASHBOARD
    assert cost() == few + 1, "the questions about new addresses are one more, however many there are"
