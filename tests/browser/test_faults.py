"""What people do beside the way: double clicks, Back, refresh, and a session that ran out."""

import re

import pytest
from playwright.sync_api import expect

from tests.support import visitors
from tests.support.live_site import LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
SCRIPTS = pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no-javascript"])


def sent(visitor: Visitor) -> int:
    """How many codes; notices go out as well."""
    return sum(bool(message["code"]) for message in visitor.site.messages(visitor.customer.phone))


# Double clicks


@SCRIPTS
def test_double_clicks_all_the_way_make_one_key_with_one_message(visit: Visit, scripts: bool) -> None:
    sara = visit(java_script_enabled=scripts)
    page = sara.page
    sara.open("/login/")
    page.get_by_label("شمارهٔ موبایل", exact=True).fill(sara.customer.phone)
    page.get_by_label("گذرواژه", exact=True).fill(sara.customer.password)
    sara.button("ورود").dblclick()
    sara.at("/login/second-factor/")
    page.get_by_label(visitors.TOTP_CODE, exact=True).fill(sara.customer.totp())
    # Without scripts a second click here may come with the session id that the first one just ended (it changes at each
    # step, against fixation), and leads to a new login: nothing is lost but the code.
    sara.button(visitors.SUBMIT).click(click_count=2 if scripts else 1)
    sara.at("/dashboard/")
    page.locator("main").get_by_role("link", name=visitors.MANAGEMENT, exact=True).dblclick()
    sara.at("/keys/")
    page.get_by_label("نام کلید", exact=True).fill("ربات")
    sara.button(visitors.CREATE).dblclick()
    sara.at("/keys/new/verify/")
    sara.give_codes()
    sara.button(visitors.SUBMIT).dblclick()
    page.wait_for_url(re.compile("/keys/[0-9a-f-]{36}/$"))
    assert (sara.keys(), sent(sara)) == (1, 1)
    expect(sara.secret).to_be_visible()
    sara.network.fill("198.51.100.1")
    sara.button(visitors.SAVE).dblclick()
    expect(page.get_by_text("ذخیره شد.")).to_be_visible()
    page.get_by_role("link", name=visitors.DELETE, exact=True).dblclick()
    page.get_by_label("برای تایید، نام کلید را بنویسید").fill("ربات")
    sara.button(visitors.DELETE).dblclick()
    sara.at("/keys/")
    expect(page.get_by_text("هنوز کلیدی نساخته‌اید.", exact=True)).to_be_visible()
    assert (sara.keys(), sent(sara)) == (1, 1)


def test_double_clicks_in_enrolment_end_on_the_dashboard(portal: LiveSite, visit: Visit) -> None:
    newcomer = visit(portal.newcomer())
    page = newcomer.page
    newcomer.open("/login/")
    newcomer.give_password()
    page.get_by_label(visitors.SMS_CODE, exact=True).fill(newcomer.sms_code())
    newcomer.button(visitors.SUBMIT).dblclick()
    newcomer.at("/enrol/totp/")
    newcomer.customer.seed = page.locator("#totp-secret").inner_text().replace(" ", "")
    page.get_by_label(visitors.TOTP_CODE, exact=True).fill(newcomer.customer.totp())
    newcomer.button(visitors.SUBMIT).dblclick()
    newcomer.at("/enrol/recovery-codes/")
    expect(page.locator("#codes li")).to_have_count(10)
    newcomer.button("پایان و رفتن به داشبورد").dblclick()
    newcomer.at("/dashboard/")
    assert sent(newcomer) == 1


def test_resend_is_held_back_and_sends_nothing_while_the_countdown_runs(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.name_key("ربات")
    resend = sara.page.get_by_role("button", name=re.compile("ارسال دوبارهٔ کد"))
    expect(resend).to_have_attribute("aria-disabled", "true")
    resend.dblclick(force=True)
    sara.at("/keys/new/verify/")
    assert sent(sara) == 1


# Back and refresh


def test_refresh_of_the_codes_page_sends_no_second_message(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.name_key("ربات")
    sara.page.reload()
    sara.at("/keys/new/verify/")
    assert sent(sara) == 1
    sara.give_codes()
    sara.button(visitors.SUBMIT).click()
    expect(sara.secret).to_be_visible()


def test_back_from_the_codes_and_the_same_name_again_sends_no_second_message(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.name_key("ربات")
    sara.page.go_back()
    sara.at("/keys/")
    sara.page.get_by_label("نام کلید", exact=True).fill("ربات")
    sara.button(visitors.CREATE).click()
    sara.at("/keys/new/verify/")
    assert sent(sara) == 1
    sara.give_codes()
    sara.button(visitors.SUBMIT).click()
    expect(sara.secret).to_be_visible()


def test_refresh_does_not_show_the_secret_again(visit: Visit) -> None:
    sara, secret = visitors.to_settings(visit)
    sara.page.reload()
    expect(sara.page.get_by_text("کلید مخفی یک بار، هنگام ساخت کلید، نمایش داده شد.")).to_be_visible()
    expect(sara.secret).to_have_count(0)
    assert secret not in sara.page.content()


def test_back_to_the_codes_after_the_key_was_made_leads_to_the_key_without_its_secret(visit: Visit) -> None:
    sara, secret = visitors.to_settings(visit)
    address = sara.page.url
    sara.page.go_back()
    sara.page.wait_for_url(address)
    assert secret not in sara.page.content()
    assert sara.keys() == 1


def test_codes_page_left_open_in_another_tab_leads_to_the_key_when_it_is_sent(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.name_key("ربات")
    sms = sara.sms_code()
    other = sara.context.new_page()
    other.goto(sara.page.url)
    sara.give_codes()
    sara.button(visitors.SUBMIT).click()
    expect(sara.secret).to_be_visible()
    other.get_by_label(visitors.SMS_CODE, exact=True).fill(sms)
    other.get_by_label(visitors.TOTP_CODE, exact=True).fill("000000")
    other.get_by_role("button", name=visitors.SUBMIT, exact=True).click()
    other.wait_for_url(sara.page.url)
    assert sara.keys() == 1


def test_back_from_another_page_does_not_bring_the_secret_back(visit: Visit) -> None:
    sara, secret = visitors.to_settings(visit)
    address = sara.page.url
    sara.open("/activity/")
    sara.page.go_back()
    sara.page.wait_for_url(address)
    assert secret not in sara.page.content()


def test_back_to_a_deleted_key_says_that_it_is_deleted(visit: Visit) -> None:
    sara, _secret = visitors.to_settings(visit)
    address = sara.page.url
    sara.page.get_by_role("link", name=visitors.DELETE, exact=True).click()
    sara.page.get_by_label("برای تایید، نام کلید را بنویسید").fill("ربات")
    sara.button(visitors.DELETE).click()
    sara.at("/keys/")
    sara.page.goto(address)
    expect(sara.page.get_by_text("همهٔ درخواست‌ها رد می‌شود و کلید را نمی‌توان برگرداند.")).to_be_visible()
    expect(sara.button(visitors.SAVE)).to_have_count(0)


def test_wrong_name_deletes_nothing(visit: Visit) -> None:
    sara, _secret = visitors.to_settings(visit)
    sara.page.get_by_role("link", name=visitors.DELETE, exact=True).click()
    sara.page.get_by_label("برای تایید، نام کلید را بنویسید").fill("ربات دیگر")
    sara.button(visitors.DELETE).click()
    expect(sara.page.get_by_role("alert")).to_be_visible()
    sara.open("/keys/")
    expect(sara.page.locator("table.keys tbody tr")).to_have_count(1)


def test_refresh_and_back_at_the_second_factor_keep_the_login_going(visit: Visit) -> None:
    sara = visit()
    sara.open("/login/")
    sara.give_password()
    sara.at("/login/second-factor/")
    sara.page.reload()
    sara.page.go_back()
    sara.give_password()
    sara.at("/login/second-factor/")
    sara.page.get_by_label(visitors.TOTP_CODE, exact=True).fill(sara.customer.totp())
    sara.button(visitors.SUBMIT).click()
    sara.at("/dashboard/")
    sara.page.go_back()
    sara.at("/dashboard/")


# A session that ran out


def test_name_typed_survives_the_login_after_the_session_ran_out(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.open("/keys/")
    sara.page.get_by_label("نام کلید", exact=True).fill("ربات معاملاتی")
    sara.lose_session()
    sara.button(visitors.CREATE).click()
    sara.at("/login/?next=*")
    sara.log_in("/keys/")
    expect(sara.page.get_by_label("نام کلید", exact=True)).to_have_value("ربات معاملاتی")


@SCRIPTS
def test_settings_typed_survive_the_login_after_the_session_ran_out(visit: Visit, scripts: bool) -> None:
    sara = visit(java_script_enabled=scripts)
    sara.log_in()
    sara.make_key("ربات")
    page = sara.page
    path = page.url.removeprefix(sara.site.url)
    page.get_by_role("checkbox", name=visitors.TRADE, exact=True).check()
    page.get_by_role("radio", name=visitors.TRUSTED, exact=True).check()
    sara.network.fill("198.51.100.1")
    sara.button(visitors.CONFIRM).click()
    expect(page.locator(".chip")).to_have_count(1)
    sara.network.fill("198.51.100.2")
    sara.lose_session()
    sara.button(visitors.SAVE).click()
    sara.at("/login/?next=*")
    sara.log_in(f"{path}settings/")
    expect(page.get_by_role("checkbox", name=visitors.TRADE, exact=True)).to_be_checked()
    expect(page.get_by_role("radio", name=visitors.TRUSTED, exact=True)).to_be_checked()
    expect(sara.network).to_have_value("198.51.100.2")
    assert sara.chips() == ["198.51.100.1"]


def test_name_survives_a_session_that_ran_out_at_the_codes_and_the_codes_do_not(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.name_key("ربات")
    sara.give_codes()
    typed = sara.page.get_by_label(visitors.SMS_CODE, exact=True).input_value()
    sara.lose_session()
    sara.button(visitors.SUBMIT).click()
    sara.at("/login/?next=*")
    assert typed not in sara.page.content()
    sara.log_in("/keys/")
    expect(sara.page.get_by_label("نام کلید", exact=True)).to_have_value("ربات")
    assert typed not in sara.page.content()
    assert sara.keys() == 0
