"""Invalid codes: each kind is refused with the same message and has no effect."""

import pytest
from django.test import Client

from accounts.choices import approvals
from accounts.choices.approvals import Approval
from accounts.models import SmsCode, TotpDevice
from apikeys.models import ApiKey
from apikeys.pages import session_state
from tests.support import people, sms_collector
from tests.support.concurrency import failure_counts
from tests.support.people import Person
from tests.support.two_code_page import NAME, VERIFY

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("collected_sms")]


def stale(person: Person) -> dict[str, str]:
    people.live_sms_code(person, session_state.create_approval(NAME), "123456", lifetime=-1)
    return {"sms_code": "123456", "totp_code": person.totp()}


def resent(person: Person) -> dict[str, str]:
    people.live_sms_code(person, session_state.create_approval(NAME), "000000")
    return people.both_codes(person)


def foreign(person: Person, approval: Approval) -> dict[str, str]:
    SmsCode.objects.all().delete()
    return {"sms_code": people.live_sms_code(person, approval), "totp_code": person.totp()}


def older_step(person: Person) -> dict[str, str]:
    codes = {**people.both_codes(person), "totp_code": person.totp()}
    TotpDevice.objects.filter(user=person.user).update(last_step=2**40)
    return codes


def of_somebody_else(person: Person) -> dict[str, str]:
    return {**people.both_codes(person), "totp_code": people.customer().totp()}


def tampered(person: Person) -> dict[str, str]:
    codes = people.both_codes(person)
    person.user.sms_codes.update(digest="test:0")
    return codes


REFUSED = {
    "wrong sms": lambda p: {**people.both_codes(p), "sms_code": "000000"},
    "wrong totp": lambda p: {**people.both_codes(p), "totp_code": p.wrong_totp()},
    "both wrong": lambda p: {"sms_code": "000000", "totp_code": p.wrong_totp()},
    "swapped": lambda p: dict(zip(("totp_code", "sms_code"), people.both_codes(p).values(), strict=True)),
    "stale sms": stale,
    "sms before the resend": resent,
    "totp two steps old": lambda p: {**people.both_codes(p), "totp_code": p.totp(-2)},
    "totp far ahead": lambda p: {**people.both_codes(p), "totp_code": p.totp(4)},
    "totp of an older step than the last one": older_step,
    "totp of somebody else": of_somebody_else,
    "sms for logging in": lambda p: foreign(p, approvals.LOGIN),
    "sms for another name": lambda p: foreign(p, session_state.create_approval("Bot")),
    "sms whose digest was tampered with": tampered,
}


@pytest.mark.parametrize("case", REFUSED)
def test_codes_that_are_not_right_now_for_this_are_refused_with_one_sentence(
    case: str, sara: Person, visitor: Client
) -> None:
    response = visitor.post(VERIFY, REFUSED[case](sara))
    assert response.status_code == 200
    assert not ApiKey.objects.exists()
    assert failure_counts(sara) == (1, 1)
    assert response.context["form"].errors == people_see_always(sara)


def people_see_always(person: Person) -> dict[str, list[str]]:
    """Return the rejection for two wrong codes."""
    other = people.customer()
    browser = people.logged_in(other)
    browser.post("/keys/", {"name": NAME})
    wrong = {"sms_code": "000000", "totp_code": other.wrong_totp()}
    errors: dict[str, list[str]] = browser.post(VERIFY, wrong).context["form"].errors
    assert list(errors) == ["__all__"]
    return errors


def test_a_pair_of_codes_works_once(sara: Person, visitor: Client) -> None:
    codes = people.both_codes(sara)
    assert visitor.post(VERIFY, codes).status_code == 302
    visitor.post("/keys/", {"name": "second"})
    assert visitor.post(VERIFY, codes).status_code == 200
    assert ApiKey.objects.count() == 1


def test_a_name_changed_after_the_message_is_not_approved_by_it(sara: Person, visitor: Client) -> None:
    codes = people.both_codes(sara)
    sms_collector.failing = True
    visitor.post("/keys/", {"name": "other"})
    assert visitor.post(VERIFY, codes).status_code == 200
    assert not ApiKey.objects.exists()


def test_a_change_that_was_altered_after_the_message_is_not_approved_by_it(sara: Person) -> None:
    key = people.key_of(sara)
    browser = people.logged_in(sara)
    page = f"/keys/{key.pk}/"
    browser.post(page, {"permissions": ["read", "trade"], "ip_policy": "unrestricted"})
    codes = {"sms_code": sms_collector.newest("key.change").code, "totp_code": sara.totp()}
    sms_collector.failing = True
    trusted = {"ip_policy": "trusted", "network": people.address(1)}
    browser.post(page, {"permissions": ["read", "trade", "withdraw"], **trusted})
    assert browser.post(f"{page}verify/", codes).status_code == 200
    assert ApiKey.objects.get().permissions == {"read"}


def test_a_key_changed_elsewhere_meanwhile_is_not_changed_from_another_state(sara: Person) -> None:
    key = people.key_of(sara)
    browser = people.logged_in(sara)
    page = f"/keys/{key.pk}/"
    browser.post(page, {"permissions": ["read", "trade"], "ip_policy": "unrestricted"})
    codes = {"sms_code": sms_collector.newest("key.change").code, "totp_code": sara.totp()}
    key.apply(["read"], "trusted", [people.address(1)])
    assert browser.post(f"{page}verify/", codes).headers["Location"] == page
    assert ApiKey.objects.get().ip_policy == "trusted"
    assert ApiKey.objects.get().permissions == {"read"}


@pytest.mark.parametrize("factor", ["phone", "authenticator"])
def test_an_unconfirmed_factor_satisfies_nothing(factor: str, sara: Person, visitor: Client) -> None:
    codes = people.both_codes(sara)
    if factor == "phone":
        sara.reload().sms.delete()
    else:
        TotpDevice.objects.update(confirmed=False)
    response = visitor.post(VERIFY, codes)
    assert response.headers["Location"].startswith("/login/")
    assert visitor.get("/dashboard/").headers["Location"].startswith("/login/")
    assert not ApiKey.objects.exists()


def test_right_codes_whose_work_fails_are_no_failure_and_still_good(sara: Person, visitor: Client) -> None:
    codes = people.both_codes(sara)
    taken = people.key_of(sara, NAME)
    assert visitor.post(VERIFY, codes).headers["Location"] == "/keys/"
    assert failure_counts(sara) == (0, 0)
    taken.set_state("revoked")  # type: ignore[arg-type]
    assert visitor.post("/keys/", {"name": NAME}).status_code == 302
    assert visitor.post(VERIFY, codes).status_code == 302
    assert ApiKey.objects.live(sara.user).count() == 1
