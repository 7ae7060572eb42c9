"""A number that is replaced while codes are asked for: none that went to the old one is any good. On PostgreSQL."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.actions import scheduled_changes
from accounts.choices import approvals
from accounts.models import DelayedChange, SmsCode, User
from tests.support import people, sms_collector
from tests.support.concurrency import connections_for, count_redirects, posting, run_concurrently, visiting
from tests.support.people import Person

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.verify]
FIFTY = 50


@pytest.fixture(autouse=True, scope="module")
def _room(django_db_setup: None) -> Iterator[None]:
    with connections_for(FIFTY + 8):
        yield


@pytest.fixture(autouse=True)
def _phone(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    monkeypatch.setattr(sms_collector, "speak", _speak, raising=False)
    sms_collector.reset()


def _speak(phone: str, text: str, *, code: str, purpose: str, reference: str) -> None:
    sms_collector.send(phone, text, code=code, purpose=purpose)


def due_number(sara: Person) -> str:
    """Another number of the person, which takes force as soon as somebody looks for what is due."""
    number, now = people.next_phone(), timezone.now()
    DelayedChange.objects.create(
        user=sara.user,
        kind="phone",
        phone=number,
        asked_at=now - timedelta(days=1),
        due_at=now - timedelta(seconds=1),
    )
    return number


def login(sara: Person, n: int) -> Callable[[], Any]:
    """The second step of a login, by a code to the account's number."""
    return posting(people.half_logged_in(sara, people.address(n)), "/login/second-factor/", {"switch": "sms"})


def settings_code(sara: Person, n: int) -> Callable[[], Any]:
    return posting(people.logged_in(sara, people.address(n)), "/settings/password/", {"resend": "1"})


def forgotten(sara: Person, n: int) -> Callable[[], Any]:
    return posting(people.browser(people.address(n)), "/forgot/", {"phone": sara.user.phone})


def enrolment(sara: Person, n: int) -> Callable[[], Any]:
    return visiting(people.half_logged_in(sara, people.address(n)), "/enrol/sms/")


def spoken(sara: Person, n: int) -> Callable[[], Any]:
    client: Client = people.half_logged_in(sara, people.address(n))
    return posting(client, "/login/second-factor/?method=sms", {"speak": "1"})


@pytest.mark.parametrize("ask", [login, settings_code, forgotten, enrolment, spoken])
@pytest.mark.parametrize("turn", range(3))
def test_fifty_requests_while_a_number_is_replaced_leave_no_live_code_for_the_old_one(
    ask: Callable[[Person, int], Callable[[], Any]], turn: int
) -> None:
    sara = people.newcomer() if ask is enrolment else people.with_password(people.customer())
    old, number = sara.user.phone, due_number(sara)
    works = [ask(sara, n) for n in range(FIFTY)]
    works[FIFTY // 2 : FIFTY // 2] = [scheduled_changes.apply_due]  # in the middle of them
    answers = run_concurrently(works)
    del answers[FIFTY // 2]
    count_redirects(answers, "")
    assert User.objects.get(pk=sara.user.pk).phone == number
    live = SmsCode.objects.filter(user=sara.user, expires_at__gt=timezone.now())
    to_the_new_one = [message for message in sms_collector.messages if message.to == number]
    assert live.count() <= len(to_the_new_one), "a code is live that went to the old number"
    assert {message.to for message in sms_collector.messages} <= {old, number}


def test_code_that_reached_the_old_phone_logs_nobody_in() -> None:
    sara = people.with_password(people.customer())
    client = people.half_logged_in(sara)
    code = people.live_sms_code(sara, approvals.LOGIN)
    due_number(sara)
    works: list[Callable[[], Any]] = [
        posting(
            people.clone_browser(client, people.address(n)),
            "/login/second-factor/?method=sms",
            {"code": code},
        )
        for n in range(8)
    ]
    answers = run_concurrently([scheduled_changes.apply_due, *works])[1:]
    entered = [answer for answer in answers if answer.headers.get("Location") == "/dashboard/"]
    # Whoever typed it before the number was replaced was let in, and is out again with every other session.
    assert len(entered) <= 1
    assert people.clone_browser(client).get("/dashboard/").status_code == 302
