"""A message in work while the page is answered: what the page says, and what is left when it fails."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import BoundedSemaphore
from typing import Any

import pytest

from accounts.choices import approvals
from accounts.factors import sms_codes
from accounts.factors.sms_codes import SendStatus
from accounts.models import AuditEvent, SmsCode, SmsDelivery
from hitobit_portal import background
from tests.support import people, sms_collector
from tests.support.people import Person, customer, half_logged_in, request_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
PAGE = "/login/second-factor/?method=sms"


class HungProvider:
    """Stands in for the pool: what is handed over waits until `answer`."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def submit(self, work: Callable[..., object], *arguments: object) -> Future[object]:
        future: Future[object] = Future()
        self.waiting.append(lambda: future.set_result(work(*arguments)))
        return future

    def answer(self) -> None:
        self.waiting.pop(0)()


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> HungProvider:
    provider = HungProvider()
    monkeypatch.setattr(background, "_codes_pool", provider)
    monkeypatch.setattr(sms_codes, "ANSWER_SECONDS", 0)
    return provider


@pytest.fixture
def sara() -> Person:
    return people.with_password(customer(name="Sara"))


def test_page_is_answered_while_the_provider_hangs_and_says_what_is_known(
    hung: HungProvider, sara: Person
) -> None:
    client = half_logged_in(sara)
    client.cookies["language"] = client.cookies["__Host-language"] = "en"
    assert client.get(PAGE).headers["SMS-State"] == "none"
    client.post(PAGE, {"resend": "1"})
    assert sms_collector.messages == []
    page = client.get(PAGE)
    assert page.headers["SMS-State"] == "sending"
    assert "The SMS is being sent." in page.content.decode()
    assert client.head(PAGE).headers["SMS-State"] == "sending"
    hung.answer()
    page = client.get(PAGE)
    assert page.headers["SMS-State"] == "sent"
    assert "The SMS provider has accepted the message." in page.content.decode()
    client.post(PAGE, {"code": sms_collector.newest().code})
    assert client.get("/dashboard/").status_code == 200


def test_message_that_fails_later_is_said_and_voids_its_code(hung: HungProvider, sara: Person) -> None:
    client = half_logged_in(sara)
    client.cookies["language"] = client.cookies["__Host-language"] = "en"
    client.post(PAGE, {"resend": "1"})
    sms_collector.failing = True
    hung.answer()
    page = client.get(PAGE)
    assert page.headers["SMS-State"] == "failed"
    assert "The SMS was not sent." in page.content.decode()
    assert "data-countdown" not in page.content.decode(), "the next one may be requested at once"
    assert SmsCode.objects.get().digest == ""
    sms_collector.failing = False
    client.post(PAGE, {"resend": "1"})
    hung.answer()
    assert client.get(PAGE).headers["SMS-State"] == "sent"


def test_code_is_in_the_memory_of_the_process_alone(hung: HungProvider, sara: Person) -> None:
    sms_codes.send_code(request_of(sara), sara.user, approvals.LOGIN)
    rows: list[Any] = [*SmsCode.objects.values()]
    hung.answer()
    rows += [*SmsCode.objects.values(), *SmsDelivery.objects.values(), *AuditEvent.objects.values()]
    code = sms_collector.newest().code
    assert len(rows) > 3
    assert not [value for row in rows for value in row.values() if str(value) == code]
    # In a longer text the six digits may stand by chance, in a digest; "123456 " may not.
    assert not [value for row in rows for value in row.values() if code in str(value).split()]


def test_message_that_waited_too_long_is_not_sent(
    hung: HungProvider, sara: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one may have been requested meanwhile: this code would be void."""
    assert sms_codes.send_code(request_of(sara), sara.user, approvals.LOGIN).state is SendStatus.SENDING
    monkeypatch.setattr(sms_codes, "RESEND_AFTER", -sms_codes.RESEND_AFTER)
    hung.answer()
    assert sms_collector.messages == []
    assert SmsCode.objects.get().delivery == SmsCode.Delivery.FAILED


def test_full_queue_is_a_failure_that_is_said(monkeypatch: pytest.MonkeyPatch, sara: Person) -> None:
    full = BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(background, "_codes_free", full)
    assert sms_codes.send_code(request_of(sara), sara.user, approvals.LOGIN).state is SendStatus.FAILED
    assert SmsCode.objects.get().delivery == SmsCode.Delivery.FAILED


def test_messages_of_visitors_do_not_wait_in_front_of_those_of_customers(
    hung: HungProvider, sara: Person
) -> None:
    """SECURITY: a slow provider and a flood of sign-ups would make the codes of customers too late to be sent."""
    for _n in range(3):
        people.browser().post("/signup/", {"phone": people.next_phone()})
    people.browser().post("/forgot/", {"phone": sara.user.phone})
    assert {message.purpose for message in sms_collector.messages} == {
        "account.sign_up",
        "password.forgot",
    }
    assert hung.waiting == []
    half_logged_in(sara).post(PAGE, {"resend": "1"})
    assert len(hung.waiting) == 1
