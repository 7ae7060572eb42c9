"""Changes of an account by many requests at once: one proof does its work once. On PostgreSQL."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.actions import scheduled_changes
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.models import DelayedChange, RecoveryCode, User
from tests.support import people, sms_collector
from tests.support.concurrency import (
    MANY,
    RACES,
    count_events,
    count_redirects,
    post_concurrently,
    room_for,
    run_concurrently,
    visiting,
)
from tests.support.people import Person, live_sms_code

pytestmark = RACES
_room = room_for(MANY)
CONFIRM = "/settings/phone/confirm/"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.EMAIL = True
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # many at once on two cores


def approved(sara: Person, path: str, purpose: approvals.Approval) -> Client:
    """A browser that has given both codes on the page at ``path``."""
    one = people.logged_in(sara)
    codes = {"sms_code": live_sms_code(sara, purpose), "totp_code": sara.fresh_totp()}
    assert one.post(path, codes).status_code == 302
    return one


def crowd_of(one: Client) -> list[Client]:
    return [people.clone_browser(one, people.address(n)) for n in range(MANY)]


def with_new_number(sara: Person, number: str, address: str = people.ADDRESS) -> Client:
    """A browser whose next code changes the number."""
    one = people.logged_in(sara, address)
    people.set_session(one, new_phone=number)
    codes = {"sms_code": live_sms_code(sara, approvals.change_phone(number)), "totp_code": sara.fresh_totp()}
    assert one.post("/settings/phone/codes/", codes).headers["Location"] == CONFIRM
    return one


def test_one_pair_of_codes_gives_one_proof() -> None:
    sara = people.customer()
    one = people.logged_in(sara)
    codes = {"sms_code": live_sms_code(sara, approvals.RENEW_RECOVERY), "totp_code": sara.totp()}
    answers = post_concurrently([(client, "/settings/recovery-codes/", codes) for client in crowd_of(one)])
    assert count_redirects(answers, "/settings/recovery-codes/new/") == 1


def test_one_proof_changes_the_password_once() -> None:
    sara = people.with_password(people.customer())
    one = approved(sara, "/settings/password/", approvals.CHANGE_PASSWORD)
    posts = [
        (
            client,
            "/settings/password/new/",
            {"current_password": sara.password, "password": f"purple kettle {n}"},
        )
        for n, client in enumerate(crowd_of(one))
    ]
    count_redirects(post_concurrently(posts), "")
    assert count_events(Event.PASSWORD_CHANGED) == 1
    assert not sara.reload().check_password(sara.password)


def test_one_proof_shows_one_set_of_recovery_codes() -> None:
    sara = people.customer()
    one = approved(sara, "/settings/recovery-codes/", approvals.RENEW_RECOVERY)
    answers = run_concurrently(
        [visiting(client, "/settings/recovery-codes/new/") for client in crowd_of(one)]
    )
    assert {answer.status_code for answer in answers} == {200}
    assert sum(b'id="codes"' in answer.content for answer in answers) == 1
    assert RecoveryCode.objects.count() == 10
    assert count_events(Event.RECOVERY_MADE) == 1


def test_one_code_changes_the_authenticator_once() -> None:
    sara = people.customer()
    one = approved(sara, "/settings/totp/", approvals.CHANGE_TOTP)
    new = Person(sara.user, "", one.get("/settings/totp/new/").context["secret"])
    answers = post_concurrently(
        [(client, "/settings/totp/new/", {"code": new.totp()}) for client in crowd_of(one)]
    )
    assert count_redirects(answers, "/settings/") == 1
    assert count_events(Event.TOTP_CHANGED) == 1
    assert new.seed != sara.seed


def test_one_code_replaces_a_lost_authenticator_and_logs_in_once() -> None:
    sara = people.customer()
    one = people.half_logged_in(sara)
    lost = {"code": people.recovery_codes(sara)[0], "lost": "1"}
    one.post("/login/second-factor/?method=recovery", lost)
    new = Person(sara.user, "", one.get("/enrol/totp/replace/").context["secret"])
    answers = post_concurrently(
        [(client, "/enrol/totp/replace/", {"code": new.totp()}) for client in crowd_of(one)]
    )
    assert count_redirects(answers, "/dashboard/") == 1
    assert count_events(Event.TOTP_CHANGED) == count_events(Event.LOGIN) == 1


def test_one_code_changes_the_number_once() -> None:
    sara, number = people.customer(), people.next_phone()
    one = with_new_number(sara, number)
    code = sms_collector.newest("phone.confirm").code
    answers = post_concurrently([(client, CONFIRM, {"code": code}) for client in crowd_of(one)])
    assert count_redirects(answers, "/settings/") == 1
    assert count_events(Event.PHONE_CHANGED) == 1
    assert sara.reload().phone == number


def test_twenty_accounts_that_want_one_number_at_once_are_one_that_gets_it() -> None:
    number = people.next_phone()
    persons = [people.customer() for _n in range(20)]
    posts = []
    for n, person in enumerate(persons):
        client = with_new_number(person, number, people.address(n))
        code = live_sms_code(person, approvals.confirm_phone(number))
        posts.append((client, CONFIRM, {"code": code}))
    answers = post_concurrently(posts)
    assert count_redirects(answers, "/settings/") == 1
    assert count_events(Event.PHONE_CHANGED) == User.objects.filter(phone=number).count() == 1
    assert sum(person.reload().in_quarantine for person in persons) == 1


def test_one_code_asks_for_one_waiting_change() -> None:
    sara, number = people.customer(), people.next_phone()
    one = people.logged_in(sara)
    fields = {"phone": number, "recovery_code": people.recovery_codes(sara)[0], "totp_code": sara.totp()}
    one.post("/settings/phone/lost/", fields)
    code = sms_collector.newest("phone.confirm").code
    post_concurrently([(client, CONFIRM, {"code": code}) for client in crowd_of(one)])
    assert count_events(Event.PHONE_CHANGE_ASKED) == DelayedChange.objects.count() == 1


def test_link_of_the_mail_is_used_once() -> None:
    sara = people.customer()
    one = people.logged_in(sara)
    one.post("/settings/email/", {"email": "sara@example.com"})
    codes = {"sms_code": sms_collector.newest("email.change").code, "totp_code": sara.totp()}
    one.post("/settings/email/codes/", codes)
    result = re.search(r"(/settings/email/confirm/\S+)", str(mail.outbox[-1].body))
    assert result
    count_redirects(post_concurrently([(client, result[1], {}) for client in crowd_of(one)]), "")
    assert count_events(Event.EMAIL_CHANGED) == 1


def due_reset(sara: Person) -> DelayedChange:
    change = scheduled_changes.schedule_factor_reset(sara.user, "test")
    assert change
    DelayedChange.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    return change


def test_many_processes_put_a_change_into_force_once() -> None:
    sara = people.customer()
    due_reset(sara)
    assert sum(run_concurrently([scheduled_changes.apply_due] * MANY)) == 1
    assert count_events(Event.FACTORS_RESET) == 1


def test_a_change_is_stopped_or_takes_force_and_never_both() -> None:
    sara = people.customer()
    number = due_reset(sara).pk
    works = [scheduled_changes.apply_due, lambda: int(scheduled_changes.stop(sara.user, number, None))] * (
        MANY // 2
    )
    assert sum(run_concurrently(works)) == 1
    assert count_events(Event.FACTORS_RESET) + count_events(Event.DELAYED_STOPPED) == 1
    assert sara.reload().has_both_factors == (count_events(Event.DELAYED_STOPPED) == 1)
