"""A login is completed only by proofs of the same login: codes, seeds and factors of other logins do not count."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts import audit
from accounts.access import logins, sessions
from accounts.choices import approvals
from accounts.choices.approvals import Approval
from accounts.choices.events import Event
from accounts.factors import recovery_codes, sms_codes, verification
from accounts.factors.verification import Factor, VerificationOutcome
from accounts.models import LoginSession, Notice, RecoveryCode, SmsCode, SmsDevice, TotpDevice, User
from tests.support import people, sms_collector
from tests.support.anonymous import GOOD_PASSWORD
from tests.support.concurrency import count_events, failure_counts
from tests.support.people import Person

pytestmark = pytest.mark.django_db
SECOND, TOTP, RECOVERY = "/login/second-factor/", "/enrol/totp/", "/enrol/recovery-codes/"
REPLACE = "/enrol/totp/replace/"


@pytest.fixture(autouse=True)
def _phone(settings: Any) -> None:
    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    settings.EMAIL = True
    sms_collector.reset()


def a_minute_passes() -> None:
    SmsCode.objects.update(sent_at=timezone.now() - timedelta(seconds=61))


def after_sms(person: Person) -> Client:
    """Return a half-finished login in which the code of its own SMS was entered."""
    client = people.half_logged_in(person)
    a_minute_passes()
    client.post(SECOND, {"switch": "sms"})
    code = sms_collector.newest("login").code
    assert client.post(f"{SECOND}?method=sms", {"code": code}).status_code == 302
    return client


def seed_of(client: Client, path: str = TOTP) -> str:
    return str(client.get(path).context["secret"])


def leads_to_login(response: Any) -> bool:
    return bool(response.status_code == 302 and response["Location"].startswith("/login/?"))


def test_half_finished_login_takes_no_fresh_enrolment_over() -> None:
    """A thief has the password and an SMS code; the owner enrols at the same time, and first."""
    nima = people.half_enrolled()
    thief, owner = after_sms(nima), after_sms(nima)
    shown, seed = seed_of(thief), seed_of(owner)
    assert shown != seed
    enrolled = Person(nima.user, "", seed)
    assert owner.post(TOTP, {"code": enrolled.totp()})["Location"] == RECOVERY
    codes = owner.get(RECOVERY).context["codes"]
    for path, fields in ((TOTP, {}), (RECOVERY, {"renew": "1"}), (RECOVERY, {}), ("/dashboard/", {})):
        assert leads_to_login(people.clone_browser(thief).get(path))
        assert leads_to_login(people.clone_browser(thief).post(path, fields))
    assert owner.post(RECOVERY)["Location"] == "/dashboard/"
    assert owner.get("/dashboard/").status_code == 200
    assert count_events(Event.LOGIN) == 1
    later = people.half_logged_in(nima)
    assert later.post(f"{SECOND}?method=recovery", {"code": codes[0]})["Location"] == "/dashboard/"


def test_seed_that_another_login_has_seen_confirms_nothing() -> None:
    nima = people.half_enrolled()
    thief, owner = after_sms(nima), after_sms(nima)
    theirs = Person(nima.user, "", seed_of(thief))
    assert owner.post(TOTP, {"code": theirs.totp()}).status_code == 200
    assert not nima.reload().has_authenticator


def test_factor_that_came_from_elsewhere_has_to_be_proved_in_this_login() -> None:
    """Even if this did not end the other half-finished login."""
    client = after_sms(nima := people.half_enrolled())
    nima = people.with_authenticator(nima)
    for path in (TOTP, RECOVERY, "/dashboard/"):
        assert client.get(path)["Location"] == SECOND
    assert client.post(RECOVERY, {"renew": "1"})["Location"] == SECOND
    assert client.get(SECOND).context["methods"] == ["totp"], "the SMS was proved already"
    assert client.post(SECOND, {"code": nima.totp()})["Location"] == "/dashboard/"


def test_finishing_requires_the_proofs_of_this_login() -> None:
    nima = people.with_authenticator(people.half_enrolled())
    client = people.proved_in(nima, "sms")
    assert client.post(RECOVERY)["Location"] == SECOND
    assert people.proved_in(nima, "sms", "totp").post(RECOVERY)["Location"] == "/dashboard/"


def test_confirming_a_phone_ends_the_other_half_finished_logins_and_no_more() -> None:
    nima = people.newcomer()
    thief, owner = people.half_logged_in(nima), people.half_logged_in(nima)
    owner.get("/enrol/sms/")
    code = sms_collector.newest("enrol.sms").code
    assert owner.post("/enrol/sms/", {"code": code})["Location"] == TOTP
    assert leads_to_login(thief.get("/enrol/sms/"))
    assert owner.get(TOTP).status_code == 200


def test_half_finished_login_of_the_version_before_begins_again() -> None:
    client = people.half_logged_in(people.customer())
    state = client.session["pending_login"]
    del state["nonce"], state["needs"]
    people.set_session(client, pending_login=state)
    assert leads_to_login(client.get(SECOND))


# SMS codes are valid only in the login that requested them.


def test_login_code_is_valid_only_in_the_requesting_login() -> None:
    sara = people.customer()
    asking, other = people.half_logged_in(sara), people.half_logged_in(sara)
    asking.post(SECOND, {"switch": "sms"})
    code = sms_collector.newest("login").code
    assert other.post(f"{SECOND}?method=sms", {"code": code}).status_code == 200
    assert other.get("/dashboard/").status_code == 302
    assert asking.post(f"{SECOND}?method=sms", {"code": code})["Location"] == "/dashboard/"


def test_enrolment_code_is_valid_only_in_the_requesting_login() -> None:
    nima = people.newcomer()
    asking, other = people.half_logged_in(nima), people.half_logged_in(nima)
    asking.get("/enrol/sms/")
    code = sms_collector.newest("enrol.sms").code
    assert other.post("/enrol/sms/", {"code": code}).status_code == 200
    assert not nima.reload().has_phone


def test_second_login_that_requests_too_early_gets_an_explanation() -> None:
    nima = people.newcomer()
    people.half_logged_in(nima).get("/enrol/sms/")
    other = people.half_logged_in(nima)
    other.cookies["language"] = other.cookies["__Host-language"] = "en"
    text = other.get("/enrol/sms/").content.decode()
    assert "works only there" in text
    assert 'name="code"' not in text, "there is no code to be typed here"
    assert len(sms_collector.messages) == 1
    a_minute_passes()
    other.get("/enrol/sms/")
    code = sms_collector.newest("enrol.sms").code
    assert other.post("/enrol/sms/", {"code": code})["Location"] == TOTP


def forgetful(sara: Person) -> Client:
    client = people.browser()
    client.post("/forgot/", {"phone": sara.user.phone})
    return client


def test_password_reset_code_is_valid_only_in_the_requesting_browser() -> None:
    sara = people.with_password(people.customer())
    asking, other = forgetful(sara), forgetful(sara)
    codes = {"sms_code": sms_collector.newest("password.forgot").code, "totp_code": sara.totp()}
    assert other.post("/forgot/codes/", codes).status_code == 200
    assert asking.post("/forgot/codes/", codes)["Location"] == "/forgot/password/"
    assert other.get("/forgot/password/")["Location"] == "/forgot/codes/"


def test_sign_up_code_is_valid_only_in_the_requesting_browser() -> None:
    phone = people.next_phone()
    asking, other = people.browser(), people.browser()
    for client in (asking, other):
        client.post("/signup/", {"phone": phone})
    code = {"code": sms_collector.newest("account.sign_up").code}
    assert other.post("/signup/code/", code).status_code == 200
    assert asking.post("/signup/code/", code)["Location"] == "/signup/password/"


APPROVED = {
    "/settings/password/": approvals.CHANGE_PASSWORD,
    "/settings/totp/": approvals.CHANGE_TOTP,
    "/settings/recovery-codes/": approvals.RENEW_RECOVERY,
    "/thaw/": approvals.THAW,
    "/quarantine/": approvals.LIFT_QUARANTINE,
}


@pytest.mark.parametrize("path", APPROVED)
def test_codes_of_one_session_approve_nothing_in_another(path: str) -> None:
    sara = people.customer()
    until = timezone.now() + timedelta(hours=1)
    User.objects.filter(pk=sara.user.pk).update(frozen_at=timezone.now(), quarantined_until=until)
    asking, other = people.logged_in(sara), people.logged_in(sara)
    asking.post(path, {"resend": "1"})
    sms = sms_collector.newest(APPROVED[path].purpose.value).code
    assert other.post(path, {"sms_code": sms, "totp_code": sara.fresh_totp()}).status_code == 200
    assert asking.post(path, {"sms_code": sms, "totp_code": sara.fresh_totp()}).status_code == 302


@pytest.mark.parametrize("purpose", [each for each in approvals.Purpose if each not in approvals.OUTSIDE])
def test_code_for_any_purpose_is_valid_only_in_the_requesting_login(purpose: approvals.Purpose) -> None:
    """For every purpose: the login is taken from the request, so no purpose can omit it."""
    sara = people.customer()
    approval = Approval(purpose, {}, {})
    code = {Factor.SMS: people.live_sms_code(sara, approval, client=people.logged_in(sara))}
    other = people.request_of(sara)
    assert verification.verify(other, sara.user, approval, code).outcome is VerificationOutcome.REFUSED
    asking = people.request_of(sara)
    asking.session[logins.LOGIN_SESSION] = people.nonce_of(sara, purpose)
    assert verification.verify(asking, sara.user, approval, code).accepted


# Setting up another authenticator.


def test_thief_with_a_recovery_code_never_sees_the_seed_that_the_owner_sets_up() -> None:
    sara = people.customer()
    thief, owner = people.half_logged_in(sara), people.logged_in(sara)
    lost = {"code": people.recovery_codes(sara)[0], "lost": "1"}
    assert thief.post(f"{SECOND}?method=recovery", lost)["Location"] == REPLACE
    owner.post("/settings/totp/", {"resend": "1"})
    owner.post("/settings/totp/", people.both_codes(sara, "totp.change"))
    seed = seed_of(owner, "/settings/totp/new/")
    assert seed_of(thief, REPLACE) != seed
    new = Person(sara.user, "", seed)
    assert owner.post("/settings/totp/new/", {"code": new.totp()})["Location"] == "/settings/"
    assert leads_to_login(thief.get(REPLACE))
    assert leads_to_login(thief.post(REPLACE, {"code": new.fresh_totp()}))


def test_two_proofs_in_two_sessions_set_up_two_seeds() -> None:
    sara = people.customer()
    seeds = []
    for client in (people.logged_in(sara), people.logged_in(sara)):
        a_minute_passes()
        client.post("/settings/totp/", {"resend": "1"})
        client.post("/settings/totp/", people.both_codes(sara, "totp.change"))
        seeds.append(seed_of(client, "/settings/totp/new/"))
    assert len(set(seeds)) == 2


def test_first_authenticator_that_was_confirmed_meanwhile_is_not_confirmed_again() -> None:
    nima = people.with_authenticator(people.half_enrolled())
    seed = TotpDevice.objects.get().seed_sealed
    mine = Person(nima.user, "", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    result = verification.verify(
        people.request_of(nima),
        nima.user,
        approvals.ENROL_TOTP,
        {Factor.TOTP: mine.totp()},
        effect=lambda: pytest.fail("confirmed"),
        seed=mine.seed,
    )
    assert result.outcome is VerificationOutcome.REFUSED
    assert TotpDevice.objects.get().seed_sealed == seed


# New recovery codes send a notice.


def notified(event: Event) -> list[str]:
    return list(Notice.objects.filter(event__event=event.value).values_list("to", flat=True))


def test_renewing_recovery_codes_in_enrolment_always_notifies() -> None:
    nima = people.with_authenticator(people.half_enrolled())
    client = people.proved_in(nima, "sms", "totp")
    client.get(RECOVERY)
    assert not notified(Event.RECOVERY_RENEWED)
    client.post(RECOVERY, {"renew": "1"})
    assert notified(Event.RECOVERY_RENEWED) == [nima.user.phone]


def test_renewing_recovery_codes_in_the_settings_notifies() -> None:
    sara = people.customer()
    people.recovery_codes(sara)
    client = people.logged_in(sara)
    client.post("/settings/recovery-codes/", {"resend": "1"})
    client.post("/settings/recovery-codes/", people.both_codes(sara, "recovery.renew"))
    assert len(client.get("/settings/recovery-codes/new/").context["codes"]) == 10
    assert notified(Event.RECOVERY_RENEWED) == [sara.user.phone]


def test_recovery_codes_are_renewed_a_few_times_an_hour_in_enrolment() -> None:
    nima = people.with_authenticator(people.half_enrolled())
    client = people.proved_in(nima, "sms", "totp")
    responses = [client.post(RECOVERY, {"renew": "1"}).status_code for _n in range(7)]
    assert responses == [200] * 5 + [429] * 2


# A login that ended while its request was running does nothing any more.


def ended_meanwhile(sara: Person) -> Any:
    """Return a request of a finished login that ends before its work begins."""
    request = people.request_of(sara)
    sessions.end_all(sara.reload())
    return request


def test_codes_of_a_login_that_was_ended_meanwhile_are_not_compared() -> None:
    sara = people.customer()
    request = ended_meanwhile(sara)
    result = verification.verify(
        request, sara.user, approvals.LOGIN, {Factor.TOTP: sara.totp()}, effect=lambda: pytest.fail("done")
    )
    assert result.outcome is VerificationOutcome.LOGIN_ENDED
    assert failure_counts(sara) == (0, 0)
    assert verification.verify(
        people.request_of(sara), sara.user, approvals.LOGIN, {Factor.TOTP: sara.totp()}
    ).accepted


@pytest.mark.parametrize("how", ["password", "deactivated", "session ended"])
def test_login_is_over_by_whatever_ends_it(how: str) -> None:
    sara = people.customer()
    request = people.request_of(sara)
    if how == "password":
        people.with_password(sara)
    elif how == "deactivated":
        User.objects.filter(pk=sara.user.pk).update(is_active=False)
    else:
        LoginSession.objects.all().delete()
    result = verification.verify(request, sara.user, approvals.LOGIN, {Factor.TOTP: sara.totp()})
    assert result.outcome is VerificationOutcome.LOGIN_ENDED


def test_recovery_codes_of_a_login_that_was_ended_meanwhile_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """End all sessions between the page's first check and its work."""
    nima = people.with_authenticator(people.half_enrolled())
    old = people.recovery_codes(nima)
    client = people.proved_in(nima, "sms", "totp")
    make = recovery_codes.generate

    def late(*arguments: Any, **named: Any) -> list[str]:
        sessions.end_all(nima.reload())
        return make(*arguments, **named)

    monkeypatch.setattr(recovery_codes, "generate", late)
    assert client.post(RECOVERY, {"renew": "1"}).context["codes"] == []
    assert RecoveryCode.objects.count() == len(old)
    assert count_events(Event.RECOVERY_RENEWED) == 0


def test_session_is_not_kept_over_an_end_of_all_that_it_did_not_see() -> None:
    sara = people.customer()
    client, stale = people.logged_in(sara), sara.reload()
    request = people.request_of(sara)
    request.user = stale
    sessions.end_all(sara.reload())
    assert not sessions.end_all(stale, keep=request)
    assert leads_to_login(client.get("/dashboard/"))


def test_starting_a_login_drops_earlier_proofs_of_the_browser() -> None:
    sara, other = people.with_password(people.customer()), people.with_password(people.customer())
    client = people.in_pre_login_flow(sara.user, "forgot", proved=True)
    client.post("/login/", {"phone": other.user.phone, "password": other.password})
    client.post("/forgot/password/", {"password": GOOD_PASSWORD})
    assert sara.reload().check_password(sara.password)


def test_email_link_is_over_when_all_sessions_were_ended_since() -> None:
    sara = people.customer()
    client = people.logged_in(sara)
    client.post("/settings/email/", {"email": "thief@example.com"})
    client.post("/settings/email/codes/", people.both_codes(sara, "email.change"))
    path = next(word for word in str(mail.outbox[-1].body).split() if "/settings/email/confirm/" in word)
    sessions.end_all(sara.reload())
    response: Any = people.logged_in(sara).post("/" + path.split("/", 3)[3])
    assert response.status_code == 410
    assert sara.reload().email == ""


# Numbers.


def test_code_that_went_to_another_number_than_the_accounts_own_is_wrong() -> None:
    """For every way of changing it, and even if the code's row was kept: the number is part of the code's digest."""
    sara = people.customer()
    code = people.live_sms_code(sara, approvals.LOGIN)
    number = people.next_phone()
    User.objects.filter(pk=sara.user.pk).update(phone=number)
    SmsDevice.objects.filter(user=sara.user).update(number=number)
    result = verification.verify(people.request_of(sara), sara.user, approvals.LOGIN, {Factor.SMS: code})
    assert result.outcome is VerificationOutcome.REFUSED


def test_code_is_sent_to_the_number_of_now_whatever_the_request_had_loaded() -> None:
    sara = people.customer()
    stale = sara.reload()
    number = people.next_phone()
    User.objects.filter(pk=sara.user.pk).update(phone=number)
    SmsDevice.objects.filter(user=sara.user).update(number=number)
    request = people.request_of(sara)
    sms_codes.send_code(request, stale, approvals.LOGIN)
    assert sms_collector.newest().to == number
    code = {Factor.SMS: sms_collector.newest().code}
    assert verification.verify(request, stale, approvals.LOGIN, code).accepted


def test_phone_is_confirmed_only_by_a_code_that_went_to_it() -> None:
    nima = people.newcomer()
    client = people.half_logged_in(nima)
    client.get("/enrol/sms/")
    code = sms_collector.newest("enrol.sms").code
    User.objects.filter(pk=nima.user.pk).update(phone=people.next_phone())
    assert client.post("/enrol/sms/", {"code": code}).status_code == 200
    assert not nima.reload().has_phone


def test_notice_goes_to_the_number_of_now_whatever_the_request_had_loaded() -> None:
    sara = people.customer()
    stale = sara.reload()
    assert stale.has_phone
    number = people.next_phone()
    User.objects.filter(pk=sara.user.pk).update(phone=number)
    SmsDevice.objects.filter(user=sara.user).update(number=number)
    audit.record(Event.CODE_LOCKED, None, customer=stale)
    assert notified(Event.CODE_LOCKED) == [number]


# Both factors, at every request.


def visits(person: Person, device: SmsDevice | TotpDevice) -> Client:
    """Return a finished login whose second factor was ``device``."""
    client = people.logged_in(person)
    people.set_session(client, otp_device_id=device.persistent_id)
    assert client.get("/dashboard/").status_code == 200
    return client


@pytest.mark.parametrize("how", ["deleted", "unconfirmed", "of another number"])
def test_session_by_authenticator_ends_with_the_phone(how: str) -> None:
    sara = people.customer()
    client = visits(sara, sara.user.totp)
    device = SmsDevice.objects.filter(user=sara.user)
    if how == "deleted":
        device.delete()
    elif how == "unconfirmed":
        device.update(confirmed=False)
    else:
        device.update(number=people.next_phone())
    assert is_out(client)


@pytest.mark.parametrize("how", ["deleted", "unconfirmed"])
def test_session_by_sms_ends_with_the_authenticator(how: str) -> None:
    sara = people.customer()
    client = visits(sara, sara.user.sms)
    device = TotpDevice.objects.filter(user=sara.user)
    device.delete() if how == "deleted" else device.update(confirmed=False)
    assert is_out(client)


def test_session_ends_with_the_authenticator_that_proved_it_although_the_account_has_another_one() -> None:
    sara = people.customer()
    client = visits(sara, sara.user.totp)
    TotpDevice.objects.filter(user=sara.user).delete()
    people.with_authenticator(sara)
    assert sara.reload().has_both_factors
    assert is_out(client)


def is_out(client: Client) -> bool:
    first: HttpResponse = client.get("/dashboard/")  # type: ignore[assignment]
    return leads_to_login(first) and leads_to_login(client.get("/keys/"))
