""" "Forgotten password": two codes replace it, the rest of the account stays or stops, nothing is revealed."""

import re
import time
from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.models import AuditEvent, FactorGuard, LoginSession, Notice, SmsCode, User
from tests.support import people, sms_collector
from tests.support.anonymous import GOOD_PASSWORD as GOOD
from tests.support.anonymous import numbers
from tests.support.concurrency import count_events
from tests.support.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
FORGOT, CODES, PASSWORD = "/forgot/", "/forgot/codes/", "/forgot/password/"
RECOVERY = f"{CODES}?method=recovery"


def sara() -> Person:
    return people.with_password(people.customer())


def requested(phone: str, from_address: str = people.ADDRESS) -> Client:
    """Return a browser that entered ``phone`` into "forgotten password"."""
    client = people.browser(from_address)
    assert client.post(FORGOT, {"phone": phone})["Location"] == CODES
    return client


def sms_code() -> str:
    return sms_collector.newest("password.forgot").code


def proved(person: Person) -> Client:
    """Return a browser after both codes; the new password comes next."""
    client = requested(person.user.phone)
    response = client.post(CODES, {"sms_code": sms_code(), "totp_code": person.fresh_totp()})
    assert response["Location"] == PASSWORD
    return client


def test_both_codes_replace_the_password_and_stop_everything_else() -> None:
    person = sara()
    elsewhere, half = people.logged_in(person), people.half_logged_in(person)
    response = proved(person).post(PASSWORD, {"password": GOOD})
    assert response["Location"] == "/login/"
    user = person.reload()
    assert user.check_password(GOOD)
    assert user.in_quarantine
    assert user.has_both_factors
    assert elsewhere.get("/dashboard/")["Location"].startswith("/login/")
    assert half.get("/login/second-factor/")["Location"].startswith("/login/")
    assert not LoginSession.objects.exists()
    assert count_events(Event.PASSWORD_RESET) == 1
    assert Notice.objects.filter(user=user, event__event="password.reset").exists()


def test_reset_is_no_login_and_the_next_login_needs_both_steps() -> None:
    person = sara()
    client = proved(person)
    client.post(PASSWORD, {"password": GOOD})
    assert client.get("/dashboard/").status_code == 302
    assert not LoginSession.objects.exists()
    assert (
        client.post("/login/", {"phone": person.user.phone, "password": person.password}).status_code == 200
    )
    response = client.post("/login/", {"phone": person.user.phone, "password": GOOD})
    assert response["Location"] == "/login/second-factor/"


def test_login_page_shows_the_result() -> None:
    client = proved(sara())
    text = client.post(PASSWORD, {"password": GOOD}, follow=True).content.decode()
    assert 'data-tone="ok"' in text


def test_page_says_beforehand_that_sessions_end_and_keys_only_read() -> None:
    client = people.browser()
    client.cookies["language"] = "en"
    text = client.get(FORGOT).content.decode()
    assert "sessions end" in text
    assert "24 hours" in text


def test_recovery_code_stands_in_for_the_authenticator_once() -> None:
    person = sara()
    code = people.recovery_codes(person)[0]
    client = requested(person.user.phone)
    assert client.post(RECOVERY, {"sms_code": sms_code(), "recovery_code": code})["Location"] == PASSWORD
    used = AuditEvent.objects.get(event=Event.RECOVERY_USED.value)
    assert used.detail["left"] == 9
    assert Notice.objects.filter(event=used).exists(), "its owner is told even when no password follows"
    SmsCode.objects.all().delete()
    again = requested(person.user.phone)
    assert again.post(RECOVERY, {"sms_code": sms_code(), "recovery_code": code}).status_code == 200


def test_the_second_proof_is_switched_without_javascript() -> None:
    client = requested(sara().user.phone)
    response = client.post(CODES, {"switch": "recovery"})
    assert response["Location"] == RECOVERY
    assert 'name="recovery_code"' in client.get(RECOVERY).content.decode()
    assert client.post(RECOVERY, {"switch": "totp"})["Location"] == CODES
    assert 'name="totp_code"' in client.get(CODES).content.decode()


@pytest.mark.parametrize("wrong", ["sms_code", "totp_code", "both"])
def test_one_right_code_is_not_enough_and_is_not_used_up(wrong: str) -> None:
    person = sara()
    client = requested(person.user.phone)
    right = {"sms_code": sms_code(), "totp_code": person.totp()}
    bad = {"sms_code": f"{(int(right['sms_code']) + 1) % 10**6:06d}", "totp_code": person.wrong_totp()}
    typed = {name: bad[name] if wrong in (name, "both") else right[name] for name in right}
    assert client.post(CODES, typed).status_code == 200
    assert client.get(PASSWORD)["Location"] == CODES
    assert client.post(CODES, right)["Location"] == PASSWORD


def test_codes_of_other_purposes_are_refused() -> None:
    person = sara()
    client = requested(person.user.phone)
    code = people.live_sms_code(person, approvals.LOGIN, "135790")
    assert sms_code() != code
    assert client.post(CODES, {"sms_code": code, "totp_code": person.totp()}).status_code == 200


@pytest.mark.parametrize("kind", ["unusable password", "inactive", "no factor"])
def test_right_codes_of_an_account_without_a_password_to_replace_lead_nowhere(kind: str) -> None:
    user = User.objects.select_related("totp", "sms").get(phone=numbers()[kind])
    person = Person(user, "")
    if not user.has_phone:
        person = people.with_authenticator(person)
    client = requested(user.phone)
    code = people.live_sms_code(person, approvals.FORGOT, client=client)
    second = {"recovery_code": people.recovery_codes(person)[0]}
    assert client.post(RECOVERY, {"sms_code": code, **second}).status_code == 200
    assert client.get(PASSWORD)["Location"] == CODES


def test_wrong_pre_login_codes_do_not_lock_the_login() -> None:
    person = sara()
    client = requested(person.user.phone)
    for _n in range(8):
        client.post(CODES, {"sms_code": "000000", "totp_code": person.wrong_totp()})
    guard = FactorGuard.objects.get(user=person.user)
    assert len(guard.outside_failures) == 5
    assert guard.failures == []


def test_an_account_that_is_locked_for_good_gets_a_new_password() -> None:
    """A hundred failures in a row lock the codes of a login, but cannot lock "forgotten password"."""
    person = sara()
    FactorGuard.objects.update_or_create(user=person.user, defaults={"in_a_row": 100})
    assert proved(person).post(PASSWORD, {"password": GOOD})["Location"] == "/login/"
    assert person.reload().check_password(GOOD)


def test_proof_is_over_after_fifteen_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    person = sara()
    client = proved(person)
    now = time.time()
    monkeypatch.setattr("accounts.registration.flow.time.time", lambda: now + 15 * 60 + 1)
    assert client.post(PASSWORD, {"password": GOOD})["Location"] == CODES
    assert person.reload().check_password(person.password)


def test_proof_is_over_once_the_password_was_replaced() -> None:
    person = sara()
    first = proved(person)
    second = people.clone_browser(first)
    first.post(PASSWORD, {"password": GOOD})
    assert second.post(PASSWORD, {"password": "another " + GOOD}).status_code == 302
    assert person.reload().check_password(GOOD)
    assert count_events(Event.PASSWORD_RESET) == 1


def test_proof_of_another_browser_is_over_as_well() -> None:
    person = sara()
    first = proved(person)
    SmsCode.objects.all().delete()
    second = proved(person)
    first.post(PASSWORD, {"password": GOOD})
    assert second.post(PASSWORD, {"password": "another " + GOOD})["Location"] == CODES
    assert person.reload().check_password(GOOD)


def test_refused_password_names_the_reason_and_keeps_the_old_one() -> None:
    person = sara()
    client = proved(person)
    text = client.post(PASSWORD, {"password": f"x{person.user.phone[3:]}x"}).content.decode()
    assert 'id="password-error"' in text
    assert person.user.phone[3:] not in re.sub(r'name="username" value="[^"]+"', "", text)
    assert person.reload().check_password(person.password)
    assert client.post(PASSWORD, {"password": GOOD})["Location"] == "/login/"


@pytest.mark.parametrize("path", [CODES, PASSWORD])
@pytest.mark.parametrize("method", ["get", "post"])
def test_later_steps_redirect_without_the_first_step(path: str, method: str) -> None:
    def visit() -> HttpResponse:
        return getattr(client, method)(path, {"password": GOOD, "sms_code": "1"})  # type: ignore[no-any-return]

    client = people.browser()
    assert visit()["Location"] in (FORGOT, CODES)
    asked_only = requested(sara().user.phone)
    assert asked_only.get(PASSWORD)["Location"] == CODES


def test_number_expires_and_is_requested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = requested(sara().user.phone)
    now = time.time()
    monkeypatch.setattr("accounts.registration.flow.time.time", lambda: now + 15 * 60 + 1)
    assert client.get(CODES)["Location"] == FORGOT


def test_resend_waits_a_minute_and_sends_one_more() -> None:
    person = sara()
    client = requested(person.user.phone)
    client.post(CODES, {"resend": "1"})
    assert len(sms_collector.messages) == 1
    session = client.session
    session["forgot"] = {**session["forgot"], "asked": 0}
    session.save()
    SmsCode.objects.update(sent_at=timezone.now() - timedelta(minutes=2))
    assert client.post(RECOVERY, {"resend": "1"})["Location"] == RECOVERY
    assert len(sms_collector.messages) == 2


def test_customer_gets_the_message_in_their_own_language() -> None:
    person = sara()
    User.objects.filter(pk=person.user.pk).update(language="en")
    requested(person.user.phone)
    assert "Do not share it with anyone" in sms_collector.newest().text


def test_one_address_asks_for_thirty_numbers_an_hour() -> None:
    statuses = [people.browser().post(FORGOT, {"phone": people.next_phone()}).status_code for _n in range(31)]
    assert statuses == [302] * 30 + [429]


def test_codes_and_passwords_are_in_no_session() -> None:
    person = sara()
    client = proved(person)
    client.post(PASSWORD, {"password": "12345678"})
    kept = str(dict(client.session))
    assert sms_code() not in kept
    assert "12345678" not in kept
    assert person.reload().password not in kept
