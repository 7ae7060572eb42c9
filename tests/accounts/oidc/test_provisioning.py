"""First logins of customers whom the portal does not know: refused, or provisioned without power."""

from typing import Any

import pytest

from accounts.actions import pending_accounts
from accounts.models import AuditEvent, User
from tests.support import people
from tests.support.openid_provider import OpenIdProvider, begun
from tests.support.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
NEW = "exchange:42"


@pytest.fixture(autouse=True)
def _provisioning(settings: Any) -> None:
    settings.OIDC_PROVISION = True


def customer_with(openid: OpenIdProvider, phone: object, **claims: Any) -> None:
    openid.control(customer={"phone_number": phone, "phone_number_verified": True, **claims})


def test_an_account_is_opened_and_both_factors_are_set_up(openid: OpenIdProvider) -> None:
    phone = people.next_phone()
    customer_with(openid, phone, name="سارا  احمدی")
    client = people.browser()
    assert "phone" in begun(people.browser())
    assert openid.log_in(client, NEW)["Location"] == "/enrol/sms/"
    user = User.objects.get(external_id=NEW)
    assert (user.phone, user.name, user.is_staff) == (phone, "سارا احمدی", False)
    assert (user.has_usable_password(), user.has_phone, user.has_authenticator) == (False, False, False)
    assert AuditEvent.objects.get(event="account.signed_up").detail == {"via": "oidc"}
    assert client.get("/dashboard/")["Location"] == "/enrol/sms/"


def test_the_second_login_finds_the_same_account(openid: OpenIdProvider) -> None:
    customer_with(openid, people.next_phone())
    for _n in range(2):
        assert openid.log_in(people.browser(), NEW)["Location"] == "/enrol/sms/"
    assert User.objects.filter(external_id=NEW).count() == 1


@pytest.mark.parametrize("spelling", ["{}", "0{}", "+98{}", "98{}"])
def test_a_number_is_no_id(openid: OpenIdProvider, spelling: str) -> None:
    """SECURITY: the number's next owner would come with the same id. And it would be in logs and headers."""
    phone = people.next_phone()
    customer_with(openid, phone)
    before = User.objects.count()
    subject = spelling.format(phone.removeprefix("+98"))
    assert openid.log_in(people.browser(), subject).status_code == 403
    assert User.objects.count() == before
    assert AuditEvent.objects.get(event="login.exchange_refused").detail == {"rejection": "unknown"}


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"phone_number": "+989121234567"},
        {"phone_number": "+989121234567", "phone_number_verified": False},
        {"phone_number": "+989121234567", "phone_number_verified": "true"},
        {"phone_number": "+982188776655", "phone_number_verified": True},
        {"phone_number": "+12025550123", "phone_number_verified": True},
        {"phone_number": "call me", "phone_number_verified": True},
        {"phone_number": 989121234567, "phone_number_verified": 1},
    ],
    ids=[
        "none",
        "unverified",
        "not verified",
        "a text",
        "landline",
        "no SMS goes there",
        "no number",
        "odd types",
    ],
)
def test_without_a_verified_mobile_number_nothing_is_opened(
    openid: OpenIdProvider, claims: dict[str, Any]
) -> None:
    openid.control(customer=claims)
    before = User.objects.count()
    assert openid.log_in(people.browser(), NEW).status_code == 403
    assert User.objects.count() == before


def test_an_account_is_never_taken_over_by_its_number(openid: OpenIdProvider, sara: Person) -> None:
    other = people.customer()
    customer_with(openid, other.user.phone)
    client = people.browser()
    assert openid.log_in(client, NEW).status_code == 403
    assert other.reload().external_id is None
    assert AuditEvent.objects.get(event="login.exchange_refused").detail == {"rejection": "phone_taken"}


def test_a_number_that_somebody_typed_into_sign_up_is_free(openid: OpenIdProvider) -> None:
    phone = people.next_phone()
    pending_accounts.get_or_create_row(phone)
    customer_with(openid, phone)
    assert openid.log_in(people.browser(), NEW)["Location"] == "/enrol/sms/"


@pytest.mark.parametrize("name", ["win at evil.test", "a" * 81, 7, "call 09121234567", "a\u202eb"])
def test_a_name_that_may_not_be_in_messages_is_left_out(openid: OpenIdProvider, name: object) -> None:
    customer_with(openid, people.next_phone(), name=name)
    openid.log_in(people.browser(), NEW)
    assert User.objects.get(external_id=NEW).name == ""


def test_claims_of_another_customer_are_not_used(openid: OpenIdProvider) -> None:
    """Token substitution: the userinfo endpoint's answer is not signed."""
    phone = {"phone_number": people.next_phone(), "phone_number_verified": True}
    openid.control(customer=phone, userinfo={"sub": "somebody-else"})
    assert openid.log_in(people.browser(), NEW).status_code == 403
    assert not User.objects.filter(phone=phone["phone_number"]).exists()


def test_off_by_default(openid: OpenIdProvider, settings: Any) -> None:
    settings.OIDC_PROVISION = False
    customer_with(openid, people.next_phone())
    assert openid.log_in(people.browser(), NEW).status_code == 403
    assert not User.objects.filter(external_id=NEW).exists()
