"""Sign-up and forgotten password tell strangers nothing about whose a number is: not by bytes, not by work."""

from functools import partial
from typing import Any

import pytest

from accounts.choices.events import Event
from accounts.models import User
from hitobit_portal import background
from tests.accounts.registration.test_password_reset import CODES, FORGOT, PASSWORD, RECOVERY, asked
from tests.accounts.registration.test_signup import CODE as SIGNUP_CODE
from tests.accounts.registration.test_signup import SIGNUP
from tests.accounts.registration.test_signup import asked as signing_up
from tests.support import people, sms_collector
from tests.support.anonymous import numbers, seen, work
from tests.support.concurrency import happened

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _phone(settings: Any) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    sms_collector.reset()


def test_sign_up_gives_every_number_the_same_answers_and_the_same_work() -> None:
    found: dict[str, Any] = {}
    for n, (kind, phone) in enumerate(numbers().items()):
        client = people.browser(people.address(n))
        steps = [seen(client.post(SIGNUP, {"phone": phone})), seen(client.get(SIGNUP_CODE))]
        steps += [seen(client.post(SIGNUP_CODE, {"code": f"{m:06d}"})) for m in range(3)]
        found[kind] = (steps, work(partial(client.post, SIGNUP_CODE, {"code": "000003"})))
    for kind, what in found.items():
        assert what == found["free"], kind


def test_sign_up_has_one_sentence_for_locked_and_refused() -> None:
    said = set()
    for n, phone in enumerate(numbers().values()):
        client = signing_up(phone, people.address(n))
        said |= {seen(client.post(SIGNUP_CODE, {"code": f"{m:06d}"}))[3] for m in range(8)}
    assert len(said) == 1
    assert happened(Event.CODE_LOCKED) == 6


def test_forgotten_password_gives_every_number_the_same_answers_and_the_same_work() -> None:
    found: dict[str, Any] = {}
    for n, (kind, phone) in enumerate(numbers().items()):
        client = people.browser(people.address(n))
        steps = [
            seen(client.post(FORGOT, {"phone": phone})),
            seen(client.get(CODES)),
            seen(client.get(RECOVERY)),
        ]
        wrong = {"sms_code": "000000", "totp_code": "000000", "recovery_code": "aaaa-aaaa"}
        steps += [
            seen(client.post(CODES, wrong)),
            seen(client.post(RECOVERY, wrong)),
            seen(client.get(PASSWORD)),
        ]
        done = [work(partial(client.post, path, wrong)) for path in (CODES, RECOVERY)]
        found[kind] = (steps, done)
    for kind, what in found.items():
        assert what == found["free"], kind
    assert [message.to for message in sms_collector.messages] == [
        User.objects.exclude(password__startswith="!").get(is_active=True, sms__isnull=False).phone
    ]


def test_forgotten_password_has_one_sentence_for_locked_and_refused() -> None:
    said = set()
    for n, phone in enumerate(numbers().values()):
        client = asked(phone, people.address(n))
        wrong = {"sms_code": "000000", "totp_code": "000000"}
        said |= {seen(client.post(CODES, wrong))[3] for _m in range(8)}
    assert len(said) == 1


def test_typing_the_number_is_the_same_work_for_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less what happens later, outside of the answer's time."""
    monkeypatch.setattr("accounts.registration.flow.background.run", lambda *_arguments: True)
    found = {}
    for n, (kind, phone) in enumerate(numbers().items()):
        client = people.browser(people.address(n))
        found[kind] = [work(partial(client.post, path, {"phone": phone})) for path in (FORGOT, SIGNUP)]
    for kind, done in found.items():
        assert done == found["free"], kind
        assert not [statement for statement in done[0] + done[1] if "accounts_" in statement]


def test_what_happens_later_begins_when_the_answer_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the answer it would take turns with it, and known numbers be answered later than unknown ones."""
    done: list[str] = []
    monkeypatch.setattr(background, "DELAY", 3600.0)
    monkeypatch.setattr(
        "hitobit_portal.background.time.sleep",
        lambda seconds: done.append(f"slept {round(seconds / 60)} min"),
    )
    background.run(done.append, "worked")
    assert done == ["slept 60 min", "worked"]


def test_what_waited_in_line_long_enough_begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(background, "DELAY", -3600.0)
    monkeypatch.setattr("hitobit_portal.background.time.sleep", slept.append)
    background.run(slept.append, 1.0)
    assert slept == [0.0, 1.0]
