"""Linking an account that exists already: what proves that both accounts are one person's, against a real provider."""

import time
from typing import Any

import pytest
from django.conf import settings as portal
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.models import AuditEvent, Notice, User
from accounts.oidc import flow, linking
from tests.support import people, sms_collector
from tests.support.openid_provider import OpenIdProvider, begun
from tests.support.people import Person, customer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
BEGIN, CONFIRM = "/settings/exchange/", "/settings/exchange/confirm/"
SUBJECT = "user:4711"


@pytest.fixture
def ali() -> Person:
    """A customer who was here before the exchange moved in."""
    return customer()


def id_of(person: Person) -> str | None:
    return User.objects.get(pk=person.user.pk).external_id


def codes(person: Person, subject: str = SUBJECT, browser: Client | None = None) -> dict[str, str]:
    code = people.live_sms_code(person, approvals.link_exchange(subject), client=browser)
    return {"sms_code": code, "totp_code": person.fresh_totp()}


def at_the_exchange(openid: OpenIdProvider, browser: Client, subject: str = SUBJECT) -> Any:
    """Begin in the portal, log in at the exchange as ``subject``, and return what the portal answers."""
    answer: Any = browser.get(BEGIN)
    assert "prompt=login" in answer["Location"]
    return browser.get(openid.answer_for(answer["Location"], subject))


def test_login_at_the_exchange_and_both_codes_link_the_account(openid: OpenIdProvider, ali: Person) -> None:
    browser = people.logged_in(ali)
    assert f'href="{BEGIN}"' in browser.get("/settings/").content.decode()
    assert at_the_exchange(openid, browser)["Location"] == CONFIRM
    assert SUBJECT in browser.get(CONFIRM).content.decode()
    assert id_of(ali) is None, "the exchange's word alone links nothing"
    browser.post(CONFIRM, {"resend": "1"})
    assert SUBJECT in sms_collector.newest("exchange.link").text
    assert browser.post(CONFIRM, codes(ali))["Location"] == "/settings/"
    assert id_of(ali) == SUBJECT
    event = AuditEvent.objects.get(event=Event.EXCHANGE_LINKED.value)
    assert (event.customer, event.detail) == (ali.user, {"new": SUBJECT})
    assert Notice.objects.get(user=ali.user).event == event
    assert f'href="{BEGIN}"' not in browser.get("/settings/").content.decode()
    assert openid.log_in(people.browser(), SUBJECT)["Location"] == "/login/second-factor/"


def test_codes_hold_for_one_account_at_the_exchange(openid: OpenIdProvider, ali: Person) -> None:
    browser = people.logged_in(ali)
    at_the_exchange(openid, browser)
    assert browser.post(CONFIRM, codes(ali, "user:another")).status_code == 200
    typed = codes(ali)
    at_the_exchange(openid, browser, "user:another")
    assert browser.post(CONFIRM, typed).status_code == 200
    assert id_of(ali) is None


def test_wrong_codes_link_nothing(openid: OpenIdProvider, ali: Person) -> None:
    browser = people.logged_in(ali)
    at_the_exchange(openid, browser)
    assert browser.post(CONFIRM, {**codes(ali), "totp_code": ali.wrong_totp()}).status_code == 200
    assert id_of(ali) is None


def test_answer_counts_only_in_the_login_that_began_it(openid: OpenIdProvider, ali: Person) -> None:
    """A thief cannot have an owner link the thief's account at the exchange, nor take the owner's to another one."""
    thief, owner = people.logged_in(customer()), people.logged_in(ali)
    answer = openid.answer_for(thief.get(BEGIN)["Location"], "user:thief")
    owner.get(answer)
    assert owner.get(CONFIRM)["Location"] == "/settings/"
    assert thief.get(answer)["Location"] == CONFIRM
    # Begun for another account in the same browser, whose session somehow went on.
    begun_by_ali = owner.get(BEGIN)["Location"]
    session = SessionStore(owner.cookies[portal.SESSION_COOKIE_NAME].value)
    others = [{**entry, "link": customer().user.pk} for entry in session[flow.FLOWS]]
    people.set_session(owner, **{flow.FLOWS: others})
    owner.get(openid.answer_for(begun_by_ali, SUBJECT))
    assert owner.get(CONFIRM)["Location"] == "/settings/"
    assert not User.objects.filter(external_id=SUBJECT).exists()
    assert not AuditEvent.objects.filter(event=Event.EXCHANGE_LINKED.value).exists()


def test_answer_for_a_link_logs_nobody_in_and_one_of_a_login_links_nothing(
    openid: OpenIdProvider, ali: Person
) -> None:
    other = customer()
    User.objects.filter(pk=other.user.pk).update(external_id=SUBJECT)
    browser = people.logged_in(ali)
    answer = openid.answer_for(browser.get(BEGIN)["Location"], SUBJECT)
    browser.get(answer)
    assert browser.get("/settings/").status_code == 200, "still the login of ali"
    openid.answer_for(begun(people.browser()), "user:new")
    assert browser.get(CONFIRM)["Location"] == "/settings/"


def test_account_at_the_exchange_that_is_linked_elsewhere_is_refused(
    openid: OpenIdProvider, ali: Person
) -> None:
    other = customer()
    User.objects.filter(pk=other.user.pk).update(external_id=SUBJECT)
    browser = people.logged_in(ali)
    assert at_the_exchange(openid, browser)["Location"] == "/dashboard/"
    assert browser.get(CONFIRM)["Location"] == "/settings/"
    event = AuditEvent.objects.get(event=Event.LOGIN_EXCHANGE_REFUSED.value)
    assert (event.customer, event.detail) == (ali.user, {"rejection": "linked"})
    # Linked only after the login at the exchange.
    at_the_exchange(openid, browser, "user:late")
    User.objects.filter(pk=customer().user.pk).update(external_id="user:late")
    assert browser.post(CONFIRM, codes(ali, "user:late"))["Location"] == "/settings/"
    assert id_of(ali) is None


def test_mobile_number_is_no_id(openid: OpenIdProvider, ali: Person) -> None:
    browser = people.logged_in(ali)
    for subject in (ali.user.phone[1:], f"0{ali.user.phone[3:]}"):
        assert at_the_exchange(openid, browser, subject)["Location"] == "/dashboard/"
    assert browser.get(CONFIRM)["Location"] == "/settings/"


def test_linked_accounts_and_staff_are_sent_back(openid: OpenIdProvider, sara: Person) -> None:
    for person in (sara, customer(is_staff=True)):
        browser = people.logged_in(person)
        assert browser.get(BEGIN)["Location"] == "/settings/"
        assert f'href="{BEGIN}"' not in browser.get("/settings/").content.decode()


def test_login_at_the_exchange_is_forgotten_after_ten_minutes(
    openid: OpenIdProvider, ali: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = people.logged_in(ali)
    at_the_exchange(openid, browser)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + linking.MAX_AGE_SECONDS + 1)
    assert browser.get(CONFIRM)["Location"] == "/settings/"


def test_provider_that_is_down_is_named_on_the_settings_page(openid: OpenIdProvider, ali: Person) -> None:
    browser = people.logged_in(ali)
    place = browser.get(BEGIN)["Location"]
    answer = openid.answer_for(place, SUBJECT)
    openid.control(status=503)
    assert browser.get(answer)["Location"] == "/settings/"
    assert "ورود با حساب هیتوبیت" in browser.get("/settings/").content.decode()


def test_without_a_provider_there_is_no_such_page(ali: Person, settings: Any) -> None:
    settings.OIDC_ISSUER = ""
    browser = people.logged_in(ali)
    assert browser.get(BEGIN).status_code == 404
    assert f'href="{BEGIN}"' not in browser.get("/settings/").content.decode()
