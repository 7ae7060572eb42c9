"""Known browsers: failures elsewhere do not lock the owner out of browsers in which they logged in before."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.conf import settings as portal
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.access import known_browsers, sessions, trusted_devices
from accounts.actions import freeze, scheduled_changes
from accounts.choices import approvals
from accounts.models import DelayedChange, FactorGuard, LoginSession, User
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate
from tests.support import people, sms_collector
from tests.support.people import Person, address, browser, customer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
SECOND = "/login/second-factor/"
TOTP = f"{SECOND}?method=totp"
GOOD = "چهار اسب آرام در برف"  # nosec B105


@pytest.fixture
def sara() -> Person:
    return people.with_password(customer(name="Sara"))


def type_password(client: Client, person: Person, password: str = "") -> Any:
    return client.post("/login/", {"phone": person.user.phone, "password": password or person.password})


def log_in(client: Client, person: Person, **fields: str) -> Client:
    """Log in by the pages, both steps."""
    assert type_password(client, person)["Location"] == SECOND
    assert client.post(TOTP, {"code": person.fresh_totp(), **fields})["Location"] == "/dashboard/"
    return client


def before(person: Person, *cookies: str) -> Client:
    """Return a browser with an earlier login: its session has ended, its other cookies remain."""
    client = log_in(browser(), person, trust="1")
    kept = {name: client.cookies[name].value for name in cookies or [known_browsers.COOKIE]}
    client.cookies.clear()
    client.cookies.load(kept)
    return client


def others_try_passwords(person: Person) -> None:
    """Post 25 wrong passwords from three addresses: as many as count against an account elsewhere."""
    for n in range(Rate.LOGIN_PHONE.value.count):
        type_password(browser(address(n % 3)), person, "wrong")
    assert type_password(browser(address(99)), person).status_code == 429


def used_up(person: Person) -> None:
    """Set the counters to the same state, without 25 requests."""
    for _n in range(Rate.LOGIN_PHONE.value.count):
        ratelimits.acquire(Rate.LOGIN_PHONE, person.user.phone)
    assert type_password(browser(address(99)), person).status_code == 429


@pytest.mark.parametrize("cookie", [known_browsers.COOKIE, trusted_devices.COOKIE])
def test_wrong_passwords_elsewhere_do_not_lock_a_known_browser(sara: Person, cookie: str) -> None:
    client = before(sara, cookie)
    others_try_passwords(sara)
    assert type_password(client, sara)["Location"] in (SECOND, "/dashboard/")


def test_wrong_passwords_from_the_same_address_do_not_lock_a_known_browser(sara: Person) -> None:
    client = before(sara)
    for _n in range(Rate.LOGIN_ADDRESS.value.count + 1):
        type_password(browser(), customer(), "wrong")
    assert type_password(browser(), sara).status_code == 429
    assert type_password(client, sara)["Location"] == SECOND


def test_the_cookie_is_signed_for_this_host_and_for_no_script(sara: Person) -> None:
    client = log_in(browser(), sara)
    assert known_browsers.COOKIE == "__Host-known"
    cookie = client.cookies[known_browsers.COOKIE]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", 180 * 86_400)
    assert sara.user.phone.lstrip("+") not in cookie.value


def test_only_a_finished_login_makes_a_browser_known(sara: Person) -> None:
    client = browser()
    type_password(client, sara)
    client.post(TOTP, {"code": sara.wrong_totp()})
    assert known_browsers.COOKIE not in client.cookies


def test_failures_in_a_known_browser_count_only_there(sara: Person) -> None:
    client, other = before(sara), before(sara)
    for _n in range(10):
        assert type_password(client, sara, "wrong").status_code == 200
    response = type_password(client, sara)
    assert response.status_code == 429
    assert 1 <= int(response["Retry-After"]) <= 300
    assert type_password(other, sara)["Location"] == SECOND
    assert type_password(browser(), sara)["Location"] == SECOND


def test_right_passwords_do_not_use_a_known_browser_up(sara: Person) -> None:
    client = before(sara)
    for _n in range(Rate.LOGIN_BROWSER.value.count + 5):
        assert type_password(client, sara)["Location"] == SECOND


def test_a_cookie_makes_its_browser_known_to_its_own_accounts_only(sara: Person) -> None:
    mallory = people.with_password(customer())
    client = before(mallory)
    used_up(sara)
    assert type_password(client, sara).status_code == 429


def test_a_family_of_five_shares_a_browser_and_each_token_is_of_the_last_login() -> None:
    family = [people.with_password(customer()) for _n in range(6)]
    client = browser()
    for person in [*family, family[5]]:
        log_in(client, person)
        del client.cookies[portal.SESSION_COOKIE_NAME]
    assert client.cookies[known_browsers.COOKIE].value.count(":") == 4
    for person in (family[0], family[1], family[5]):
        used_up(person)
    assert type_password(client, family[0]).status_code == 429, "the one of the longest time ago"
    assert type_password(client, family[1])["Location"] == SECOND
    assert type_password(client, family[5])["Location"] == SECOND


def changed(token: str) -> list[str]:
    """Return the token with each of its characters changed, and other invalid tokens."""
    one = [token[:n] + ("A" if letter != "A" else "B") + token[n + 1 :] for n, letter in enumerate(token)]
    return [*one, token + "A", "", ":", token * 9, "..", "é", "0" * 5000, "\\000", "1.2.3"]


def test_a_changed_cookie_is_worth_nothing(sara: Person) -> None:
    request = mock.Mock(user=None)
    client = before(sara)
    token = client.cookies[known_browsers.COOKIE].value
    request.COOKIES = {known_browsers.COOKIE: token}
    assert known_browsers.identify(request, sara.reload())
    for other in changed(token):
        request.COOKIES = {known_browsers.COOKIE: other}
        assert known_browsers.identify(request, sara.reload()) == "", other
        assert known_browsers.identify(request, None) == ""


def test_a_cookie_holds_for_180_days_and_over_a_new_master_key(sara: Person, settings: Any) -> None:
    client = before(sara)
    request = mock.Mock(
        user=None, COOKIES={known_browsers.COOKIE: client.cookies[known_browsers.COOKIE].value}
    )
    settings.MASTER_KEYS = {"new": b"n" * 32, **portal.MASTER_KEYS}
    now = time.time()
    for days, is_known in ((179, True), (180, False), (-1, False)):
        with mock.patch("time.time", return_value=now + days * 86_400):
            assert bool(known_browsers.identify(request, sara.reload())) is is_known
    settings.MASTER_KEYS = {"new": b"n" * 32}
    assert known_browsers.identify(request, sara.reload()) == ""


def test_it_survives_a_logout_that_has_the_browser_drop_all_cookies(sara: Person) -> None:
    client = log_in(browser(), sara)
    response = client.post("/logout/")
    token = client.cookies[known_browsers.COOKIE].value
    assert token not in response["Location"]
    client.cookies.clear()
    assert client.get(response["Location"])["Location"] == "/login/"
    used_up(sara)
    assert type_password(client, sara)["Location"] == SECOND
    visitor = browser()
    visitor.get(response["Location"])
    assert known_browsers.COOKIE not in visitor.cookies, "the address was used before"


def test_exported_tokens_expire_after_a_minute(sara: Person) -> None:
    response = log_in(browser(), sara).post("/logout/")
    with mock.patch.object(
        cache, "get", return_value=None
    ):  # as after its expiry: the clock of the cache is real
        late = browser()
        assert late.get(response["Location"])["Location"] == "/login/"
    assert known_browsers.COOKIE not in late.cookies
    assert known_browsers.HANDOVER_SECONDS == 60


def test_a_logout_needs_no_cache(sara: Person) -> None:
    client = log_in(browser(), sara)
    with mock.patch.object(cache, "set", side_effect=ConnectionError):
        assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/dashboard/").status_code == 302


def test_a_link_with_foreign_tokens_keeps_the_browsers_own(sara: Person) -> None:
    client = before(sara)
    theirs = browser()
    for _n in range(5):
        log_in(theirs, people.with_password(customer()))
        theirs.cookies.pop(portal.SESSION_COOKIE_NAME)
    log_in(theirs, people.with_password(customer()))
    client.get(theirs.post("/logout/")["Location"])
    used_up(sara)
    assert type_password(client, sara)["Location"] == SECOND


def reset(person: Person) -> None:
    scheduled_changes.schedule_factor_reset(person.user, "came with a passport")
    DelayedChange.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    scheduled_changes.apply_due()


@pytest.mark.parametrize(
    ("what", "is_known"),
    [
        (lambda person: sessions.end_all(person.user), False),
        (reset, False),
        (lambda person: freeze.freeze(None, person.user), True),
        (lambda person: freeze.freeze(None, person.user, via="link"), True),
        (lambda person: call_command("freeze_account", person.user.phone, "--reason", "r"), True),
    ],
    ids=["all sessions ended", "factors reset", "frozen", "frozen by a link", "frozen by an operator"],
)
def test_ending_all_sessions_forgets_browsers_except_on_freeze(
    sara: Person, what: Callable[[Person], object], is_known: bool
) -> None:
    client = before(sara)
    what(sara)
    used_up(sara)
    assert (type_password(client, sara).status_code == 302) is is_known


def test_the_browser_that_ended_the_other_sessions_stays_known(sara: Person) -> None:
    client, other = log_in(browser(), sara), before(sara)
    ended = client.post("/sessions/end/?which=others&method=totp", {"code": sara.fresh_totp()})
    assert ended["Location"] == "/sessions/"
    del client.cookies[portal.SESSION_COOKIE_NAME]
    used_up(sara)
    assert type_password(client, sara)["Location"] == SECOND
    assert type_password(other, sara).status_code == 429


def test_password_reset_by_both_codes_allows_the_next_login(sara: Person) -> None:
    old, client = before(sara), browser()
    client.post("/forgot/", {"phone": sara.user.phone})
    codes = {"sms_code": sms_collector.newest("password.forgot").code, "totp_code": sara.fresh_totp()}
    assert client.post("/forgot/codes/", codes)["Location"] == "/forgot/password/"
    assert client.post("/forgot/password/", {"password": GOOD})["Location"] == "/login/"
    used_up(Person(sara.user, GOOD, sara.seed))
    assert type_password(client, sara, GOOD)["Location"] == SECOND
    assert type_password(old, sara, GOOD).status_code == 429


def test_wrong_codes_at_sign_up_lock_no_customer_behind_the_same_address(sara: Person) -> None:
    for _n in range(3):
        visitor = browser()
        visitor.post("/signup/", {"phone": people.next_phone()})
        for n in range(5):
            visitor.post("/signup/code/", {"code": f"{n:06d}"})
    assert type_password(browser(), sara)["Location"] == SECOND
    log_in(browser(), sara)


def test_wrong_codes_of_others_behind_the_same_address_lock_no_known_browser(sara: Person) -> None:
    client = before(sara)
    for person in [customer() for _n in range(3)]:
        thief = people.half_logged_in(person)
        for n in range(5):
            thief.post(TOTP, {"code": person.wrong_totp(n)})
    visitor = people.half_logged_in(sara)
    assert visitor.post(TOTP, {"code": sara.fresh_totp()}).status_code == 200
    log_in(client, sara)


def thief_tries_codes(person: Person) -> None:
    """Post wrong codes after the right password, until codes are locked."""
    for n in range(6):
        people.half_logged_in(person, address(n)).post(TOTP, {"code": person.wrong_totp(n)})


def test_a_stolen_password_does_not_block_codes_in_a_known_browser(sara: Person) -> None:
    client = before(sara)
    thief_tries_codes(sara)
    assert people.half_logged_in(sara, address(9)).post(TOTP, {"code": sara.fresh_totp()}).status_code == 200
    log_in(client, sara)


def test_a_stolen_password_does_not_block_codes_of_an_active_login(sara: Person) -> None:
    freeze.freeze(None, sara.user)
    client = people.logged_in(sara)
    thief_tries_codes(sara)
    codes = {
        "sms_code": people.live_sms_code(sara, approvals.THAW, client=client),
        "totp_code": sara.fresh_totp(),
    }
    assert client.post("/thaw/", codes).status_code == 302
    assert sara.reload().frozen_at is None


def test_codes_of_a_known_browser_are_guessed_five_times_in_five_minutes_like_all_others(
    sara: Person,
) -> None:
    client = before(sara)
    type_password(client, sara)
    for n in range(5):
        client.post(TOTP, {"code": sara.wrong_totp(n)})
    assert client.post(TOTP, {"code": sara.fresh_totp()}).status_code == 200
    guard = FactorGuard.objects.get(user=sara.user)
    assert (len(guard.known_failures or ()), guard.known_in_a_row) == (5, 5)
    assert (guard.failures, guard.in_a_row) == ([], 0)


def test_after_ten_wrong_codes_in_a_row_a_known_browser_counts_like_all_others(sara: Person) -> None:
    """A hundred failures in a row are the maximum, in any browser."""
    client = before(sara)
    type_password(client, sara)
    FactorGuard.objects.update(known_in_a_row=10, in_a_row=90)
    assert client.post(TOTP, {"code": sara.fresh_totp()}).status_code == 200
    FactorGuard.objects.update(known_in_a_row=9, in_a_row=90)
    assert client.post(TOTP, {"code": sara.fresh_totp()})["Location"] == "/dashboard/"
    guard = FactorGuard.objects.get(user=sara.user)
    assert (guard.known_in_a_row, guard.in_a_row) == (0, 0)


def test_a_guard_of_the_version_before_has_no_known_failures_yet(sara: Person) -> None:
    client = before(sara)
    type_password(client, sara)
    FactorGuard.objects.update(known_failures=None)
    client.post(TOTP, {"code": sara.wrong_totp()})
    assert len(FactorGuard.objects.get(user=sara.user).known_failures or ()) == 1


def others_use_up_forgot(person: Person) -> None:
    """Use all that anonymous visitors may do with the number: six messages, and five wrong codes."""
    for n in range(7):
        visitor = browser(address(n))
        visitor.post("/forgot/", {"phone": person.user.phone})
        visitor.post("/forgot/codes/", {"sms_code": f"{n:06d}", "totp_code": person.wrong_totp(n)})
        person.user.sms_codes.all().delete()  # as if a minute had passed
    for _n in range(Rate.FORGOT_ADDRESS.value.count):
        browser().post("/forgot/", {"phone": people.next_phone()})
    sms_collector.reset()


def test_failures_elsewhere_do_not_block_a_password_reset_in_a_known_browser(sara: Person) -> None:
    client = before(sara)
    others_use_up_forgot(sara)
    assert browser().post("/forgot/", {"phone": sara.user.phone}).status_code == 429
    assert client.post("/forgot/", {"phone": sara.user.phone})["Location"] == "/forgot/codes/"
    codes = {"sms_code": sms_collector.newest("password.forgot").code, "totp_code": sara.fresh_totp()}
    assert client.post("/forgot/codes/", codes)["Location"] == "/forgot/password/"


def test_an_account_that_is_locked_after_a_hundred_wrong_codes_gets_a_new_password(sara: Person) -> None:
    """SECURITY: otherwise the owner could not log in, and a thief with the old password could keep it so."""
    FactorGuard.objects.update_or_create(user=sara.user, defaults={"in_a_row": 100})
    client = browser()
    client.post("/forgot/", {"phone": sara.user.phone})
    codes = {"sms_code": sms_collector.newest("password.forgot").code, "totp_code": sara.fresh_totp()}
    assert client.post("/forgot/codes/", codes)["Location"] == "/forgot/password/"
    assert client.post("/forgot/password/", {"password": GOOD})["Location"] == "/login/"
    assert sara.reload().check_password(GOOD)


def test_a_customer_who_trusted_a_browser_and_becomes_staff_types_a_code_at_each_login(sara: Person) -> None:
    client = before(sara, trusted_devices.COOKIE)
    assert type_password(client, sara)["Location"] == "/dashboard/"
    client.cookies.pop(portal.SESSION_COOKIE_NAME)
    User.objects.filter(pk=sara.user.pk).update(is_staff=True)
    assert type_password(client, sara)["Location"] == SECOND
    assert LoginSession.objects.filter(user=sara.user, method="trusted").count() == 1
