"""Sign-up: one account for each number, by its owner only, without revealing who has an account."""

import json
import re
import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import FactorGuard, Invitation, SmsCode, User
from hitobit_portal.security.ratelimits import Rate
from tests.support import people, sms_collector
from tests.support.anonymous import GOOD_PASSWORD as GOOD
from tests.support.concurrency import count_events
from tests.support.people import Person

SIGNUP, CODE, PASSWORD = "/signup/", "/signup/code/", "/signup/password/"
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]


def requested(phone: str, from_address: str = people.ADDRESS) -> Client:
    """Return a browser that entered ``phone`` into sign-up."""
    client = people.browser(from_address)
    response = client.post(SIGNUP, {"phone": phone})
    assert response["Location"] == CODE
    return client


def confirmed(phone: str = "") -> Client:
    """Return a browser that also entered the SMS code; the password comes next."""
    client = requested(phone or people.next_phone())
    response = client.post(CODE, {"code": sms_collector.newest("account.sign_up").code})
    assert response["Location"] == PASSWORD
    return client


def test_new_customer_signs_up_and_goes_on_with_the_authenticator() -> None:
    phone = people.next_phone()
    client = confirmed(phone)
    response = client.post(PASSWORD, {"password": GOOD})
    assert response["Location"] == "/enrol/totp/"
    user = User.objects.get(phone=phone)
    assert user.check_password(GOOD)
    assert user.is_active
    assert user.joined_at
    assert user.has_phone
    seed = client.get("/enrol/totp/").context["secret"]
    response = client.post("/enrol/totp/", {"code": Person(user, "", seed).totp()})
    assert response["Location"] == "/enrol/recovery-codes/"
    client.get("/enrol/recovery-codes/")
    assert client.post("/enrol/recovery-codes/")["Location"] == "/dashboard/"
    assert client.get("/dashboard/").status_code == 200
    assert count_events(Event.SIGNED_UP) == count_events(Event.PHONE_CONFIRMED) == 1


def test_owner_of_an_existing_account_is_notified_and_no_code_is_sent() -> None:
    sara = people.customer()
    client = requested(sara.user.phone)
    [message] = sms_collector.messages
    assert message.to == sara.user.phone
    assert message.code == ""
    assert not re.search(r"\d{4}", message.text)
    stored = SmsCode.objects.get(user=sara.user)
    assert stored.purpose == "account.sign_up"
    requested(sara.user.phone)
    client.post(CODE, {"resend": "1"})
    assert len(sms_collector.messages) == 1, "the gap of a minute holds for this message, too"


def test_even_the_right_code_opens_no_second_account_for_a_taken_number() -> None:
    sara = people.with_password(people.customer())
    client = requested(sara.user.phone)
    code = people.live_sms_code(sara, approvals.SIGN_UP, client=client)
    assert client.post(CODE, {"code": code}).status_code == 200
    assert client.get(PASSWORD)["Location"] == CODE
    client.post(PASSWORD, {"password": GOOD})
    assert sara.reload().check_password(sara.password)


def test_wrong_pre_login_codes_do_not_lock_the_login() -> None:
    sara = people.customer()
    client = requested(sara.user.phone)
    for n in range(8):
        client.post(CODE, {"code": f"{n:06d}"})
    guard = FactorGuard.objects.get(user=sara.user)
    assert len(guard.outside_failures) == 5
    assert guard.failures == []
    response = people.half_logged_in(sara).post("/login/second-factor/?method=totp", {"code": sara.totp()})
    assert response["Location"] == "/dashboard/"


def test_unauthenticated_requests_leave_the_owner_half_of_the_daily_messages() -> None:
    phone = people.next_phone()
    for n in range(12):
        requested(phone, people.address(n))
        SmsCode.objects.all().delete()  # as if the minute had passed
    assert len(sms_collector.messages) == Rate.SMS_OUTSIDE_PHONE.value.count


def test_a_failed_sms_can_be_requested_again_without_revealing_the_account() -> None:
    sms_collector.failing = True
    phone = people.next_phone()
    client = requested(phone)
    sms_collector.failing = False
    assert SmsCode.objects.get().digest == "", "what was not sent is no code"
    session = client.session
    session["sign_up"] = {**session["sign_up"], "asked": 0}
    session.save()
    client.post(CODE, {"resend": "1"})
    assert sms_collector.newest().to == phone


def test_one_address_asks_for_thirty_numbers_an_hour() -> None:
    statuses = [people.browser().post(SIGNUP, {"phone": people.next_phone()}).status_code for _n in range(31)]
    assert statuses == [302] * 30 + [429]


def test_typed_number_is_kept_when_it_is_none() -> None:
    response = people.browser().post(SIGNUP, {"phone": "0912"})
    assert response.status_code == 200
    assert 'value="0912"' in response.content.decode()
    assert not User.objects.exists()


@pytest.mark.parametrize("path", [CODE, PASSWORD])
@pytest.mark.parametrize("method", ["get", "post"])
def test_later_steps_redirect_without_the_first_step(path: str, method: str) -> None:
    response = getattr(people.browser(), method)(path, {"code": "123456", "password": GOOD})
    assert response["Location"] == SIGNUP


def test_password_step_needs_the_code() -> None:
    phone = people.next_phone()
    client = requested(phone)
    assert client.post(PASSWORD, {"password": GOOD})["Location"] == CODE
    assert not User.objects.exclude(joined_at=None).exists()


def test_proof_of_the_code_ends_after_fifteen_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    client = confirmed()
    now = time.time()
    monkeypatch.setattr("accounts.registration.flow.time.time", lambda: now + 15 * 60 + 1)
    assert client.post(PASSWORD, {"password": GOOD})["Location"] == SIGNUP
    assert not User.objects.exclude(joined_at=None).exists()


def test_proof_ends_when_the_account_exists() -> None:
    phone = people.next_phone()
    first = confirmed(phone)
    SmsCode.objects.all().delete()
    second = confirmed(phone)
    assert first.post(PASSWORD, {"password": GOOD})["Location"] == "/enrol/totp/"
    assert second.post(PASSWORD, {"password": "another " + GOOD})["Location"] == CODE
    assert User.objects.get(phone=phone).check_password(GOOD)


def test_session_id_changes_with_the_code_and_with_the_account() -> None:
    client = requested(people.next_phone())
    ids = [client.session.session_key]
    client.post(CODE, {"code": sms_collector.newest().code})
    ids.append(client.session.session_key)
    client.post(PASSWORD, {"password": GOOD})
    ids.append(client.session.session_key)
    assert len(set(ids)) == 3


def test_code_and_password_are_in_no_session() -> None:
    client = requested(people.next_phone())
    code = sms_collector.newest().code
    client.post(CODE, {"code": code})
    client.post(PASSWORD, {"password": "12345678"})
    kept = json.dumps(dict(client.session))
    assert code not in kept
    assert "12345678" not in kept


def test_refused_password_names_the_reason_and_is_not_shown_again() -> None:
    client = confirmed()
    text = client.post(PASSWORD, {"password": "qwertyuiop"}).content.decode()
    assert "qwertyuiop" not in text
    assert 'id="password-error"' in text
    assert re.search(r'<meter[^>]* value="0"', text)


class TestClosed:
    @pytest.fixture(autouse=True)
    def _closed(self, settings: Any) -> None:
        settings.SIGNUP = "closed"

    @pytest.mark.parametrize("path", [SIGNUP, f"{SIGNUP}invited/1:a:b/"])
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_closed_sign_up_says_so_and_has_no_form(self, path: str, method: str) -> None:
        response = getattr(people.browser(), method)(path, {"phone": people.next_phone()})
        assert response.status_code == 403
        assert 'name="phone"' not in response.content.decode()
        assert not User.objects.exists()

    def test_login_page_has_no_link_to_it(self) -> None:
        assert SIGNUP not in people.browser().get("/login/").content.decode()

    def test_half_finished_sign_up_is_closed(self, settings: Any) -> None:
        settings.SIGNUP = "open"
        client = confirmed()
        settings.SIGNUP = "closed"
        assert client.post(PASSWORD, {"password": GOOD}).status_code == 403
        assert not User.objects.exclude(joined_at=None).exists()

    def test_invitation_is_refused(self) -> None:
        with pytest.raises(CommandError, match="closed"):
            call_command("invite", people.next_phone())
        assert not Invitation.objects.exists()


def test_login_page_links_to_open_sign_up_and_forgotten_password() -> None:
    text = people.browser().get("/login/").content.decode()
    assert 'href="/signup/"' in text
    assert 'href="/forgot/"' in text


def test_message_to_the_owner_leaves_no_code_that_could_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.factors.sms_codes.secrets.randbelow", lambda _most: 0)
    sara = people.customer()
    client = requested(sara.user.phone)
    request = people._request()
    request.session, request.client_address = client.session, people.ADDRESS  # type: ignore[attr-defined]
    result = verification.verify(request, sara.user, approvals.SIGN_UP, {verification.Factor.SMS: "000000"})
    assert result.outcome is verification.VerificationOutcome.REFUSED
