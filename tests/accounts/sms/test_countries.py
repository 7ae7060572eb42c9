"""Only mobile numbers of the configured countries get messages, wherever a number is entered."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from environs import ValidationError

from accounts import sms
from accounts.choices import approvals
from accounts.factors import sms_codes
from accounts.factors.sms_codes import SendStatus
from accounts.models import Invitation, SmsCode, User
from hitobit_portal.config import parsers
from hitobit_portal.i18n.fields import is_served
from tests.support import people, sms_collector
from tests.support.people import Person, customer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
#: Numbers that are expensive for the sender, or that receive no SMS.
DEAR = {
    "premium, international": "+979123456789",
    "premium, United States": "+19005550123",
    "network of no country": "+88213555555",
    "satellite, Globalstar": "+88161234567",
    "satellite, Inmarsat": "+870773111632",
    "landline, Tehran": "+982188776655",
    "mobile, another country": "+4915123456789",
}


def moved(number: str) -> Person:
    """Return a user whose account has ``number`` from before the list became shorter."""
    sara = customer()
    User.objects.filter(pk=sara.user.pk).update(phone=number)
    sara.user.sms.number = number
    sara.user.sms.save()
    return Person(sara.reload(), sara.password, sara.seed)


@pytest.mark.parametrize("number", DEAR.values(), ids=DEAR.keys())
@pytest.mark.parametrize("path", ["/signup/", "/forgot/"])
def test_dear_numbers_are_refused_with_the_reason_and_nothing_is_sent(path: str, number: str) -> None:
    response = people.browser().post(path, {"phone": number}, headers={"accept-language": "en"})
    assert response.status_code == 200
    [error] = response.context["form"].errors.as_data()["phone"]
    assert error.code == "not_served"
    assert f'value="{number}"' in response.content.decode()
    assert sms_collector.messages == []
    assert not User.objects.exists()


@pytest.mark.parametrize("number", DEAR.values(), ids=DEAR.keys())
def test_no_account_moves_to_a_dear_number(number: str) -> None:
    sara = customer()
    browser = people.logged_in(sara)
    [code] = people.recovery_codes(sara)[:1]
    for path in ("/settings/phone/", "/settings/phone/lost/"):
        fields = {"phone": number, "recovery_code": code, "totp_code": sara.fresh_totp()}
        response = browser.post(path, fields)
        assert [error.code for error in response.context["form"].errors.as_data()["phone"]] == ["not_served"]
    assert sms_collector.messages == []


@pytest.mark.parametrize("number", DEAR.values(), ids=DEAR.keys())
def test_no_command_takes_a_dear_number(number: str) -> None:
    for command in (
        ("invite", number),
        ("create_staff", number, "--role", "support", "--password-stdin"),
        ("send_test_sms", number),
    ):
        with pytest.raises(CommandError):
            call_command(*command)
    with pytest.raises(ValueError, match="phone number"):
        User.objects.create_user(number)
    assert not User.objects.exists()
    assert not Invitation.objects.exists()
    assert sms_collector.messages == []


@pytest.mark.parametrize("number", DEAR.values(), ids=DEAR.keys())
def test_the_last_step_before_a_provider_refuses_a_dear_number_wherever_it_comes_from(number: str) -> None:
    for send in (sms.send, sms.speak):
        with pytest.raises(sms.NotServedError):
            send(number, "x", code="123456", purpose="login")
    person = moved(number)
    sent = sms_codes.send_code(people.request_of(person), person.user, approvals.LOGIN)
    assert sent.state is SendStatus.NOT_SERVED
    assert not SmsCode.objects.exists()
    assert sms_collector.messages == []


def test_who_has_a_number_of_before_still_logs_in_by_the_authenticator_and_reads_why_no_sms_comes() -> None:
    abroad = people.with_password(moved("+4915123456789"))
    browser = people.browser()
    response = browser.post("/login/", {"phone": abroad.user.phone, "password": abroad.password})
    assert response["Location"] == "/login/second-factor/"
    browser.post("/login/second-factor/", {"switch": "sms"})
    page = browser.get("/login/second-factor/?method=sms").content.decode()
    assert "+98" in page
    response = browser.post("/login/second-factor/?method=totp", {"code": abroad.totp()})
    assert response["Location"] == "/dashboard/"


@pytest.mark.parametrize(
    ("countries", "number", "is_right"),
    [
        ("IR", "+989121234567", True),
        ("IR", "+4915123456789", False),
        ("ir, de", "+4915123456789", True),
        ("DE", "+989121234567", False),
        ("US", "+12025550123", True),  # numbers there do not distinguish mobile phones from landlines
        ("US", "+19005550123", False),
        ("US", "+14165550123", False),  # Canada begins with +1 as well
        ("IR", "+870773111632", False),
    ],
)
def test_the_setting_names_the_countries(settings: Any, countries: str, number: str, is_right: bool) -> None:
    settings.SMS_COUNTRIES = parsers.countries(countries)
    assert is_served(number) is is_right


@pytest.mark.parametrize("countries", ["", ",", "XX", "IR,Iran", "001", "98"])
def test_what_is_no_list_of_countries_is_refused(countries: str) -> None:
    with pytest.raises(ValidationError, match="country"):
        parsers.countries(countries)
