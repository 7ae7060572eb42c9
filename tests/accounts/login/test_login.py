"""The login in two steps: what each step allows, what it never allows, and the limits for guessing."""

import re
import time
from typing import Any
from unittest import mock
from urllib.parse import urljoin, urlsplit

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts.choices import approvals
from accounts.models import AuditEvent, RecoveryCode, SmsDevice, TotpDevice
from hitobit_portal.security.ratelimits import Rate
from tests.support import sms_collector
from tests.support.people import (
    Person,
    address,
    browser,
    customer,
    half_logged_in,
    live_sms_code,
    logged_in,
    newcomer,
    next_phone,
    recovery_codes,
)

pytestmark = pytest.mark.django_db
SECOND = "/login/second-factor/"


@pytest.fixture
def sara() -> Person:
    return customer(password="a rather long password")


@pytest.fixture(autouse=True)
def _quick(settings: Any) -> None:
    """Collect messages; hash passwords in microseconds, except in the one test about hashing."""
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    sms_collector.reset()


def session_id(client: Client) -> str:
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def type_password(client: Client, person: Person, **fields: str) -> HttpResponse:
    data = {"phone": person.user.phone, "password": person.password, **fields}
    return client.post("/login/", data)  # type: ignore[return-value]


def is_in(client: Client) -> bool:
    return client.get("/dashboard/").status_code == 200


def body_of(response: HttpResponse) -> str:
    """Return the page without the parts that differ between any two responses: token, clock, typed text."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", response.content.decode())
    return re.sub(r"\+989[0-9]{9}|data-now=\"[0-9]+\"|\b1[0-9]{12}\b", "", text)


def test_password_and_authenticator_log_in(sara: Person) -> None:
    client = browser()
    assert type_password(client, sara)["Location"] == SECOND
    answer = client.post(f"{SECOND}?method=totp", {"code": sara.totp()})
    assert answer["Location"] == "/dashboard/"
    assert is_in(client)


def test_phone_and_code_may_be_typed_in_persian_digits(sara: Person) -> None:
    persian = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
    client = browser()
    local = f"0{sara.user.phone[3:]}".translate(persian)
    assert type_password(client, sara, phone=local)["Location"] == SECOND
    client.post(f"{SECOND}?method=totp", {"code": sara.totp().translate(persian)})
    assert is_in(client)


def test_sms_logs_in_when_it_is_chosen(sara: Person) -> None:
    client = browser()
    type_password(client, sara)
    assert sms_collector.messages == []  # none was requested yet
    client.post(SECOND, {"switch": "sms"})
    message = sms_collector.newest("login")
    assert message.to == sara.user.phone
    client.post(f"{SECOND}?method=sms", {"code": message.code})
    assert is_in(client)


def test_recovery_code_logs_in_once(sara: Person) -> None:
    code = recovery_codes(sara)[0]
    first, second = half_logged_in(sara), half_logged_in(sara)
    first.post(f"{SECOND}?method=recovery", {"code": code.upper()})
    assert is_in(first)
    second.post(f"{SECOND}?method=recovery", {"code": code})
    assert not is_in(second)
    assert RecoveryCode.objects.filter(device__user=sara.user, used_at=None).count() == 9


def test_password_alone_reaches_no_protected_page(sara: Person) -> None:
    client = browser()
    type_password(client, sara)
    for path in ("/dashboard/", "/keys/", "/activity/", "/admin/"):
        assert client.get(path).status_code == 302, path


def test_wrong_password_and_unknown_phone_get_the_same_answer(sara: Person) -> None:
    known = browser().post("/login/", {"phone": sara.user.phone, "password": "wrong"})
    unknown = browser().post("/login/", {"phone": next_phone(), "password": "wrong"})
    assert known.status_code == unknown.status_code == 200
    assert body_of(known) == body_of(unknown)  # type: ignore[arg-type]
    own = (
        "X-Request-Id",
        "Expires",
    )  # specific to each response: a random id, and the second in which it was made
    headers = [{n: v for n, v in a.headers.items() if n not in own} for a in (known, unknown)]
    assert headers[0] == headers[1]
    assert [set(answer.cookies) for answer in (known, unknown)] == [set(known.cookies)] * 2


def test_account_that_is_switched_off_answers_like_a_wrong_password() -> None:
    person = newcomer(password="a rather long password", is_active=False)
    off = type_password(browser(), person)
    wrong = browser().post("/login/", {"phone": next_phone(), "password": "wrong"})
    assert off.status_code == 200
    assert body_of(off) == body_of(wrong)  # type: ignore[arg-type]


def test_session_id_changes_at_both_steps_and_old_ids_are_worth_nothing(sara: Person) -> None:
    planted = SessionStore()
    planted["anything"] = 1
    planted.save()  # a session that exists and whose id an attacker knows
    client = browser()
    client.cookies[settings.SESSION_COOKIE_NAME] = planted.session_key or ""
    seen = [session_id(client)]
    type_password(client, sara)
    seen.append(session_id(client))
    client.post(f"{SECOND}?method=totp", {"code": sara.totp()})
    seen.append(session_id(client))
    assert len(set(seen)) == 3
    for old in seen[:2]:
        other = browser()
        other.cookies[settings.SESSION_COOKIE_NAME] = old
        assert other.get("/dashboard/")["Location"].startswith("/login/")
        assert other.get(SECOND)["Location"].startswith("/login/")


def test_password_is_in_no_session(sara: Person) -> None:
    client = browser()
    type_password(client, sara)
    stored = [row.get_decoded() for row in Session.objects.all()]
    assert len(stored) == 1
    assert sara.password not in repr(stored)
    assert sara.user.password not in repr(stored)


def test_half_finished_login_is_over_after_a_quarter_of_an_hour(sara: Person) -> None:
    client = browser()
    type_password(client, sara)
    with mock.patch("time.time", return_value=time.time() + 15 * 60 + 1):
        assert client.get(SECOND)["Location"].startswith("/login/")


def test_account_switched_off_in_the_middle_does_not_finish(sara: Person) -> None:
    client = half_logged_in(sara)
    type(sara.user).objects.filter(pk=sara.user.pk).update(is_active=False)
    client.post(f"{SECOND}?method=totp", {"code": sara.totp()})
    assert not is_in(client)


def test_account_switched_off_in_the_middle_reaches_no_page_of_a_half_finished_login(sara: Person) -> None:
    client = half_logged_in(sara)
    assert client.get(SECOND).status_code == 200
    type(sara.user).objects.filter(pk=sara.user.pk).update(is_active=False)
    assert client.get(SECOND)["Location"].startswith("/login/?")


def test_account_switched_off_ends_its_sessions(sara: Person) -> None:
    client = logged_in(sara)
    assert is_in(client)
    type(sara.user).objects.filter(pk=sara.user.pk).update(is_active=False)
    assert not is_in(client)


def test_reset_factor_ends_its_sessions(sara: Person) -> None:
    client = logged_in(sara)
    sara.reload().totp.delete()
    assert client.get("/dashboard/")["Location"].startswith("/login/")


@pytest.mark.parametrize(
    ("factor", "how"),
    [
        ("totp", "deleted"),
        ("totp", "unconfirmed"),
        ("sms", "deleted"),
        ("sms", "unconfirmed"),
        ("sms", "other number"),
    ],
)
def test_a_session_ends_when_the_factor_goes_that_it_was_not_proved_by(
    sara: Person, factor: str, how: str
) -> None:
    client = half_logged_in(sara)
    method = {"totp": "sms", "sms": "totp"}[factor]
    code = live_sms_code(sara, approvals.LOGIN) if method == "sms" else sara.totp()
    client.post(f"{SECOND}?method={method}", {"code": code})
    assert is_in(client)
    model: Any = TotpDevice if factor == "totp" else SmsDevice
    row = model.objects.filter(user=sara.user)
    if how == "deleted":
        row.delete()
    elif how == "unconfirmed":
        row.update(confirmed=False)
    else:
        row.update(number="+989129999999")
    assert client.get("/dashboard/")["Location"].startswith("/login/")


def test_code_of_one_login_does_not_make_a_second_one(sara: Person) -> None:
    code = sara.totp()
    first, second = half_logged_in(sara), half_logged_in(sara)
    first.post(f"{SECOND}?method=totp", {"code": code})
    second.post(f"{SECOND}?method=totp", {"code": code})
    assert is_in(first)
    assert not is_in(second)


def test_code_of_another_user_is_refused(sara: Person) -> None:
    client = half_logged_in(sara)
    client.post(f"{SECOND}?method=totp", {"code": customer().totp()})
    assert not is_in(client)


def test_posted_device_and_user_ids_are_ignored(sara: Person) -> None:
    mallory = customer()
    client = half_logged_in(sara)
    fields = {"user": mallory.user.pk, "otp_device": f"accounts.totpdevice/{mallory.reload().totp.pk}"}
    client.post(f"{SECOND}?method=totp", {"code": mallory.totp(), **fields})
    assert not is_in(client)


def test_right_code_behind_five_wrong_ones_is_not_taken(sara: Person) -> None:
    client = half_logged_in(sara)
    for number in range(5):
        client.post(f"{SECOND}?method=totp", {"code": sara.wrong_totp(number)})
    client.post(f"{SECOND}?method=totp", {"code": sara.totp()})
    assert not is_in(client)
    assert AuditEvent.objects.filter(customer=sara.user, event="code.locked").exists()


def test_password_guesses_on_one_account_are_limited_and_others_are_not(sara: Person) -> None:
    client = browser()
    for _n in range(Rate.LOGIN_PHONE_ADDRESS.value.count):
        assert client.post("/login/", {"phone": sara.user.phone, "password": "x"}).status_code == 200
    refused = type_password(client, sara)
    assert refused.status_code == 429
    assert 1 <= int(refused["Retry-After"]) <= 300
    assert type_password(browser(), customer(password="another long one"))["Location"] == SECOND


def test_owner_logs_in_from_elsewhere_during_guessing(sara: Person) -> None:
    for _n in range(Rate.LOGIN_PHONE_ADDRESS.value.count + 2):
        browser(address(1)).post("/login/", {"phone": sara.user.phone, "password": "x"})
    assert type_password(browser(address(2)), sara)["Location"] == SECOND


def test_spellings_of_one_phone_number_are_one_bucket(sara: Person) -> None:
    local = sara.user.phone[3:]
    spellings = [f"0{local}", f"+98{local}", f"98{local}", f"0 {local}", f"0{local}\u200f"] * 2
    for spelling in spellings:
        browser().post("/login/", {"phone": spelling, "password": "x"})
    assert type_password(browser(), sara).status_code == 429


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "/\\/evil.example",
        "http:///evil.example",
        "http:evil.example",
        "https:/evil.example",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "\tjavascript:alert(1)",
        " //evil.example",
        "\t//evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\nLocation: https://evil.example",
        "\x00//evil.example",
        "/\x00/evil.example",
        "//portal.test@evil.example",
        "https://portal.test@evil.example",
        "https://portal.test.evil.example",
        "http://portal.test/keys/",
        "//evil。example",
        "／／evil.example",
        "evil.example",
        "@evil.example",
        "?next=//evil.example",
        "//[evil",
    ],
)
def test_login_leads_to_no_other_site(sara: Person, target: str) -> None:
    """Return the URL that a browser derives from a redirect: browsers remove white space inside of it."""
    answer = logged_in(sara).get("/login/", {"next": target})
    sent_to = re.sub(r"[\t\r\n]", "", answer["Location"]).replace("\\", "/")
    assert urlsplit(urljoin("https://portal.test/login/", sent_to))[:2] == ("https", "portal.test")
    hidden = browser().get("/login/", {"next": target}).context["next"]
    assert urlsplit(urljoin("https://portal.test/login/", hidden.replace("\\", "/")))[:2] == (
        "https",
        "portal.test",
    )


def test_login_leads_back_to_where_the_visitor_wanted_to_go(sara: Person) -> None:
    client = browser()
    assert client.get("/activity/?before=7")["Location"] == "/login/?next=%2Factivity%2F%3Fbefore%3D7"
    type_password(client, sara, next="/activity/?before=7")
    answer = client.post(f"{SECOND}?method=totp", {"code": sara.totp()})
    assert answer["Location"] == "/activity/?before=7"


def test_name_typed_in_an_expired_session_is_there_after_the_new_login(sara: Person) -> None:
    client = logged_in(sara)
    Session.objects.update(expire_date=timezone.now())
    lost = client.post("/keys/", {"name": "ربات من"})
    assert lost["Location"] == "/login/?next=%2Fkeys%2F"
    type_password(client, sara, next="/keys/")
    answer = client.post(f"{SECOND}?method=totp", {"code": sara.totp()})
    assert 'value="ربات من"' in client.get(answer["Location"]).content.decode()


def test_logout_is_by_post_ends_the_session_and_clears_the_browser(sara: Person) -> None:
    client = logged_in(sara)
    before = session_id(client)
    assert client.get("/logout/").status_code == 405
    assert is_in(client)
    answer = client.post("/logout/")
    assert answer["Clear-Site-Data"] == '"cache", "cookies", "storage"'
    other = browser()
    other.cookies[settings.SESSION_COOKIE_NAME] = before
    assert not is_in(other)


def test_forged_post_from_another_site_is_refused(sara: Person) -> None:
    client = logged_in(sara, csrf=True)
    assert client.post("/logout/", headers={"origin": "https://evil.example"}).status_code == 403
    assert is_in(client)


def test_forged_host_is_refused() -> None:
    assert browser().get("/login/", headers={"host": "evil.example"}).status_code == 400


def test_a_logged_in_user_is_redirected(sara: Person) -> None:
    assert logged_in(sara).get("/login/")["Location"] == "/dashboard/"


def test_staff_land_at_the_admin_site_unless_they_asked_for_a_page() -> None:
    admin = customer(is_staff=True)
    code = {"code": admin.totp()}
    browser = half_logged_in(admin)
    assert browser.post("/login/second-factor/", code)["Location"] == "/admin/"
    assert browser.get("/login/")["Location"] == "/admin/"
    assert 'href="/admin/"' in browser.get("/dashboard/").content.decode()


def test_customers_have_no_link_to_the_admin_site(sara: Person) -> None:
    assert 'href="/admin/"' not in logged_in(sara).get("/dashboard/").content.decode()


@pytest.mark.parametrize(
    "fields", [{}, {"phone": "x" * 100_000}, {"phone": "09121234567\x00", "password": "\x00"}]
)
def test_nonsense_is_answered_with_the_form(fields: dict[str, str]) -> None:
    assert browser().post("/login/", fields).status_code == 200


def test_password_of_a_megabyte_is_not_hashed(sara: Person) -> None:
    with mock.patch("accounts.login.views.authenticate", side_effect=AssertionError("hashed")):
        answer = browser().post("/login/", {"phone": sara.user.phone, "password": "x" * 1_000_000})
    assert answer.status_code == 200
