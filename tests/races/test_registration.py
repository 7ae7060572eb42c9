"""Sign-up and forgotten password under many requests at once. On PostgreSQL."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from accounts.actions import pending_accounts
from accounts.choices.events import Event
from accounts.models import RecoveryCode, SmsDevice, User
from tests.accounts.registration.test_signup import CODE, PASSWORD, SIGNUP, confirmed, requested
from tests.support import people, sms_collector
from tests.support.anonymous import GOOD_PASSWORD as GOOD
from tests.support.concurrency import (
    MANY,
    RACES,
    count_events,
    count_redirects,
    post_concurrently,
    room_for,
    run_concurrently,
)

pytestmark = RACES
_room = room_for(MANY)


def test_one_code_of_many_browsers_leads_one_to_the_password() -> None:
    phone = people.next_phone()
    first = requested(phone)
    code = sms_collector.newest().code
    browsers = [people.clone_browser(first, people.address(n)) for n in range(MANY)]
    answers = post_concurrently([(browser, CODE, {"code": code}) for browser in browsers])
    assert count_redirects(answers, PASSWORD) == 1
    assert User.objects.count() == 1


def test_many_passwords_with_one_proof_open_one_account() -> None:
    phone = people.next_phone()
    one = confirmed(phone)
    browsers = [people.clone_browser(one, people.address(n)) for n in range(MANY)]
    posts = [(browser, PASSWORD, {"password": f"{GOOD} {n}"}) for n, browser in enumerate(browsers)]
    answers = post_concurrently(posts)
    assert count_redirects(answers, "/enrol/totp/") == 1
    winner = next(n for n, answer in enumerate(answers) if answer.headers.get("Location") == "/enrol/totp/")
    assert User.objects.get(phone=phone).check_password(f"{GOOD} {winner}")
    assert count_events(Event.SIGNED_UP) == SmsDevice.objects.count() == 1


def test_many_visitors_asking_at_once_make_one_row_and_one_message() -> None:
    phone = people.next_phone()
    posts = [(people.browser(people.address(n)), SIGNUP, {"phone": phone}) for n in range(MANY)]
    assert count_redirects(post_concurrently(posts), CODE) == MANY
    assert User.objects.count() == len(sms_collector.messages) == 1


def test_placeholder_that_becomes_an_account_is_not_cleared_away() -> None:
    rows = [pending_accounts.get_or_create_row(people.next_phone()) for _n in range(MANY // 2)]
    User.objects.update(created_at=timezone.now() - timedelta(days=2))

    def opening(user: User) -> Callable[[], str]:
        def work() -> str:
            try:
                return pending_accounts.open_account(people._request(), user, GOOD, None).phone
            except pending_accounts.NumberTakenError:
                return ""

        return work

    works: list[Callable[[], Any]] = [opening(user) for user in rows]
    done = run_concurrently([*works, *([pending_accounts.delete_expired] * 10)])
    opened = {phone for phone in done[: len(rows)] if phone}
    assert {user.phone for user in User.objects.all()} == opened
    assert len(opened) + sum(done[len(rows) :]) == len(rows)


def may_choose(sara: people.Person, method: str = "totp") -> Client:
    """A browser after both codes of a forgotten password."""
    client = people.browser()
    client.post("/forgot/", {"phone": sara.user.phone})
    second = (
        {"totp_code": sara.totp()} if method == "totp" else {"recovery_code": people.recovery_codes(sara)[0]}
    )
    codes = {"sms_code": sms_collector.newest("password.forgot").code, **second}
    assert client.post(f"/forgot/codes/?method={method}", codes)["Location"] == "/forgot/password/"
    return client


def test_of_many_new_passwords_with_one_proof_one_counts() -> None:
    sara = people.with_password(people.customer())
    one = may_choose(sara)
    browsers = [people.clone_browser(one, people.address(n)) for n in range(MANY)]
    posts = [
        (browser, "/forgot/password/", {"password": f"{GOOD} {n}"}) for n, browser in enumerate(browsers)
    ]
    count_redirects(post_concurrently(posts), "/login/")
    assert count_events(Event.PASSWORD_RESET) == 1
    assert sum(sara.reload().check_password(f"{GOOD} {n}") for n in range(MANY)) == 1
    assert sara.reload().session_epoch == 1


def test_one_recovery_code_of_many_browsers_leads_one_to_a_new_password() -> None:
    sara = people.with_password(people.customer())
    one = people.browser()
    one.post("/forgot/", {"phone": sara.user.phone})
    browsers = [people.clone_browser(one, people.address(n)) for n in range(MANY)]
    codes = {"sms_code": sms_collector.newest().code, "recovery_code": people.recovery_codes(sara)[0]}
    answers = post_concurrently([(browser, "/forgot/codes/?method=recovery", codes) for browser in browsers])
    assert count_redirects(answers, "/forgot/password/") == 1
    assert RecoveryCode.objects.exclude(used_at=None).count() == count_events(Event.RECOVERY_USED) == 1
