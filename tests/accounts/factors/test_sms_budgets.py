"""Two budgets of SMS: requests without a login do not use the budget of customers."""

from collections.abc import Callable

import pytest

from accounts.actions import freeze
from accounts.choices import approvals
from accounts.models import AuditEvent
from apikeys.models import ApiKey
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Limit, Rate
from tests.support import people, sms_collector
from tests.support.people import Person, browser, customer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]
Caps = Callable[..., None]


@pytest.fixture
def caps(monkeypatch: pytest.MonkeyPatch) -> Caps:
    """``caps(SMS_PREFIX=5)``: smaller limits for this test; `test_ratelimits` has the real ones."""

    def change(**counts: int) -> None:
        for name, count in counts.items():
            limit = Rate[name].value
            monkeypatch.setattr(Rate[name], "_value_", Limit(count, limit.seconds, limit.reason))

    return change


@pytest.fixture
def sara() -> Person:
    return people.with_password(customer(name="Sara"))


def sign_ups(addresses: list[str]) -> int:
    """Return how many of ``n`` anonymous visitors, each with a number of one prefix, get a code."""
    before = len(sms_collector.messages)
    for address in addresses:
        browser(address).post("/signup/", {"phone": people.next_phone()})
    return len(sms_collector.messages) - before


def everywhere(count: int) -> list[str]:
    """Return addresses that do not share a network prefix."""
    return [f"2001:db8:{n:x}::1" for n in range(1, count + 1)]


@pytest.mark.parametrize(("cap", "most"), [("SMS_OUTSIDE_PREFIX", 5), ("SMS_OUTSIDE_DAY", 5)])
def test_a_flood_of_sign_ups_ends_at_its_cap_and_customers_do_all_that_they_did_before(
    sara: Person, caps: Caps, cap: str, most: int
) -> None:
    # The budget of accounts is as small, so any anonymous message that counted there would show.
    caps(**{cap: most}, SMS_PREFIX=3, SMS_DAY=3, SMS_ADDRESS=3)
    assert sign_ups(everywhere(8)) == most
    client = browser()
    client.post("/login/", {"phone": sara.user.phone, "password": sara.password})
    client.post("/login/second-factor/", {"switch": "sms"})
    code = sms_collector.newest("login").code
    response = client.post("/login/second-factor/?method=sms", {"code": code})
    assert response["Location"] == "/dashboard/"
    client.post("/keys/", {"name": "bot"})
    client.post("/keys/new/verify/", people.both_codes(sara))
    assert ApiKey.objects.filter(owner=sara.user).count() == 1
    freeze.freeze(None, sara.user)
    client = people.logged_in(sara)
    client.get("/thaw/")
    client.post("/thaw/", {"resend": "1"})
    assert client.post("/thaw/", people.both_codes(sara, "account.thaw"))["Location"] == "/dashboard/"
    assert sara.reload().frozen_at is None


def test_a_flood_of_sign_ups_takes_nothing_from_forgotten_passwords(sara: Person, caps: Caps) -> None:
    caps(SMS_OUTSIDE_PREFIX=3, SMS_OUTSIDE_DAY=3, SMS_OUTSIDE_ADDRESS=3)
    assert sign_ups([people.ADDRESS] * 5) == 3
    client = browser()
    client.post("/forgot/", {"phone": sara.user.phone})
    assert sms_collector.newest("password.forgot").to == sara.user.phone


def test_unauthenticated_requests_do_not_use_the_messages_of_an_account(sara: Person, caps: Caps) -> None:
    caps(SMS_ACCOUNT=2, SMS_PHONE=2)
    for n in range(4):
        browser(people.address(n)).post("/forgot/", {"phone": sara.user.phone})
        sara.user.sms_codes.all().delete()  # as if the minute had passed
    assert len(sms_collector.messages) == 4
    client = people.half_logged_in(sara)
    for _n in range(2):
        client.post("/login/second-factor/", {"switch": "sms"})
        sara.user.sms_codes.all().delete()
    assert len(sms_collector.messages) == 6


@pytest.mark.parametrize(
    ("addresses", "most"),
    [
        (["198.51.100.7"] * 10, 2),
        ([f"2001:db8:1:2::{n:x}" for n in range(10)], 2),
        ([f"2001:db8:1:{n:x}::1" for n in range(10)], 4),
        ([f"2001:db8:1:{n:x}00::1" for n in range(12)], 8),
        ([f"2001:db8:{n:x}::1" for n in range(1, 11)], 10),
    ],
    ids=["IPv4", "/64", "/56", "/48", "many /48"],
)
@pytest.mark.parametrize("cap", ["SMS_OUTSIDE_ADDRESS", "SIGNUP_ADDRESS"])
def test_one_address_gets_one_share_of_the_unauthenticated_messages(
    caps: Caps, addresses: list[str], most: int, cap: str
) -> None:
    caps(**{cap: 2})
    assert sign_ups(addresses) == most


def test_a_message_that_one_cap_refuses_counts_against_no_other(caps: Caps) -> None:
    caps(SMS_OUTSIDE_PREFIX=1, SMS_OUTSIDE_DAY=2)
    assert sign_ups(everywhere(5)) == 1
    assert ratelimits.acquire(Rate.SMS_OUTSIDE_DAY, "account.sign_up") is None
    assert ratelimits.acquire(Rate.SMS_OUTSIDE_DAY, "account.sign_up") is not None


def test_a_shared_limit_is_recorded_once_and_not_for_each_number(caps: Caps) -> None:
    caps(SMS_OUTSIDE_DAY=1)
    sign_ups(everywhere(5))
    assert [event.detail["cap"] for event in AuditEvent.objects.filter(event="sms.capped")] == [
        "sms_outside_day"
    ]


def test_an_account_has_few_messages_for_numbers_that_are_not_its_own(sara: Person, caps: Caps) -> None:
    """SECURITY: ten accounts could use up a prefix, and with it the login codes of everybody with that prefix."""
    caps(SMS_NEW_NUMBER=2)
    client = people.logged_in(sara)
    sent = []
    for number in [people.next_phone() for _n in range(3)]:
        client.post("/settings/phone/", {"phone": number})
        codes = people.both_codes(sara, "phone.change")
        assert client.post("/settings/phone/codes/", codes)["Location"] == "/settings/phone/confirm/"
        sent.append(sms_collector.newest().to == number)
    assert sent == [True, True, False]


def test_requests_without_a_proof_are_unauthenticated() -> None:
    assert {purpose.name for purpose in approvals.OUTSIDE} == {"SIGN_UP", "FORGOT"}
