"""Enrolment: both factors, in order, each proved by a valid code; nothing else is accessible before it is done."""

import html
import re
import time
from unittest import mock

import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.choices import approvals
from accounts.factors import totp, verification
from accounts.models import AuditEvent, RecoveryCode, SmsCode, SmsDevice, TotpDevice
from hitobit_portal.security import crypto
from tests.support import sms_collector
from tests.support.people import (
    Person,
    browser,
    customer,
    half_enrolled,
    half_logged_in,
    live_sms_code,
    newcomer,
    next_phone,
    proved_in,
    recovery_codes,
    with_authenticator,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
SMS, TOTP, RECOVERY = "/enrol/sms/", "/enrol/totp/", "/enrol/recovery-codes/"


def shown_seed(client: Client) -> str:
    seed: str = client.get(TOTP).context["secret"]
    return seed


def confirm_phone(client: Client) -> HttpResponse:
    client.get(SMS)
    return client.post(SMS, {"code": sms_collector.newest("enrol.sms").code})  # type: ignore[return-value]


def test_newcomer_gets_in_by_enrolling_both_factors() -> None:
    new = newcomer()
    client = half_logged_in(new)
    assert confirm_phone(client)["Location"] == TOTP
    code = Person(new.user, "", shown_seed(client)).totp()
    assert client.post(TOTP, {"code": code})["Location"] == RECOVERY
    assert len(client.get(RECOVERY).context["codes"]) == 10
    assert client.post(RECOVERY)["Location"] == "/dashboard/"
    assert client.get("/dashboard/").status_code == 200
    assert new.reload().has_both_factors


@pytest.mark.parametrize(
    "path", ["/dashboard/", "/keys/", "/activity/", "/admin/", TOTP, RECOVERY, "/login/second-factor/"]
)
def test_newcomer_is_led_to_enrolment_and_nowhere_else(path: str) -> None:
    client = half_logged_in(newcomer())
    response = client.get(path)
    assert (response.status_code, response.get("Location")) == (302, SMS)
    assert client.post(path, {"code": "123456"}).get("Location") == SMS


def test_an_existing_factor_is_proved_before_enrolling_the_other() -> None:
    """SECURITY: otherwise a thief with the password could enrol their own authenticator."""
    for person in (half_enrolled(), with_authenticator(newcomer())):
        client = half_logged_in(person)
        for path in (SMS, TOTP, RECOVERY):
            assert client.get(path)["Location"] == "/login/second-factor/"
    assert TotpDevice.objects.count() == 1


def test_confirmed_phone_is_required_before_enrolling_the_authenticator() -> None:
    person = half_enrolled()
    client = half_logged_in(person)
    client.post("/login/second-factor/", {"switch": "sms"})
    response = client.post("/login/second-factor/?method=sms", {"code": sms_collector.newest("login").code})
    assert response["Location"] == TOTP


def test_first_sight_of_the_page_sends_one_message_and_a_refresh_none() -> None:
    client = half_logged_in(newcomer())
    for _n in range(3):
        assert client.get(SMS).status_code == 200
    assert len(sms_collector.messages) == 1


def test_resend_comes_after_the_countdown_and_voids_the_code_before_it() -> None:
    client = half_logged_in(newcomer())
    client.get(SMS)
    first = sms_collector.newest().code
    client.post(SMS, {"resend": "1"})
    assert len(sms_collector.messages) == 1  # a minute has not passed
    SmsCode.objects.update(sent_at=SmsCode.objects.get().sent_at - verification.SMS_LIFETIME / 2)
    client.post(SMS, {"resend": "1"})
    assert len(sms_collector.messages) == 2
    if first != sms_collector.newest().code:
        client.post(SMS, {"code": first})
        assert not SmsDevice.objects.exists()
    client.post(SMS, {"code": sms_collector.newest().code})
    assert SmsDevice.objects.get().confirmed


def test_wrong_code_confirms_no_phone() -> None:
    client = half_logged_in(newcomer())
    client.get(SMS)
    wrong = f"{(int(sms_collector.newest().code) + 1) % 1_000_000:06d}"
    response = client.post(SMS, {"code": wrong})
    assert response.context["form"].errors.get("code")
    assert not SmsDevice.objects.exists()


def test_code_for_logging_in_confirms_no_phone() -> None:
    person = with_authenticator(newcomer())
    client = proved_in(person, "totp")
    client.post(SMS, {"code": live_sms_code(person, approvals.LOGIN)})
    assert not SmsDevice.objects.exists()


def test_provider_failure_is_shown_and_the_next_attempt_is_allowed() -> None:
    client = half_logged_in(newcomer())
    sms_collector.failing = True
    assert client.get(SMS).status_code == 200
    assert SmsCode.objects.get().digest == ""
    sms_collector.failing = False
    client.post(SMS, {"resend": "1"})
    assert client.post(SMS, {"code": sms_collector.newest().code})["Location"] == TOTP


def test_seed_is_the_same_after_a_refresh_and_stored_sealed_after_its_first_code() -> None:
    person = half_enrolled()
    client = proved_in(person, "sms")
    seed = shown_seed(client)
    assert shown_seed(client) == seed
    assert re.fullmatch("[A-Z2-7]{32}", seed)  # 160 bits, RFC 4226 section 4
    assert not TotpDevice.objects.exists()
    assert seed not in str(dict(client.session))
    client.post(TOTP, {"code": Person(person.user, "", seed).totp()})
    device = TotpDevice.objects.get()
    assert device.confirmed
    assert device.seed_sealed.startswith("v1:")
    assert crypto.unseal(device.seed_sealed, verification.seal_owner(person.user)).decode() == seed


def test_page_shows_the_seed_in_groups_and_as_a_picture_for_this_account() -> None:
    person = half_enrolled()
    response = proved_in(person, "sms").get(TOTP)
    seed = response.context["secret"]
    assert " ".join(seed[i : i + 4] for i in range(0, 32, 4)) in response.content.decode()
    assert f'd="{response.context["qr_path"]}"' in response.content.decode()


def test_page_has_a_link_that_opens_the_app_of_this_device_and_goes_when_the_page_is_left() -> None:
    person = half_enrolled()
    response = proved_in(person, "sms").get(TOTP)
    link = re.search(r'<a [^>]*href="(otpauth:[^"]*)" data-secret>', response.content.decode())
    assert link is not None
    assert html.unescape(link[1]) == totp.provisioning_uri(person.user, response.context["secret"])


def test_refused_code_keeps_the_seed_and_confirms_nothing() -> None:
    person = half_enrolled()
    client = proved_in(person, "sms")
    seed = shown_seed(client)
    client.post(TOTP, {"code": Person(person.user, "", seed).wrong_totp()})
    assert shown_seed(client) == seed
    assert not TotpDevice.objects.exists()


def test_code_that_turned_the_authenticator_on_does_not_log_in_as_well() -> None:
    person = half_enrolled()
    client = proved_in(person, "sms")
    enrolled = Person(person.user, "", shown_seed(client))
    code = enrolled.totp()
    client.post(TOTP, {"code": code})
    other = half_logged_in(enrolled)
    other.post("/login/second-factor/?method=totp", {"code": code})
    assert other.get("/dashboard/").status_code == 302


def test_unconfirmed_authenticator_is_refused() -> None:
    person = with_authenticator(half_enrolled(), confirmed=False)
    client = half_logged_in(person)
    client.post("/login/second-factor/?method=totp", {"code": person.totp()})
    assert client.get("/login/second-factor/").status_code == 200


def test_phone_that_was_changed_has_to_be_confirmed_again() -> None:
    person = customer()
    person.user.phone = next_phone()
    person.user.save()
    client = half_logged_in(person)
    response = client.post("/login/second-factor/?method=totp", {"code": person.totp()})
    assert response["Location"] == SMS
    confirm_phone(client)
    assert client.get(TOTP)["Location"] == RECOVERY  # the authenticator is confirmed already
    assert sms_collector.newest().to == person.user.phone


def test_interrupted_enrolment_goes_on_where_it_stopped_with_a_seed_of_its_own() -> None:
    person = half_enrolled()
    first = shown_seed(proved_in(person, "sms"))
    client = proved_in(person, "sms")
    assert shown_seed(client) != first
    client.post(TOTP, {"code": Person(person.user, "", first).totp()})
    assert not person.reload().has_authenticator


def test_half_finished_enrolment_is_over_after_a_quarter_of_an_hour() -> None:
    client = proved_in(half_enrolled(), "sms")
    with mock.patch("time.time", return_value=time.time() + 15 * 60 + 1):
        assert client.get(TOTP)["Location"].startswith("/login/")


def enrolled_until_recovery() -> tuple[Person, Client]:
    person = with_authenticator(half_enrolled())
    client = proved_in(person, "sms", "totp")
    return person, client


def test_recovery_codes_are_ten_shown_once_and_kept_as_digests() -> None:
    person, client = enrolled_until_recovery()
    codes = client.get(RECOVERY).context["codes"]
    assert len(set(codes)) == 10
    assert all(re.fullmatch("[a-hjkmnp-z2-9]{4}-[a-hjkmnp-z2-9]{4}", code) for code in codes)
    assert client.get(RECOVERY).context["codes"] == []
    stored = " ".join(RecoveryCode.objects.values_list("digest", flat=True))
    assert RecoveryCode.objects.filter(device__user=person.user).count() == 10
    assert not any(code in stored or code.replace("-", "") in stored for code in codes)


def test_new_recovery_codes_void_the_old_ones() -> None:
    person, client = enrolled_until_recovery()
    old = client.get(RECOVERY).context["codes"]
    new = client.post(RECOVERY, {"renew": "1"}).context["codes"]
    assert len(new) == 10
    assert not set(old) & set(new)
    other = half_logged_in(person)
    other.post("/login/second-factor/?method=recovery", {"code": old[0]})
    assert other.get("/dashboard/").status_code == 302


def test_recovery_codes_of_a_finished_customer_are_not_shown_by_going_back() -> None:
    person = customer()
    recovery_codes(person)
    client = half_logged_in(person)
    assert client.get(RECOVERY)["Location"] == "/login/second-factor/"
    client.post("/login/second-factor/?method=totp", {"code": person.totp()})
    assert client.get(RECOVERY)["Location"] == "/dashboard/"


def test_enrolment_leaves_its_events() -> None:
    new = newcomer()
    client = half_logged_in(new)
    confirm_phone(client)
    client.post(TOTP, {"code": Person(new.user, "", shown_seed(client)).totp()})
    client.get(RECOVERY)
    client.post(RECOVERY)
    events = list(AuditEvent.objects.filter(customer=new.user).order_by("pk").values_list("event", flat=True))
    assert events == [
        "sms.sent",
        "factor.phone_confirmed",
        "factor.totp_confirmed",
        "factor.recovery_made",
        "login",
    ]


def test_enrolment_needs_a_password() -> None:
    for path in (SMS, TOTP, RECOVERY):
        assert browser().get(path)["Location"].startswith("/login/")
        assert browser().post(path, {"code": "123456", "renew": "1"})["Location"].startswith("/login/")
