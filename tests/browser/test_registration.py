"""Sign-up and forgotten password in a real browser, by the names that people see, with and without JavaScript."""

import itertools
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support import visitors
from tests.support.accessibility import faults
from tests.support.anonymous import GOOD_PASSWORD as GOOD
from tests.support.live_site import Customer, LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
SEND = "ارسال کد"
_numbers = itertools.count(1)


def new_visitor(visit: Visit, **options: Any) -> Visitor:
    """A browser of somebody who has no account yet."""
    return visit(Customer(f"+98935{next(_numbers):07d}", GOOD, ""), **options)


def wait_for_sms(visitor: Visitor, purpose: str) -> str:
    """The newest code for ``purpose``: it is sent outside of the answer's time, and so may come after it."""
    for _n in range(200):
        result = [m for m in visitor.site.messages(visitor.customer.phone) if m["purpose"] == purpose]
        if result:
            return str(result[-1]["code"])
        visitor.page.wait_for_timeout(50)
    raise AssertionError(f"no SMS for {purpose}")


def give_number(visitor: Visitor) -> None:
    visitor.page.get_by_label("شمارهٔ موبایل", exact=True).fill(visitor.customer.phone)
    visitor.button(SEND).click()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_new_visitor_signs_up_and_arrives_at_the_dashboard(visit: Visit, scripts: bool) -> None:
    new = new_visitor(visit, java_script_enabled=scripts)
    page = new.page
    new.open("/login/")
    page.get_by_role("link", name="ثبت‌نام", exact=True).click()
    give_number(new)
    new.at("/signup/code/")
    page.get_by_label(visitors.SMS_CODE, exact=True).fill(wait_for_sms(new, "account.sign_up"))
    new.button(visitors.SUBMIT).click()
    new.at("/signup/password/")
    password = page.get_by_label("گذرواژه", exact=True)
    password.fill("qwertyuiop")
    if scripts:
        expect(page.get_by_text("بسیار ضعیف:")).to_be_visible()
    new.button("باز کردن حساب").click()
    expect(page.locator("#password-error")).to_be_visible()
    expect(page.get_by_role("meter", name="قدرت گذرواژه")).to_be_visible()
    password.fill(GOOD)
    if scripts:
        expect(page.get_by_text("قوی", exact=True)).to_be_visible()
        new.button("نمایش گذرواژه").click()
        expect(password).to_have_attribute("type", "text")
    new.button("باز کردن حساب").click()
    new.at("/enrol/totp/")
    new.customer.seed = page.locator("#totp-secret").inner_text().replace(" ", "")
    page.get_by_label(visitors.TOTP_CODE, exact=True).fill(new.customer.totp())
    new.button(visitors.SUBMIT).click()
    new.at("/enrol/recovery-codes/")
    new.button("پایان و رفتن به داشبورد").click()
    new.at("/dashboard/")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_forgotten_password_is_replaced_and_the_new_one_logs_in(visit: Visit, scripts: bool) -> None:
    sara = visit(java_script_enabled=scripts)
    page = sara.page
    sara.open("/login/")
    page.get_by_role("link", name="گذرواژه را فراموش کرده‌ام", exact=True).click()
    expect(page.get_by_text("همهٔ نشست‌های شما")).to_be_visible()
    give_number(sara)
    sara.at("/forgot/codes/")
    page.get_by_label(visitors.SMS_CODE, exact=True).fill(wait_for_sms(sara, "password.forgot"))
    page.get_by_label(visitors.TOTP_CODE, exact=True).fill(sara.customer.totp())
    sara.button(visitors.SUBMIT).click()
    sara.at("/forgot/password/")
    page.get_by_label("گذرواژهٔ تازه", exact=True).fill(GOOD)
    sara.button("تعویض گذرواژه").click()
    sara.at("/login/")
    expect(page.get_by_text("گذرواژهٔ شما عوض شد")).to_be_visible()
    sara.customer.password = GOOD
    sara.log_in()


def test_owner_of_a_taken_number_reads_that_there_is_an_account(portal: LiveSite, visit: Visit) -> None:
    sara = portal.customer()
    thief = visit(Customer(sara.phone, "", ""))
    thief.open("/signup/")
    give_number(thief)
    thief.at("/signup/code/")
    assert wait_for_sms(thief, "account.sign_up") == ""
    [message] = portal.messages(sara.phone)
    assert "حساب دارید" in message["text"]


def test_recovery_code_is_offered_in_place_of_the_authenticator(visit: Visit) -> None:
    sara = visit(java_script_enabled=False)
    sara.open("/forgot/")
    give_number(sara)
    sara.at("/forgot/codes/")
    sara.button("استفاده از کد بازیابی").click()
    sara.at("/forgot/codes/?method=recovery")
    expect(sara.page.get_by_label("کد بازیابی", exact=True)).to_be_visible()
    expect(sara.page.get_by_label(visitors.TOTP_CODE, exact=True)).to_have_count(0)


def test_axe_finds_nothing_and_nothing_scrolls_sideways(portal: LiveSite, visit: Visit) -> None:
    new = new_visitor(visit)
    page = new.page
    result: list[str] = []

    def look() -> None:
        result.extend(f"{page.url} {fault}" for fault in faults(page))

    new.open(portal.live.manage("invite", "09360000004").strip().replace(portal.url, ""))
    look()
    new.open("/signup/invited/made-up/")
    look()
    new.forgive("404")
    new.open("/signup/")
    look()
    give_number(new)
    new.at("/signup/code/")
    page.get_by_label(visitors.SMS_CODE, exact=True).fill("000000")
    new.button(visitors.SUBMIT).click()
    expect(page.locator("#code-error")).to_be_visible()
    look()
    page.get_by_label(visitors.SMS_CODE, exact=True).fill(wait_for_sms(new, "account.sign_up"))
    new.button(visitors.SUBMIT).click()
    new.at("/signup/password/")
    page.get_by_label("گذرواژه", exact=True).fill("qwertyuiop")
    new.button("باز کردن حساب").click()
    expect(page.locator("#password-error")).to_be_visible()
    look()
    page.get_by_label("گذرواژه", exact=True).fill("salam1405")
    expect(page.get_by_text("متوسط", exact=True)).to_be_visible()
    look()
    new.open("/forgot/")
    look()
    give_number(new)
    for path in ("/forgot/codes/", "/forgot/codes/?method=recovery"):
        new.open(path)
        look()
    assert result == []
