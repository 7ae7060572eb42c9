"""Freeze, thaw and quarantine pages: one click to stop, both codes to resume."""

from datetime import timedelta

import pytest
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.actions import freeze
from accounts.choices import approvals
from accounts.models import AuditEvent, LoginSession, Notice, User
from apikeys.models import ApiKey
from tests.support import people, sms_collector
from tests.support.people import ADDRESS, Person, customer, key_of, logged_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
PAGES = ["/dashboard/", "/keys/", "/activity/", "/sessions/"]
FREEZE_BANNER, QUARANTINE_BANNER = 'href="/freeze/">', 'action="/quarantine/"'


@pytest.fixture
def sara() -> Person:
    return customer(name="Sara")


def happened(person: Person, kind: str) -> int:
    return AuditEvent.objects.filter(customer=person.user, event=kind).count()


def is_frozen(person: Person) -> bool:
    return person.reload().frozen_at is not None


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


def frozen(person: Person) -> Client:
    """Return a browser that logged in after the account was frozen."""
    freeze.freeze(None, person.user)
    return logged_in(person)


def quarantined(person: Person) -> Client:
    freeze.quarantine(person.user)
    return logged_in(person)


def codes(person: Person, approval: approvals.Approval) -> dict[str, str]:
    return {"sms_code": people.live_sms_code(person, approval), "totp_code": person.fresh_totp()}


def test_one_click_without_a_code_freezes_and_ends_every_session(sara: Person) -> None:
    client, other = logged_in(sara), logged_in(sara)
    assert 'name="sms_code"' not in page(client, "/freeze/")
    response = client.post("/freeze/")
    assert response.headers["Location"] == "/frozen/"
    assert is_frozen(sara)
    assert not LoginSession.objects.exists()
    for browser in (client, other):
        assert browser.get("/dashboard/").headers["Location"].startswith("/login/")
    event = AuditEvent.objects.get(event="account.frozen")
    assert (event.address, event.detail) == (ADDRESS, {"via": "page"})
    assert Notice.objects.filter(user=sara.user, event=event).exists()


def test_the_page_after_freezing_needs_no_login_and_says_how_to_go_back(sara: Person) -> None:
    client = logged_in(sara)
    client.post("/freeze/")
    assert 'href="/login/"' in page(client, "/frozen/")
    session = client.session
    session["just_frozen"] -= 601
    session.save()
    assert client.get("/frozen/").headers["Location"] == "/login/"


def test_the_page_after_freezing_tells_a_visitor_who_froze_nothing_nothing(sara: Person) -> None:
    assert people.browser().get("/frozen/").headers["Location"] == "/login/"
    assert logged_in(sara).get("/frozen/").headers["Location"] == "/freeze/"


def test_looking_at_the_page_freezes_nothing(sara: Person) -> None:
    client = logged_in(sara)
    client.get("/freeze/")
    client.head("/freeze/")
    assert client.delete("/freeze/").status_code == 405
    assert not is_frozen(sara)


@pytest.mark.parametrize("path", ["/freeze/", "/thaw/", "/quarantine/"])
def test_a_form_of_another_site_does_nothing(sara: Person, path: str) -> None:
    client = logged_in(sara, csrf=True)
    response = client.post(path, {"resend": "1"}, headers={"origin": "https://evil.example"})
    assert response.status_code == 403
    assert not is_frozen(sara)
    assert not sms_collector.messages


@pytest.mark.parametrize("path", PAGES)
def test_every_page_leads_to_freezing(sara: Person, path: str) -> None:
    # Side panel, account menu, and the top bar of phones.
    assert page(logged_in(sara), path).count('href="/freeze/"') >= 3


@pytest.mark.parametrize("path", PAGES)
def test_every_page_tells_of_freezing_and_of_quarantine_only_while_they_last(sara: Person, path: str) -> None:
    client = logged_in(sara)
    assert QUARANTINE_BANNER not in page(client, path)
    before = page(client, path).count(FREEZE_BANNER)
    freeze.quarantine(sara.user)
    assert QUARANTINE_BANNER in page(client, path)
    again = frozen(sara)
    text = page(again, path)
    assert QUARANTINE_BANNER not in text, "frozen says it all"
    assert text.count(FREEZE_BANNER) == before + 1


def test_quarantine_ends_by_itself(sara: Person) -> None:
    client = quarantined(sara)
    User.objects.filter(pk=sara.user.pk).update(quarantined_until=timezone.now() - timedelta(seconds=1))
    assert QUARANTINE_BANNER not in page(client, "/dashboard/")
    assert client.get("/quarantine/").headers["Location"] == "/dashboard/"


def test_error_pages_say_nothing_of_the_account(sara: Person) -> None:
    text = frozen(sara).get("/nothing/").content.decode()
    assert FREEZE_BANNER not in text
    assert "notice bar" not in text


def test_both_codes_thaw(sara: Person) -> None:
    client = frozen(sara)
    assert 'action="/thaw/"' in page(client, "/freeze/")
    assert client.post("/thaw/", {"resend": "1"}).headers["Location"] == "/thaw/"
    assert 'name="totp_code"' in page(client, "/thaw/")
    response = client.post("/thaw/", people.both_codes(sara, "account.thaw"))
    assert response.headers["Location"] == "/dashboard/"
    assert not is_frozen(sara)
    assert happened(sara, "account.thawed") == 1
    assert Notice.objects.filter(event__event="account.thawed").exists()


@pytest.mark.parametrize("wrong", ["sms_code", "totp_code"])
def test_one_right_code_thaws_nothing(sara: Person, wrong: str) -> None:
    client = frozen(sara)
    fields = {**codes(sara, approvals.THAW), wrong: sara.wrong_totp()}
    if wrong == "sms_code":
        people.live_sms_code(sara, approvals.THAW, "123456")
        fields["sms_code"] = "654321"
    assert client.post("/thaw/", fields).status_code == 200
    assert is_frozen(sara)
    assert happened(sara, "account.thawed") == 0


def test_a_code_for_something_else_thaws_nothing(sara: Person) -> None:
    client = frozen(sara)
    assert client.post("/thaw/", codes(sara, approvals.LIFT_QUARANTINE)).status_code == 200
    assert is_frozen(sara)


def test_thawing_twice_is_one_event(sara: Person) -> None:
    client = frozen(sara)
    fields = codes(sara, approvals.THAW)
    assert client.post("/thaw/", fields).headers["Location"] == "/dashboard/"
    assert people.clone_browser(client).post("/thaw/", fields).headers["Location"] == "/dashboard/"
    assert happened(sara, "account.thawed") == 1


def test_a_recovery_code_does_not_thaw(sara: Person) -> None:
    client = frozen(sara)
    code = people.recovery_codes(sara)[0]
    assert client.post("/thaw/", {**codes(sara, approvals.THAW), "totp_code": code}).status_code == 200
    assert is_frozen(sara)


def test_both_codes_end_the_quarantine(sara: Person) -> None:
    client = quarantined(sara)
    assert client.post("/quarantine/", {"resend": "1"}).headers["Location"] == "/quarantine/"
    fields = people.both_codes(sara, "account.lift_quarantine")
    assert client.post("/quarantine/", fields).headers["Location"] == "/dashboard/"
    assert not sara.reload().in_quarantine
    assert happened(sara, "account.quarantine_lifted") == 1
    assert client.post("/quarantine/", fields).headers["Location"] == "/dashboard/"
    assert happened(sara, "account.quarantine_lifted") == 1


def test_a_code_for_thawing_does_not_end_the_quarantine(sara: Person) -> None:
    client = quarantined(sara)
    assert client.post("/quarantine/", codes(sara, approvals.THAW)).status_code == 200
    assert sara.reload().in_quarantine


def test_no_key_is_made_while_the_account_is_frozen(sara: Person) -> None:
    client = frozen(sara)
    assert 'id="name"' not in page(client, "/keys/")
    assert client.post("/keys/", {"name": "bot"}).status_code == 200
    assert not sms_collector.messages
    assert client.get("/keys/new/verify/").headers["Location"] == "/keys/"
    assert not ApiKey.objects.exists()


def test_a_key_that_was_on_its_way_is_not_made_after_freezing(sara: Person) -> None:
    client = logged_in(sara)
    client.post("/keys/", {"name": "bot"})
    User.objects.filter(pk=sara.user.pk).update(frozen_at=timezone.now())
    response = client.post("/keys/new/verify/", people.both_codes(sara))
    assert response.headers["Location"] == "/keys/"
    assert not ApiKey.objects.exists()


MORE = {"permissions": ["read", "trade"], "ip_policy": "unrestricted"}
LESS = {"permissions": ["read"], "ip_policy": "trusted", "networks": [ADDRESS]}


def test_a_frozen_account_takes_power_from_its_keys_and_gives_none(sara: Person) -> None:
    key = key_of(sara)
    client = frozen(sara)
    assert client.post(f"/keys/{key.pk}/", MORE).status_code == 200
    assert not sms_collector.messages
    assert client.post(f"/keys/{key.pk}/", LESS).status_code == 302
    key.refresh_from_db()
    assert key.permissions == {"read"}
    assert key.ip_policy == "trusted"


def test_the_first_settings_of_a_new_key_give_no_power_either(sara: Person) -> None:
    key = key_of(sara)
    client = people.made_just_now(logged_in(sara), key)
    User.objects.filter(pk=sara.user.pk).update(frozen_at=timezone.now())
    assert client.post(f"/keys/{key.pk}/", MORE).status_code == 200
    key.refresh_from_db()
    assert key.permissions == {"read"}


def test_a_change_that_waits_for_its_codes_is_not_made_after_freezing(sara: Person) -> None:
    key = key_of(sara)
    client = logged_in(sara)
    client.post(f"/keys/{key.pk}/", MORE)
    User.objects.filter(pk=sara.user.pk).update(frozen_at=timezone.now())
    response = client.post(f"/keys/{key.pk}/verify/", people.both_codes(sara, "key.change"))
    assert response.headers["Location"] == f"/keys/{key.pk}/"
    key.refresh_from_db()
    assert key.permissions == {"read"}


def test_keys_are_shown_as_stopped_while_the_account_is_frozen(sara: Person) -> None:
    key = key_of(sara)
    client = frozen(sara)
    client.cookies["language"] = "en"
    assert ApiKey.objects.get(pk=key.pk).shown_state == "account_frozen"
    for path in ("/keys/", "/dashboard/", f"/keys/{key.pk}/"):
        assert 'data-tone="danger">Account frozen<' in page(client, path)
    freeze.thaw(RequestFactory().post("/"), sara.user)
    assert ApiKey.objects.get(pk=key.pk).shown_state == "active"
