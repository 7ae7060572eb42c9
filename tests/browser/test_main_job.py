"""The guide's five steps in a real browser, by the names that people see, to a key that a real client signs with."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from binance.error import ClientError
from binance.spot import Spot
from playwright.sync_api import Page, expect

from tests.support import visitors
from tests.support.accessibility import DESKTOP, PHONE
from tests.support.live_site import LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = pytest.mark.browser
MOST_CLICKS, MOST_FIELDS = 6, 4
CALLER = "127.0.0.1"  # from where the client below calls the portal


@contextmanager
def client(site: LiveSite, key: str, secret: str) -> Iterator[Spot]:
    """``binance-connector``, pointed at the portal."""
    spot = Spot(api_key=key, api_secret=secret, base_url=site.url)
    yield spot
    spot.session.close()


def refusal(site: LiveSite, key: str, secret: str) -> tuple[int, int]:
    """HTTP status and Binance's code with which the portal refuses the key."""
    with client(site, key, secret) as spot, pytest.raises(ClientError) as refused:
        spot.api_key_permissions()
    return refused.value.status_code, refused.value.error_code


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def delete_key(visitor: Visitor, name: str) -> None:
    page = visitor.page
    page.get_by_role("link", name=visitors.DELETE, exact=True).click()
    page.get_by_label("برای تایید، نام کلید را بنویسید").fill(name)
    visitor.button(visitors.DELETE).click()
    visitor.at("/keys/")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_five_steps_of_the_guide_end_with_a_key_that_signs_until_it_is_deleted(
    size: dict[str, int], portal: LiveSite, visit: Visit
) -> None:
    sara = visit(viewport=size)
    page = sara.page
    sara.log_in()
    page.locator("main").get_by_role("link", name="مدیریت APIها", exact=True).click()
    sara.at("/keys/")
    page.get_by_label("نام کلید", exact=True).fill("ربات")
    page.get_by_role("button", name="ایجاد API", exact=True).click()
    sara.at("/keys/new/verify/")
    page.get_by_label("کد تایید", exact=True).fill(sara.sms_code())
    page.get_by_label("کد احراز هویت", exact=True).fill(sara.customer.totp())
    page.get_by_role("button", name="ارسال", exact=True).click()
    plates = page.get_by_role("region", name="کلیدها", exact=True)
    plates.get_by_role("button", name="کپی", exact=True).nth(0).click()
    key = clipboard(page)
    plates.get_by_role("button", name="کپی", exact=True).nth(1).click()
    secret = clipboard(page)
    expect(plates.get_by_text("کلید API", exact=True)).to_be_visible()
    expect(plates.get_by_text("کلید مخفی", exact=True)).to_be_visible()
    assert (key, secret) == (page.locator("#api-key").inner_text(), page.locator("#api-secret").inner_text())
    assert page.get_by_role("radio", name="بدون محدودیت", exact=True).is_visible()
    page.get_by_role("checkbox", name="معامله", exact=True).check()
    page.get_by_role("radio", name="دسترسی محدود فقط به IP های قابل اعتماد", exact=True).check()
    page.get_by_label("IP یا شبکه (CIDR)", exact=True).fill(CALLER)
    page.get_by_role("button", name="تایید", exact=True).click()
    expect(page.locator(".chip")).to_have_count(1)
    page.get_by_role("button", name="ذخیره", exact=True).click()
    expect(page.get_by_text("ذخیره شد.", exact=True)).to_be_visible()
    with client(portal, key, secret) as spot:
        answer = spot.api_key_permissions()
    granted = {name: answer[f"enable{name}"] for name in ("Reading", "SpotAndMarginTrading", "Withdrawals")}
    assert granted == {"Reading": True, "SpotAndMarginTrading": True, "Withdrawals": False}
    assert answer["ipRestrict"] is True
    delete_key(sara, "ربات")
    assert refusal(portal, key, secret) == (401, -2015)


def test_dashboard_to_saved_key_takes_at_most_six_clicks_and_four_fields(
    portal: LiveSite, visit: Visit
) -> None:
    sara = visit()
    sara.log_in()
    sara.clicks, sara.fields = 0, set()
    key, secret = sara.make_key("ربات")
    sara.page.get_by_role("checkbox", name=visitors.TRADE, exact=True).check()
    sara.network.fill(CALLER)
    sara.button(visitors.SAVE).click()
    expect(sara.page.get_by_text("ذخیره شد.", exact=True)).to_be_visible()
    assert 5 <= sara.clicks <= MOST_CLICKS
    assert sara.fields == {"name", "sms_code", "totp_code", "network"}
    assert len(sara.fields) <= MOST_FIELDS
    with client(portal, key, secret) as spot:
        assert spot.api_key_permissions()["enableSpotAndMarginTrading"]


def test_guide_works_without_javascript_and_says_what_happens_to_the_secret(
    portal: LiveSite, visit: Visit
) -> None:
    sara = visit(java_script_enabled=False)
    page = sara.page
    sara.log_in()
    key, secret = sara.make_key("ربات")
    expect(
        page.get_by_text("بدون جاوااسکریپت، با زدن هر دکمه‌ای در پایین، کلید مخفی از صفحه می‌رود")
    ).to_be_visible()
    expect(page.get_by_role("button", name="کپی")).to_have_count(0)
    page.get_by_role("checkbox", name=visitors.TRADE, exact=True).check()
    page.get_by_role("radio", name=visitors.TRUSTED, exact=True).check()
    sara.network.fill(CALLER)
    sara.button(visitors.CONFIRM).click()
    expect(page.locator(".chip")).to_have_count(1)
    expect(sara.secret).to_have_count(0)
    sara.button(visitors.SAVE).click()
    expect(page.get_by_text("ذخیره شد.")).to_be_visible()
    with client(portal, key, secret) as spot:
        assert spot.api_key_permissions()["enableSpotAndMarginTrading"]
    delete_key(sara, "ربات")
    assert refusal(portal, key, secret) == (401, -2015)


def test_warning_of_pages_without_javascript_is_not_shown_where_it_runs(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.make_key("ربات")
    expect(sara.page.get_by_text("بدون جاوااسکریپت")).to_be_hidden()


def enrol(visitor: Visitor) -> None:
    """A newcomer's way from the password to the recovery codes."""
    page = visitor.page
    visitor.open("/dashboard/")
    visitor.give_password()
    visitor.at("/enrol/sms/")
    page.get_by_label(visitors.SMS_CODE, exact=True).fill(visitor.sms_code())
    visitor.button(visitors.SUBMIT).click()
    visitor.at("/enrol/totp/")
    visitor.customer.seed = page.locator("#totp-secret").inner_text().replace(" ", "")
    page.get_by_label(visitors.TOTP_CODE, exact=True).fill(visitor.customer.totp())
    visitor.button(visitors.SUBMIT).click()
    visitor.at("/enrol/recovery-codes/")


def test_newcomer_is_led_through_both_factors_to_the_dashboard(portal: LiveSite, visit: Visit) -> None:
    newcomer = visit(portal.newcomer())
    enrol(newcomer)
    for path in ("/dashboard/", "/keys/", "/activity/"):
        newcomer.open(path)
        newcomer.at("/enrol/recovery-codes/")
    newcomer.button("پایان و رفتن به داشبورد").click()
    newcomer.at("/dashboard/")
    newcomer.open("/enrol/totp/")
    newcomer.at("/dashboard/")


def test_newcomer_enrols_without_javascript(portal: LiveSite, visit: Visit) -> None:
    newcomer = visit(portal.newcomer(), java_script_enabled=False)
    enrol(newcomer)
    expect(newcomer.page.locator("#codes li")).to_have_count(10)
    newcomer.button("پایان و رفتن به داشبورد").click()
    newcomer.at("/dashboard/")


def test_recovery_codes_are_copied_downloaded_and_printed(portal: LiveSite, visit: Visit) -> None:
    newcomer = visit(portal.newcomer())
    page = newcomer.page
    page.add_init_script("window.print = () => { window.printed = true; };")
    enrol(newcomer)
    codes = page.locator("#codes li").all_inner_texts()
    newcomer.button("کپی").click()
    expect(page.get_by_text("همهٔ کدها کپی شد")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="دانلود", exact=True).click()
    newcomer.button("چاپ").click()
    assert len(set(codes)) == 10
    assert clipboard(page).splitlines() == codes
    assert download.value.path().read_text(encoding="utf-8").split() == codes
    assert page.evaluate("window.printed") is True


def test_recovery_code_of_the_enrolment_opens_a_later_login_once(portal: LiveSite, visit: Visit) -> None:
    person = portal.newcomer()
    newcomer = visit(person)
    enrol(newcomer)
    code = newcomer.page.locator("#codes li").first.inner_text()
    for works in (True, False):
        later = visit(person)
        later.open("/login/")
        later.give_password()
        later.page.get_by_text("راه‌های دیگر ورود", exact=True).click()
        later.button("استفاده از کد بازیابی").click()
        later.page.get_by_label("کد بازیابی", exact=True).fill(code)
        later.button(visitors.SUBMIT).click()
        if works:
            later.at("/dashboard/")
        else:
            expect(later.page.get_by_role("alert")).to_be_visible()


def test_login_by_sms_leads_to_the_dashboard(visit: Visit) -> None:
    sara = visit()
    sara.open("/login/")
    sara.give_password()
    sara.page.get_by_text("راه‌های دیگر ورود", exact=True).click()
    sara.page.get_by_role("button", name="دریافت کد با پیامک").click()
    sara.at("/login/second-factor/?method=sms")
    sara.page.get_by_label(visitors.SMS_CODE, exact=True).fill(sara.sms_code())
    sara.button(visitors.SUBMIT).click()
    sara.at("/dashboard/")


def test_codes_typed_in_persian_digits_with_spaces_make_the_key(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.name_key("ربات")
    persian = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
    sms, totp = sara.sms_code().translate(persian), sara.customer.totp().translate(persian)
    sara.page.get_by_label(visitors.SMS_CODE, exact=True).fill(f"{sms[:3]} {sms[3:]}")
    sara.page.get_by_label(visitors.TOTP_CODE, exact=True).press_sequentially(totp)
    sara.button(visitors.SUBMIT).click()
    expect(sara.secret).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_template_is_one_click_and_six_lead_from_the_dashboard_to_the_saved_key(
    portal: LiveSite, visit: Visit, scripts: bool
) -> None:
    sara = visit(java_script_enabled=scripts)
    page = sara.page
    sara.log_in()
    sara.clicks = 0
    page.locator("main").get_by_role("link", name=visitors.MANAGEMENT, exact=True).click()
    sara.at("/keys/")
    page.get_by_role("radio", name="ربات معاملاتی", exact=True).click()
    expect(page.get_by_text("ربات از یک جای ثابت کار می‌کند")).to_be_visible()
    page.get_by_label("نام کلید", exact=True).fill("ربات")
    sara.button(visitors.CREATE).click()
    sara.at("/keys/new/verify/")
    sara.give_codes()
    sara.button(visitors.SUBMIT).click()
    expect(sara.secret).to_be_visible()
    expect(page.get_by_role("checkbox", name=visitors.TRADE, exact=True)).to_be_checked()
    expect(page.get_by_role("radio", name=visitors.TRUSTED, exact=True)).to_be_checked()
    expect(page.locator("#expiry")).to_have_value("90")
    assert stored(portal, sara) == (0, "unrestricted", 0)
    sara.network.fill(CALLER)
    sara.button(visitors.SAVE).click()
    expect(page.get_by_text("ذخیره شد.")).to_be_visible()
    assert stored(portal, sara) == (1, "trusted", 1)
    expect(page.locator("[data-changed]")).to_have_count(1 if scripts else 0)
    if scripts:
        expect(page.locator("[data-changed]")).to_be_hidden()
    assert not scripts or 4 <= sara.clicks <= MOST_CLICKS


def stored(portal: LiveSite, visitor: Visitor) -> tuple[object, ...]:
    """Whether the only key of ``visitor`` can trade, its IP policy, and whether it expires."""
    (row,) = portal.sql(
        "SELECT k.can_trade, k.ip_policy, k.expires_at IS NOT NULL FROM apikeys_apikey k "
        "JOIN accounts_user u ON u.id = k.owner_id WHERE u.phone = ?",
        visitor.customer.phone,
    )
    return tuple(row)
