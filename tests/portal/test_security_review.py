"""Holes that were found by attacking the portal, each as the attack that no longer works."""

import io
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import Client

from accounts import sms
from accounts.access import form_drafts
from accounts.models import AuditEvent, FactorGuard, LoginSession
from apikeys.models import ApiKey
from apikeys.pages import session_state
from apikeys.policy import names
from apikeys.policy.choices import KeyState
from hitobit_portal import background, wsgi
from hitobit_portal.security import crypto
from hitobit_portal.security.ratelimits import Rate
from tests.support import people
from tests.support.production import HOST

pytestmark = pytest.mark.django_db(transaction=True)


def served(content_type: str, body: bytes = b"") -> str:
    """The status with which the server's own entry point answers, which the test client goes around."""
    answers: list[str] = []
    environ = {
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "REQUEST_METHOD": "POST" if body else "GET",
        "PATH_INFO": "/login/",
        "QUERY_STRING": "next=%2Fa",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": people.ADDRESS,
        "HTTP_HOST": HOST,
        "HTTP_X_FORWARDED_PROTO": "https",
    }
    for _part in wsgi.application(environ, lambda status, headers: answers.append(status[:3])):
        pass
    return answers[0]


@pytest.mark.parametrize("charset", ["base64", "undefined", "unicode_escape", "utf-16", '""'])
def test_a_codec_named_by_the_caller_is_refused(charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="phone"\r\n\r\n\\ud800\r\n--x--\r\n'
    form = f"multipart/form-data; boundary=x; charset={charset}"
    assert (served(f"text/plain; charset={charset}"), served(form, body)) == ("415", "415")


def test_a_codec_named_in_a_parameter_is_refused() -> None:
    assert served("text/plain; a*=nope''%41") == "415"


@pytest.mark.parametrize("kind", ["", "text/plain", "text/plain; charset=UTF-8"])
def test_utf_8_may_be_named(kind: str) -> None:
    assert served(kind) == "200"


def test_a_session_cookie_with_a_nul_is_a_bad_request() -> None:
    answer = people.browser().get("/dashboard/", headers={"cookie": '__Host-session="\\000abcdefghijk"'})
    assert answer.status_code == 400


def test_an_upload_is_refused_before_it_is_read() -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    body = head + b"a" * 3_000_000 + b"\r\n--x--\r\n"
    answer = people.browser().post("/login/", body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 413


def test_staff_cannot_search_people_by_their_password_digest() -> None:
    staff = people.customer(is_staff=True)
    staff.user.user_permissions.add(Permission.objects.get(codename="view_user"))
    browser = people.logged_in(staff)
    assert browser.get("/admin/accounts/user/").status_code == 200
    plain, searched = (
        browser.get(f"/admin/accounts/user/?password__startswith={letter}").content.count(b"<tr")
        for letter in "ax"
    )
    assert plain == searched


def test_a_name_that_folds_to_nine_hundred_characters_makes_a_key() -> None:
    sara = people.customer()
    people.key_of(sara, "\ufdfa" * names.MAX_LENGTH)
    assert ApiKey.objects.get(owner=sara.user).label == "\ufdfa" * names.MAX_LENGTH
    assert names.fold("\ufdfa" * 49 + "a") != names.fold("\ufdfa" * 49 + "b")


def test_whatever_a_back_end_of_sms_raises_is_a_failed_sending_without_its_text(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SMS_BACKENDS = ["tests.portal.test_security_review"]
    with pytest.raises(sms.SmsError) as raised:
        sms.send("+989120000000", "text", code="123456", purpose="login")
    assert "123456" not in caplog.text + str(raised.value)


def send(phone: str, text: str, *, code: str, purpose: str) -> None:
    """An SMS back-end whose library raises what it likes."""
    raise ValueError(f"https://sms.example/?token={code}")


def test_refused_logins_do_not_fill_the_audit_trail() -> None:
    browser = people.browser()
    for _n in range(Rate.LOGIN_PHONE_ADDRESS.value.count + 20):
        browser.post("/login/", {"phone": "09120000000", "password": "x"})
    assert AuditEvent.objects.filter(event="login.limited").count() == 1


def test_a_blocked_address_does_not_use_up_the_rate_of_a_phone() -> None:
    sara = people.customer(password="right horse")
    attacker = people.browser(people.address(1))
    for _n in range(Rate.LOGIN_PHONE.value.count + 10):
        attacker.post("/login/", {"phone": sara.user.phone, "password": "x"})
    answer = people.browser().post("/login/", {"phone": sara.user.phone, "password": "right horse"})
    assert (answer.status_code, answer["Location"]) == (302, "/login/second-factor/")


def made_up() -> Client:
    browser = people.browser()
    browser.cookies["__Host-session"] = "x" * 32
    return browser


def ended(sara: people.Person) -> Client:
    browser = people.logged_in(sara)
    LoginSession.objects.all().delete()
    return browser


def test_a_made_up_session_cookie_keeps_no_draft() -> None:
    made_up().post("/keys/", {"name": "bot"})
    assert Session.objects.count() == 0


def test_an_ended_session_keeps_no_large_draft() -> None:
    ended(people.customer()).post("/keys/", {"networks": ["x" * 2000] * 40})
    assert Session.objects.count() == 0


def test_ended_sessions_keep_few_drafts() -> None:
    sara = people.customer()
    for _n in range(Rate.DRAFT_ADDRESS.value.count + 10):
        ended(sara).post("/keys/", {"name": "bot"})
    assert Session.objects.count() == Rate.DRAFT_ADDRESS.value.count


def test_the_largest_honest_draft_is_kept() -> None:
    fields = {"networks": ["2001:db8:1111:2222:3333:4444:5555:6666"] * 30, "network": "1" * 2000}
    ended(people.customer()).post("/keys/", fields)
    assert form_drafts.DRAFT in Session.objects.get().get_decoded()


def test_a_repeated_submission_does_not_prolong_the_first_settings() -> None:
    sara = people.customer()
    browser = people.logged_in(sara)
    key = people.key_of(sara)
    ApiKey.objects.filter(pk=key.pk).update(created_at=key.created_at - timedelta(seconds=601))
    people.set_session(browser, **{session_state.NEW_KEY: {"name": key.label, "wizard": str(key.wizard)}})
    browser.post("/keys/new/verify/", {"sms_code": "000000", "totp_code": "000000"})
    assert b'id="api-secret"' not in browser.get(f"/keys/{key.pk}/").content
    browser.post(f"/keys/{key.pk}/", {"permissions": ["read", "trade"], "ip_policy": "unrestricted"})
    assert not ApiKey.objects.get(pk=key.pk).can_trade


def test_a_paused_key_takes_no_change_even_with_both_codes() -> None:
    sara = people.customer()
    browser = people.logged_in(sara)
    key = people.key_of(sara)
    browser.post(f"/keys/{key.pk}/", {"permissions": ["read", "trade"], "ip_policy": "unrestricted"})
    key.set_state(KeyState.FROZEN)
    assert browser.get(f"/keys/{key.pk}/verify/")["Location"] == f"/keys/{key.pk}/"


def test_a_key_header_with_a_nul_is_malformed() -> None:
    answer = people.browser().get("/sapi/v1/account/apiRestrictions", headers={"x-mbx-apikey": "\x00" * 64})
    assert (answer.status_code, answer.json()["code"]) == (401, -2014)


@pytest.mark.parametrize("path", ["/dashboard/", "/login/"])
def test_a_database_that_fails_while_the_session_is_loaded_is_a_503(path: str) -> None:
    browser = people.logged_in(people.customer())

    def fail(execute: Callable[..., Any], *arguments: Any) -> Any:
        raise OperationalError("database is locked")

    with connection.execute_wrapper(fail):
        assert browser.get(path).status_code == 503


def test_an_unknown_key_costs_the_queries_of_a_known_one(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is noted about the key comes after the answer, in a thread of its own.
    monkeypatch.setattr(background.statistics, "submit", lambda *work: True)
    key = people.key_of(people.customer())
    known, unknown = people.browser(), people.browser()
    path = f"/sapi/v1/account/apiRestrictions?timestamp={int(time.time() * 1000)}&signature={'0' * 64}"
    with django_assert_num_queries(1):
        known.get(path, headers={"x-mbx-apikey": key.key_id})
    with django_assert_num_queries(1):
        unknown.get(path, headers={"x-mbx-apikey": "a" * 64})


def test_a_secret_does_not_open_for_another_key_or_another_owner() -> None:
    victim, mallory = people.customer(), people.customer()
    theirs, own = people.key_of(victim, "theirs"), people.key_of(mallory, "own")
    credential = theirs.credentials.get()
    type(credential).objects.filter(pk=credential.pk).update(key=own, revealed_at=None)
    with pytest.raises(crypto.SealError):
        type(credential).objects.get(pk=credential.pk).reveal()
    type(credential).objects.filter(pk=credential.pk).update(key=theirs, revealed_at=None)
    ApiKey.objects.filter(pk=theirs.pk).update(owner=mallory.user)
    with pytest.raises(crypto.SealError):
        type(credential).objects.get(pk=credential.pk).reveal()


def test_a_network_moved_to_another_key_takes_withdraw_with_it() -> None:
    person = people.customer()
    rich, other = people.key_of(person, "rich"), people.key_of(person, "other")
    rich.apply({"read", "withdraw"}, "trusted", ["203.0.113.1"])
    rich.networks.update(key=other)
    rich.refresh_from_db()
    assert not rich.can_withdraw


def test_a_key_deleted_before_it_was_shown_reveals_nothing() -> None:
    person = people.customer()
    key = people.key_of(person)
    browser = people.made_just_now(people.logged_in(person), key)
    key.set_state(KeyState.REVOKED)
    assert b"api-secret" not in browser.get(f"/keys/{key.pk}/").content


def test_a_second_click_on_an_applied_change_is_no_wrong_code() -> None:
    person = people.customer()
    key = people.key_of(person)
    browser = people.logged_in(person)
    before = key.settings.as_json()
    key.apply({"read", "trade"}, "unrestricted", [])
    change = {"key": str(key.pk), "before": before, "after": key.settings.as_json(), "asked": {"name": "bot"}}
    people.set_session(browser, **{session_state.CHANGE: change})
    answer = browser.post(f"/keys/{key.pk}/verify/", {"sms_code": "000000", "totp_code": "000000"})
    assert (answer.status_code, answer["Location"]) == (302, f"/keys/{key.pk}/")
    assert not FactorGuard.objects.filter(user=person.user, in_a_row__gt=0).exists()
