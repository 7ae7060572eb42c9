"""Keys that the exchange requests: what the customer sees, that only both codes create one, and who sees its secret."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as portal
from django.test import Client
from django.utils import timezone

from accounts.actions import freeze
from accounts.choices.approvals import Approval
from accounts.models import AuditEvent
from apikeys.actions import key_requests
from apikeys.models import ApiKey, KeyRequest
from apikeys.policy.choices import LIVE_KEYS
from apikeys.policy.events import KeyEvent
from apikeys.policy.settings_change import Settings
from tests.support import people, sms_collector
from tests.support.people import Person, customer, logged_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
NETWORKS = ("198.51.100.0/28", "203.0.113.24")
EXPIRY = "2027-06-01T08:30:00+00:00"
TRADES = Settings(frozenset({"read", "trade"}), "trusted", NETWORKS, EXPIRY)
WITHDRAWS = Settings(frozenset({"withdraw"}), "trusted", NETWORKS)
ANYWHERE = Settings(frozenset({"read", "trade"}), "unrestricted", ())


def requested(person: Person, settings: Settings = TRADES, name: str = "market maker") -> KeyRequest:
    return key_requests.make(person.user, name, settings, "back-office")


def codes(person: Person, approval: Approval) -> dict[str, str]:
    return {"sms_code": people.live_sms_code(person, approval), "totp_code": person.fresh_totp()}


def page(row: KeyRequest, *more: str) -> str:
    return "/".join(["/keys/requests", str(row.pk), *more]) + "/"


def confirmed(browser: Client, person: Person, row: KeyRequest) -> Any:
    return browser.post(page(row, "confirm"), codes(person, key_requests.approval(row)))


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


def english(person: Person) -> Client:
    browser = logged_in(person)
    browser.cookies[portal.LANGUAGE_COOKIE_NAME] = "en"
    return browser


def events(event: KeyEvent) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(event=event.value))


def test_request_is_on_the_dashboard_until_it_is_answered(sara: Person) -> None:
    row, browser = requested(sara), logged_in(sara)
    link = f'href="{page(row)}"'
    assert link in browser.get("/dashboard/").content.decode()
    assert link not in logged_in(customer()).get("/dashboard/").content.decode()
    browser.post(page(row, "decline"))
    assert link not in browser.get("/dashboard/").content.decode()


def test_page_shows_who_requested_it_and_all_that_the_key_could_do(sara: Person) -> None:
    browser = english(sara)
    shown = text_of(browser.get(page(requested(sara))))
    for part in (
        "market maker",
        "back-office",
        "Read",
        "Trade",
        *NETWORKS,
        "1 Jun 2027",
        "Refuse the request",
    ):
        assert part in shown, part
    assert "Withdraw" not in shown
    assert "any IP" not in shown
    assert "move your assets" in text_of(browser.get(page(requested(sara, WITHDRAWS, "w"))))
    open_one = text_of(browser.get(page(requested(sara, ANYWHERE, "a"))))
    assert "whoever gets hold of it can use it" in open_one
    assert "90 days" in open_one
    assert "Never" in open_one


def test_nothing_exists_before_both_codes(sara: Person) -> None:
    row, browser = requested(sara), logged_in(sara)
    browser.get(page(row))
    assert browser.post(page(row, "confirm"), {"resend": "1"}).status_code == 302
    sms = sms_collector.newest("key.request")
    assert "market maker" in sms.text
    for network in NETWORKS:
        assert network in sms.text
    wrong = {"sms_code": sms.code, "totp_code": sara.wrong_totp()}
    assert browser.post(page(row, "confirm"), wrong).status_code == 200
    assert not ApiKey.objects.exists()
    right = {"sms_code": sms.code, "totp_code": sara.fresh_totp()}
    assert browser.post(page(row, "confirm"), right).status_code == 302
    assert ApiKey.objects.get().label == "market maker"


@pytest.mark.parametrize("wanted", [TRADES, WITHDRAWS, ANYWHERE])
def test_both_codes_put_exactly_the_requested_settings_into_force(sara: Person, wanted: Settings) -> None:
    row = requested(sara, wanted)
    answer = confirmed(logged_in(sara), sara, row)
    key = ApiKey.objects.get()
    assert answer.headers["Location"] == f"/keys/{key.pk}/made/"
    assert (key.owner, key.settings.as_json()) == (sara.user, wanted.as_json())
    assert (key.trade_until is not None) == (wanted is ANYWHERE)
    row.refresh_from_db()
    assert (row.state, row.key) == ("confirmed", key)
    for event in (KeyEvent.APPROVED, KeyEvent.CREATED, KeyEvent.CHANGED, KeyEvent.REQUEST_CONFIRMED):
        assert [each.customer for each in events(event)] == [sara.user], event


def test_secret_is_shown_once_and_only_to_the_session_that_typed_the_codes(sara: Person) -> None:
    row, one = requested(sara), logged_in(sara)
    place = confirmed(one, sara, row).headers["Location"]
    key = ApiKey.objects.get()
    secret = people.secret_of(key).encode()
    other = logged_in(sara, people.address(1))
    # Another session of the customer, which may be a thief's, with codes that are not even right.
    late = other.post(page(row, "confirm"), {"sms_code": "000000", "totp_code": "000000"})
    assert late.headers["Location"] == page(row)
    for browser in (other, logged_in(customer())):
        assert secret not in browser.get(place).content
    first, second = one.get(place), one.get(place)
    assert secret in first.content
    assert key.key_id.encode() in first.content
    assert "no-store" in first.headers["Cache-Control"]
    assert secret not in second.content
    assert len(events(KeyEvent.REVEALED)) == 1


def test_settings_of_the_confirmed_key_need_codes_like_those_of_any_other(sara: Person) -> None:
    row, browser = requested(sara), logged_in(sara)
    confirmed(browser, sara, row)
    key = ApiKey.objects.get()
    wider = {"permissions": ["read", "trade"], "ip_policy": "trusted", "networks": [*NETWORKS, "192.0.2.9"]}
    answer = browser.post(f"/keys/{key.pk}/settings/", {**wider, "save": "1"})
    assert answer.headers["Location"] == f"/keys/{key.pk}/verify/"
    assert key.networks.count() == 2


def test_second_click_leads_to_the_same_key(sara: Person) -> None:
    row, browser = requested(sara), logged_in(sara)
    twin = people.clone_browser(browser)
    browser.get(page(row, "confirm"))
    typed = codes(sara, key_requests.approval(row))
    first = browser.post(page(row, "confirm"), typed)
    assert twin.post(page(row, "confirm"), typed).headers["Location"] == first.headers["Location"]
    assert browser.get(page(row, "confirm")).headers["Location"] == first.headers["Location"]
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"permissions": ["read", "trade", "withdraw"]}, {"networks": [*NETWORKS, "192.0.2.9"]}, {"expires_at": None},
        {"ip_policy": "unrestricted", "networks": []}, {"label": "night bot"}, {"requested_by": "another token"},
    ],
)  # fmt: skip
def test_codes_do_not_hold_for_a_request_that_was_changed(sara: Person, change: dict[str, Any]) -> None:
    row, browser = requested(sara), logged_in(sara)
    typed = codes(sara, key_requests.approval(row))
    KeyRequest.objects.update(**change)
    assert browser.post(page(row, "confirm"), typed).status_code == 200
    assert not ApiKey.objects.exists()
    # Also between the page and the lock, which no code could notice.
    with pytest.raises(key_requests.NoLongerWaiting):
        key_requests.confirm(people.request_of(sara), row, "00000000-0000-4000-8000-000000000000")
    assert not ApiKey.objects.exists()


def test_codes_of_one_request_do_not_confirm_another(sara: Person) -> None:
    row, other = requested(sara), requested(sara, name="other")
    typed = codes(sara, key_requests.approval(other))
    assert logged_in(sara).post(page(row, "confirm"), typed).status_code == 200
    assert not ApiKey.objects.exists()


def withdraw(row: KeyRequest) -> None:
    key_requests.cancel(row, "back-office")


def expire(row: KeyRequest) -> None:
    KeyRequest.objects.update(waits_until=timezone.now() - timedelta(seconds=1))


def turn_down(row: KeyRequest) -> None:
    key_requests.decline(None, row)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [withdraw, expire, turn_down])
def test_request_that_no_longer_waits_cannot_be_confirmed_or_declined(sara: Person, end: Any) -> None:
    row, browser = requested(sara), logged_in(sara)
    typed = codes(sara, key_requests.approval(row))
    end(row)
    before = AuditEvent.objects.count()
    for path, data in ((page(row, "confirm"), typed), (page(row, "decline"), {})):
        assert browser.post(path, data).headers["Location"] == page(row)
    assert "confirm" not in browser.get(page(row)).content.decode().split("<main")[1]
    assert not ApiKey.objects.exists()
    assert AuditEvent.objects.count() == before


def test_declined_request_is_an_event_and_no_key(sara: Person) -> None:
    row, browser = requested(sara), logged_in(sara)
    assert browser.get(page(row, "decline")).headers["Location"] == page(row)
    assert KeyRequest.objects.get().is_waiting
    assert browser.post(page(row, "decline")).headers["Location"] == "/dashboard/"
    row.refresh_from_db()
    assert (row.state, row.key, ApiKey.objects.count()) == ("declined", None, 0)
    [event] = events(KeyEvent.REQUEST_DECLINED)
    assert (event.customer, event.label, event.detail) == (
        sara.user,
        "market maker",
        {"token": "back-office"},
    )


def test_request_of_another_customer_is_not_found(sara: Person) -> None:
    row, browser = requested(sara), logged_in(customer())
    assert browser.get(page(row)).status_code == 404
    for answer in (page(row, "confirm"), page(row, "decline")):
        assert browser.get(answer).status_code == browser.post(answer).status_code == 404
    row.refresh_from_db()
    assert row.is_waiting


def test_frozen_account_confirms_nothing_and_gets_no_code(sara: Person) -> None:
    row = requested(sara)
    freeze.freeze(None, sara.user)
    browser = logged_in(sara)
    sms_collector.reset()
    assert browser.post(page(row, "confirm"), {"resend": "1"}).headers["Location"] == page(row)
    assert confirmed(browser, sara, row).headers["Location"] == page(row)
    assert not sms_collector.messages
    assert not ApiKey.objects.exists()


def test_full_list_and_taken_name_keep_the_request_waiting(sara: Person) -> None:
    row, browser = requested(sara), english(sara)
    people.key_of(sara, "MARKET maker")
    assert confirmed(browser, sara, row).headers["Location"] == page(row)
    assert "You already have a key with this name." in text_of(browser.get(page(row)))
    ApiKey.objects.update(label="x", label_folded="x")
    for number in range(LIVE_KEYS - 1):
        people.key_of(sara, f"key {number}")
    assert confirmed(browser, sara, row).headers["Location"] == page(row)
    assert "maximum number of keys" in text_of(browser.get(page(row)))
    row.refresh_from_db()
    assert (row.is_waiting, ApiKey.objects.count()) == (True, LIVE_KEYS)


def test_database_refuses_a_confirmed_request_without_a_key_and_a_key_of_one_that_waits(sara: Person) -> None:
    from django.db import IntegrityError, transaction

    row, key = requested(sara), people.key_of(sara)
    for change in ({"state": "confirmed"}, {"key": key}, {"state": "granted"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            KeyRequest.objects.filter(pk=row.pk).update(**change)
