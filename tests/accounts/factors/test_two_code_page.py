"""The page that takes both codes: what it says of a code that was used, and what it keeps."""

import re

import pytest

from accounts.factors import verification
from accounts.models import AuditEvent, TotpDevice
from apikeys.models import ApiKey
from tests.support import people, sms_collector
from tests.support.people import Person
from tests.support.two_code_page import NAME, VERIFY, opened

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("collected_sms")]


def use(person: Person, code: str) -> None:
    """Log in with ``code`` in another browser."""
    posted = people.half_logged_in(person).post("/login/second-factor/?method=totp", {"code": code})
    assert posted.status_code == 302


def value_of(page: str, field: str) -> str:
    tag = re.search(rf'<input [^>]*name="{field}"[^>]*>', page)
    assert tag is not None
    value = re.search(r'value="([^"]*)"', tag[0])
    return value[1] if value else ""


@pytest.mark.parametrize("right_sms", [True, False])
def test_spent_code_is_named_and_the_sms_code_stays_typed(sara: Person, right_sms: bool) -> None:
    browser = opened(sara)
    spent, sms_code = sara.totp(), sms_collector.newest("key.create").code
    typed = sms_code if right_sms else f"{(int(sms_code) + 1) % 1_000_000:06d}"
    use(sara, spent)
    response = browser.post(VERIFY, {"sms_code": typed, "totp_code": spent})
    page = response.content.decode()
    assert value_of(page, "sms_code") == typed
    assert value_of(page, "totp_code") == ""
    assert 'id="totp_code-error"' in page
    assert 'id="sms_code-error"' not in page
    assert "no-store" in response["Cache-Control"]
    assert not AuditEvent.objects.filter(event="code.refused").exists()
    assert not ApiKey.objects.exists()
    accepted = browser.post(VERIFY, {"sms_code": sms_code, "totp_code": sara.totp(1)})
    assert (accepted.status_code, ApiKey.objects.get().label) == (302, NAME)


def test_wrong_codes_leave_both_fields_empty(sara: Person) -> None:
    browser = opened(sara)
    codes = {"sms_code": sms_collector.newest("key.create").code, "totp_code": sara.wrong_totp()}
    page = browser.post(VERIFY, codes).content.decode()
    assert (value_of(page, "sms_code"), value_of(page, "totp_code")) == ("", "")
    assert AuditEvent.objects.filter(event="code.refused").count() == 1


def test_page_announces_the_wait_before_a_code_is_typed(sara: Person) -> None:
    browser = opened(sara)
    assert "data-wait" not in browser.get(VERIFY).content.decode()
    use(sara, sara.totp())
    # The code of the step that may have begun meanwhile, so that the test does not depend on the second.
    step = TotpDevice.objects.get(user=sara.user).last_step
    TotpDevice.objects.filter(user=sara.user).update(last_step=step + 1)
    page = browser.get(VERIFY).content.decode()
    wait = re.search(r'id="totp_code-wait" data-wait="(\d+)"', page)
    assert wait is not None
    assert 1 <= int(wait[1]) <= 2 * verification.TOTP_PERIOD
    assert 'aria-describedby="totp_code-wait totp_code-hint"' in page


def test_who_goes_back_from_the_codes_finds_the_name_that_was_typed(sara: Person) -> None:
    browser = opened(sara)
    assert f'value="{NAME}"' in browser.get("/keys/").content.decode()
    assert browser.post(VERIFY, people.both_codes(sara)).status_code == 302
    assert f'value="{NAME}"' not in browser.get("/keys/").content.decode()
