"""Every change of the settings in a real browser, by the names that people see."""

import re
import time
from email import message_from_bytes, policy

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import PHONE
from tests.support.live_site import LiveSite
from tests.support.visitors import SMS_CODE, SUBMIT, TOTP_CODE, Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
NEW_PASSWORD = "forty purple kettles hum"
CHANGE_PASSWORD, CHANGE_NUMBER, SET_UP_AGAIN, MAKE_ANEW = (
    "تغییر گذرواژه",
    "تغییر شماره",
    "تنظیم دوباره",
    "ساخت دوباره",
)
GO_ON = "ادامه"
PATIENCE = 20.0


def at_settings(visit: Visit, **options: object) -> Visitor:
    sara = visit(**options)
    sara.log_in()
    sara.open("/settings/")
    return sara


def sms(site: LiveSite, phone: str) -> str:
    """The newest code that was sent to ``phone``; it may be on its way, and notices may come between."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        codes = [str(message["code"]) for message in site.messages(phone) if message["code"]]
        if codes:
            return codes[-1]
        time.sleep(0.05)
    raise LookupError(phone)


def approve(sara: Visitor, path: str) -> None:
    """Both codes on the page that stands open, and on to ``path``."""
    sara.page.get_by_label(SMS_CODE, exact=True).fill(sms(sara.site, sara.customer.phone))
    sara.page.get_by_label(TOTP_CODE, exact=True).fill(sara.customer.totp())
    sara.button(SUBMIT).click()
    sara.at(path)


def seed_on(sara: Visitor) -> str:
    return sara.page.locator("#totp-secret").inner_text().replace(" ", "")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_password_is_changed_and_the_new_one_logs_in(visit: Visit, scripts: bool) -> None:
    sara = at_settings(visit, java_script_enabled=scripts)
    sara.button(CHANGE_PASSWORD).click()
    sara.at("/settings/password/")
    approve(sara, "/settings/password/new/")
    sara.page.get_by_label("گذرواژهٔ فعلی", exact=True).fill(sara.customer.password)
    sara.page.get_by_label("گذرواژهٔ تازه", exact=True).fill(NEW_PASSWORD)
    sara.button(CHANGE_PASSWORD).click()
    sara.at("/settings/")
    sara.customer.password = NEW_PASSWORD
    sara.context.clear_cookies()
    sara.log_in()


def test_number_is_changed_and_the_new_one_logs_in(portal: LiveSite, visit: Visit) -> None:
    sara = at_settings(visit, viewport=PHONE)
    old, new = sara.customer.phone, "+989357654321"
    sara.page.get_by_role("link", name=CHANGE_NUMBER, exact=True).click()
    sara.page.get_by_label("شمارهٔ موبایل تازه", exact=True).fill("۰۹۳۵ ۷۶۵ ۴۳۲۱")
    sara.button(GO_ON).click()
    sara.at("/settings/phone/codes/")
    assert any(new in message["text"] for message in portal.messages(old))
    approve(sara, "/settings/phone/confirm/")
    sara.customer.phone = new
    sara.page.get_by_label(SMS_CODE, exact=True).fill(sms(portal, new))
    sara.button(SUBMIT).click()
    sara.at("/settings/")
    expect(sara.page.locator(".page-head")).to_contain_text("0935•••4321")
    sara.context.clear_cookies()
    sara.log_in()


def test_authenticator_is_set_up_again_and_the_new_one_logs_in(visit: Visit) -> None:
    sara = at_settings(visit)
    sara.button(SET_UP_AGAIN).click()
    sara.at("/settings/totp/")
    approve(sara, "/settings/totp/new/")
    sara.customer.seed, sara.customer.last_step = seed_on(sara), 0
    sara.page.get_by_label(TOTP_CODE, exact=True).fill(sara.customer.totp())
    sara.button(SUBMIT).click()
    sara.at("/settings/")
    sara.context.clear_cookies()
    sara.log_in()


def test_recovery_codes_are_made_anew_and_one_of_them_replaces_a_lost_authenticator(visit: Visit) -> None:
    sara = at_settings(visit)
    sara.button(MAKE_ANEW).click()
    sara.at("/settings/recovery-codes/")
    approve(sara, "/settings/recovery-codes/new/")
    codes = sara.page.locator("#codes li").all_inner_texts()
    assert len(codes) == 10
    sara.page.reload()
    expect(sara.page.locator("#codes")).to_have_count(0)

    sara.context.clear_cookies()
    sara.open("/login/")
    sara.give_password()
    sara.at("/login/second-factor/")
    sara.page.locator("details.more summary").click()
    sara.button("استفاده از کد بازیابی").click()
    sara.page.get_by_label("کد بازیابی", exact=True).fill(codes[0])
    sara.button("برنامهٔ احراز هویت را گم کرده‌ام").click()
    sara.at("/enrol/totp/replace/")
    sara.customer.seed, sara.customer.last_step = seed_on(sara), 0
    sara.page.get_by_label(TOTP_CODE, exact=True).fill(sara.customer.totp())
    sara.button(SUBMIT).click()
    sara.at("/dashboard/")


def mail_to(portal: LiveSite, address: str) -> str:
    """The text of the mail to ``address``, as the demo writes it into files; it is sent after the answer."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for path in (portal.live.data_dir / "mail").glob("*"):
            for raw in path.read_bytes().split(b"-" * 79):
                message = message_from_bytes(raw.lstrip(), policy=policy.default)
                if message["To"] == address:
                    return str(message.get_content())
        time.sleep(0.05)
    raise LookupError(address)


def test_email_is_confirmed_by_the_link_that_goes_to_it(portal: LiveSite, visit: Visit) -> None:
    sara = at_settings(visit)
    sara.page.get_by_role("link", name="افزودن ایمیل", exact=True).click()
    sara.page.get_by_label("ایمیل تازه", exact=True).fill("sara@example.com")
    sara.button(GO_ON).click()
    sara.at("/settings/email/codes/")
    approve(sara, "/settings/")
    result = re.search(r"/settings/email/confirm/\S+", mail_to(portal, "sara@example.com"))
    assert result
    sara.open(result[0])
    sara.button("تایید ایمیل").click()
    sara.at("/settings/")
    expect(sara.page.locator(".page-head")).to_contain_text("sara@example.com")


def test_lost_phone_waits_a_day_and_is_stopped_by_a_click(portal: LiveSite, visit: Visit) -> None:
    sara = at_settings(visit)
    sara.button(MAKE_ANEW).click()
    sara.at("/settings/recovery-codes/")
    approve(sara, "/settings/recovery-codes/new/")
    code = sara.page.locator("#codes li").first.inner_text()
    sara.open("/settings/phone/")
    sara.page.get_by_role("link", name="گوشی‌ام را گم کرده‌ام", exact=True).click()
    sara.page.get_by_label("شمارهٔ موبایل تازه", exact=True).fill("09351112233")
    sara.page.get_by_label("کد بازیابی", exact=True).fill(code)
    sara.page.get_by_label(TOTP_CODE, exact=True).fill(sara.customer.totp())
    sara.button(SUBMIT).click()
    sara.at("/settings/phone/confirm/")
    sara.page.get_by_label(SMS_CODE, exact=True).fill(sms(portal, "+989351112233"))
    sara.button(SUBMIT).click()
    sara.at("/settings/")
    sara.button("توقف این تغییر").click()
    expect(sara.button("توقف این تغییر")).to_have_count(0)
