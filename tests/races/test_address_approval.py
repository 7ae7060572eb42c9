"""Approval of addresses under concurrent requests: one request, one answer, one address. On PostgreSQL."""

from accounts.models import Notice
from apikeys.actions import address_approval
from apikeys.models import AddressUse, ApiKey, DailyUse, Refusal, RescueRequest
from apikeys.policy.events import KeyEvent
from apikeys.usage import recorder
from tests.support import people
from tests.support.concurrency import (
    MANY,
    RACES,
    SIXTY,
    count_events,
    count_redirects,
    post_concurrently,
    room_for,
    run_concurrently,
)
from tests.support.people import ADDRESS, Person
from tests.support.signed_requests import WRONG, decided, send

pytestmark = RACES
_room = room_for(SIXTY)
NEW = "198.51.100.77"


def bot_of(person: Person) -> ApiKey:
    key = people.key_of(person, "bot")
    key.apply(["read", "trade"], "trusted", [ADDRESS])
    return key


def test_many_requests_from_new_addresses_ask_once() -> None:
    key = bot_of(people.customer())
    asks = [(decided(key, people.address(n)), people.address(n)) for n in range(MANY)]
    run_concurrently([lambda d=d, a=a: recorder.record(key.key_id, d, a, "read") for d, a in asks])  # type: ignore[misc]
    assert RescueRequest.objects.count() == count_events(KeyEvent.ADDRESS_REQUESTED) == 1
    assert Notice.objects.filter(event__event=KeyEvent.ADDRESS_REQUESTED.value).count() == 1
    assert DailyUse.objects.get().count == MANY
    assert Refusal.objects.count() == recorder.REJECTIONS_A_MINUTE


def test_of_many_rejections_of_different_kinds_no_more_than_those_of_a_minute_are_kept() -> None:
    key = bot_of(people.customer())
    decision = decided(key, NEW, secret=WRONG)  # nothing but the counting locks the key then
    run_concurrently([lambda n=n: recorder.record(key.key_id, decision, NEW, f"p{n}") for n in range(MANY)])  # type: ignore[misc]
    assert DailyUse.objects.count() == MANY
    assert Refusal.objects.count() == recorder.REJECTIONS_A_MINUTE


def test_many_uses_at_once_are_all_counted_and_the_addresses_stay_twenty() -> None:
    key = bot_of(people.customer())
    key.apply(["read", "trade"], "unrestricted", [])
    uses = [
        (decided(key, people.address(n), permission), people.address(n), permission)
        for n in range(SIXTY // 2)
        for permission in ("read", "trade")
    ]
    works = [lambda d=d, a=a, p=p: recorder.record(key.key_id, d, a, p) for d, a, p in uses]
    run_concurrently(works)
    assert sum(DailyUse.objects.values_list("count", flat=True)) == SIXTY
    assert AddressUse.objects.count() == recorder.KEPT_ADDRESSES


def test_one_pair_of_codes_approves_once() -> None:
    sara = people.customer()
    key = bot_of(sara)
    send(key, NEW)
    row, one = RescueRequest.objects.get(), people.logged_in(sara)
    codes = {
        "sms_code": people.live_sms_code(sara, address_approval.approval(row)),
        "totp_code": sara.totp(),
    }
    browsers = [people.clone_browser(one, people.address(n)) for n in range(MANY)]
    answers = post_concurrently([(b, f"/keys/{key.pk}/rescue/{row.pk}/", codes) for b in browsers])
    assert count_redirects(answers, f"/keys/{key.pk}/") >= 1
    assert list(key.networks.values_list("value", flat=True)) == [ADDRESS, NEW]
    assert count_events(KeyEvent.ADDRESS_REQUEST_CLOSED) == count_events(KeyEvent.CHANGED) == 1
    assert count_events(KeyEvent.APPROVED) == 1


def test_of_yes_and_no_at_once_one_counts() -> None:
    sara = people.customer()
    key = bot_of(sara)
    send(key, NEW)
    row, one = RescueRequest.objects.get(), people.logged_in(sara)
    codes = {
        "sms_code": people.live_sms_code(sara, address_approval.approval(row)),
        "totp_code": sara.totp(),
    }
    page = f"/keys/{key.pk}/rescue/{row.pk}/"
    posts = [
        (
            people.clone_browser(one, people.address(n)),
            page if n % 2 else f"{page}dismiss/",
            codes if n % 2 else {},
        )
        for n in range(MANY)
    ]
    count_redirects(post_concurrently(posts), "")
    row.refresh_from_db()
    assert count_events(KeyEvent.ADDRESS_REQUEST_CLOSED) == 1
    assert (NEW in key.networks.values_list("value", flat=True)) == row.approved


def test_approval_and_permission_to_withdraw_at_once_never_meet() -> None:
    sara = people.customer()
    key = bot_of(sara)
    send(key, NEW)
    row, browser = RescueRequest.objects.get(), people.logged_in(sara)
    codes = {
        "sms_code": people.live_sms_code(sara, address_approval.approval(row)),
        "totp_code": sara.totp(),
    }

    def withdraw() -> None:
        ApiKey.objects.get(pk=key.pk).apply(["read", "withdraw"], "trusted", [ADDRESS])

    run_concurrently([withdraw, lambda: browser.post(f"/keys/{key.pk}/rescue/{row.pk}/", codes) and None])
    key = ApiKey.objects.get(pk=key.pk)
    assert key.can_withdraw
    assert list(key.networks.values_list("value", flat=True)) == [ADDRESS]
