"""Sign-up and "forgotten password" do not reveal whether a number has an account, by content or by work."""

from functools import partial
from typing import Any

import pytest

from accounts.choices.events import Event
from accounts.models import User
from hitobit_portal import background
from tests.accounts.registration.test_password_reset import CODES, FORGOT, PASSWORD, RECOVERY, requested
from tests.accounts.registration.test_signup import CODE as SIGNUP_CODE
from tests.accounts.registration.test_signup import SIGNUP
from tests.accounts.registration.test_signup import requested as signing_up
from tests.support import people, sms_collector
from tests.support.anonymous import executed_statements, numbers, visible_response
from tests.support.concurrency import count_events

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]


def test_sign_up_gives_every_number_the_same_answers_and_the_same_work() -> None:
    result: dict[str, Any] = {}
    for n, (kind, phone) in enumerate(numbers().items()):
        client = people.browser(people.address(n))
        steps = [
            visible_response(client.post(SIGNUP, {"phone": phone})),
            visible_response(client.get(SIGNUP_CODE)),
        ]
        steps += [visible_response(client.post(SIGNUP_CODE, {"code": f"{m:06d}"})) for m in range(3)]
        result[kind] = (steps, executed_statements(partial(client.post, SIGNUP_CODE, {"code": "000003"})))
    for kind, what in result.items():
        assert what == result["free"], kind


def test_sign_up_has_one_sentence_for_locked_and_refused() -> None:
    text = set()
    for n, phone in enumerate(numbers().values()):
        client = signing_up(phone, people.address(n))
        text |= {visible_response(client.post(SIGNUP_CODE, {"code": f"{m:06d}"}))[3] for m in range(8)}
    assert len(text) == 1
    assert count_events(Event.CODE_LOCKED) == 6


def test_forgotten_password_gives_every_number_the_same_answers_and_the_same_work() -> None:
    result: dict[str, Any] = {}
    for n, (kind, phone) in enumerate(numbers().items()):
        client = people.browser(people.address(n))
        steps = [
            visible_response(client.post(FORGOT, {"phone": phone})),
            visible_response(client.get(CODES)),
            visible_response(client.get(RECOVERY)),
        ]
        wrong = {"sms_code": "000000", "totp_code": "000000", "recovery_code": "aaaa-aaaa"}
        steps += [
            visible_response(client.post(CODES, wrong)),
            visible_response(client.post(RECOVERY, wrong)),
            visible_response(client.get(PASSWORD)),
        ]
        done = [executed_statements(partial(client.post, path, wrong)) for path in (CODES, RECOVERY)]
        result[kind] = (steps, done)
    for kind, what in result.items():
        assert what == result["free"], kind
    assert [message.to for message in sms_collector.messages] == [
        User.objects.exclude(password__startswith="!").get(is_active=True, sms__isnull=False).phone
    ]


def test_forgotten_password_has_one_sentence_for_locked_and_refused() -> None:
    text = set()
    for n, phone in enumerate(numbers().values()):
        client = requested(phone, people.address(n))
        wrong = {"sms_code": "000000", "totp_code": "000000"}
        text |= {visible_response(client.post(CODES, wrong))[3] for _m in range(8)}
    assert len(text) == 1


def test_typing_the_number_is_the_same_work_for_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without background tasks, which run outside of the response time."""
    monkeypatch.setattr(background.tasks, "submit", lambda *_arguments: True)
    result = {}
    for n, (kind, phone) in enumerate(numbers().items()):
        client = people.browser(people.address(n))
        result[kind] = [
            executed_statements(partial(client.post, path, {"phone": phone})) for path in (FORGOT, SIGNUP)
        ]
    for kind, done in result.items():
        assert done == result["free"], kind
        assert not [statement for statement in done[0] + done[1] if "accounts_" in statement]


def test_what_happens_later_begins_when_the_answer_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running beside the response, it would delay responses for known numbers."""
    done: list[str] = []
    monkeypatch.setattr(background.tasks, "delay", 3600.0)
    monkeypatch.setattr(
        "hitobit_portal.background.time.sleep",
        lambda seconds: done.append(f"slept {round(seconds / 60)} min"),
    )
    background.tasks.submit(done.append, "worked")
    assert done == ["slept 60 min", "worked"]


def test_what_waited_in_line_long_enough_begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(background.tasks, "delay", -3600.0)
    monkeypatch.setattr("hitobit_portal.background.time.sleep", slept.append)
    background.tasks.submit(slept.append, 1.0)
    assert slept == [0.0, 1.0]
