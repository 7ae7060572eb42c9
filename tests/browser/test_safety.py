"""Keeping an account safe in real browsers: sessions, trust, freezing by a click and by a link, preferences."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.accessibility import CROSSED, DESKTOP, LOOKS, PHONE, faults
from tests.support.live_site import LiveSite
from tests.support.production import ROOT
from tests.support.visitors import SUBMIT, TOTP_CODE, Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
FREEZE = "مسدودسازی فوری حساب"
LINK = """
from accounts import audit
from accounts.models import Notice, User
from accounts.notifications import links
from apikeys.policy.events import KeyEvent
user = User.objects.get(phone="{phone}")
event = audit.record(KeyEvent.CREATED, None, customer=user)
print(links.token_of(Notice.objects.get(event=event, channel="sms")))
"""


def scripts(site: LiveSite, code: str) -> str:
    """What ``code`` prints in the live portal's own environment."""
    return site.live.manage("shell", "--no-imports", "-c", code).strip()


def password_again(sara: Visitor) -> None:
    """A login in the same browser after its session was lost, up to the answer to the password."""
    sara.lose_session()
    sara.open("/login/")
    sara.give_password()


def confirm(sara: Visitor) -> None:
    """Both codes on the page that asks for them."""
    sara.page.locator("[name=sms_code]").fill(sara.sms_code())
    sara.page.locator("[name=totp_code]").fill(sara.customer.totp())
    sara.page.locator("button[form=verify]").click()
    sara.at("/dashboard/")


def one_code(sara: Visitor) -> None:
    """The authenticator's code on the page that ends other sessions."""
    sara.at("/sessions/end/?which=*")
    sara.page.locator("[name=code]").fill(sara.customer.totp())
    sara.page.locator("main button.danger-quiet").click()
    sara.at("/sessions/")


def theme_of(page: Page) -> str | None:
    return page.locator("html").get_attribute("data-theme")


def test_one_browser_ends_the_other_at_once(visit: Visit) -> None:
    here = visit()
    there = visit(here.customer)
    here.log_in()
    there.log_in()
    here.open("/sessions/")
    expect(here.page.locator("[name=end]")).to_have_count(1)
    here.page.locator("[name=end]").click()
    one_code(here)
    expect(here.page.locator("[name=end]")).to_have_count(0)
    there.page.reload()
    there.at("/login/?next=*")
    here.open("/dashboard/")
    here.at("/dashboard/")


def test_ending_all_others_leaves_this_browser_alone_with_the_account(visit: Visit) -> None:
    here = visit()
    others = [visit(here.customer), visit(here.customer)]
    here.log_in()
    for other in others:
        other.log_in()
    here.open("/sessions/")
    expect(here.page.locator("[name=end]")).to_have_count(2)
    here.page.locator("[name=others]").click()
    one_code(here)
    expect(here.page.locator("[name=end]")).to_have_count(0)
    for other in others:
        other.open("/keys/")
        other.at("/login/?next=*")


@pytest.mark.parametrize("scripts_on", [True, False], ids=["scripts", "no scripts"])
def test_a_trusted_browser_logs_in_without_a_code_until_it_logs_out(visit: Visit, scripts_on: bool) -> None:
    sara = visit(java_script_enabled=scripts_on)
    sara.open("/login/")
    sara.give_password()
    sara.page.locator("[name=trust]").check()
    sara.page.get_by_label(TOTP_CODE, exact=True).fill(sara.customer.totp())
    sara.button(SUBMIT).click()
    sara.at("/dashboard/")
    password_again(sara)
    sara.at("/dashboard/")
    sara.page.locator(".topbar details.menu summary").click()
    sara.page.locator(".topbar form[action='/logout/'] button").click()
    sara.at("/login/")
    sara.give_password()
    sara.at("/login/second-factor/")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_from_any_page_two_clicks_freeze_and_both_codes_thaw(visit: Visit, size: dict[str, int]) -> None:
    sara = visit(viewport=size)
    other = visit(sara.customer)
    sara.log_in()
    other.log_in()
    sara.open("/activity/")
    sara.page.locator("a[href='/freeze/']:visible").first.click()
    sara.at("/freeze/")
    sara.page.locator("main button.danger").click()
    sara.at("/frozen/")
    other.page.reload()
    other.at("/login/?next=*")
    sara.open("/login/")
    sara.log_in()
    sara.page.locator(".notice.bar a[href='/freeze/']").click()
    sara.page.locator("form[action='/thaw/'] button").click()
    sara.at("/thaw/")
    confirm(sara)
    expect(sara.page.locator(".notice.bar")).to_have_count(0)


def test_one_click_on_the_dashboard_freezes(visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    sara.page.locator("main").get_by_role("button", name=FREEZE, exact=True).click()
    sara.at("/frozen/")
    sara.open("/dashboard/")
    sara.at("/login/?next=*")


def test_a_link_of_a_notice_freezes_in_a_browser_that_knows_nobody(portal: LiveSite, visit: Visit) -> None:
    sara, other = visit(), visit()
    sara.log_in()
    token = scripts(portal, LINK.format(phone=sara.customer.phone))
    other.open(f"/n/{token}/")
    sara.page.reload()
    sara.at("/dashboard/")
    other.page.locator("main button.danger").click()
    other.at("/frozen/")
    sara.page.reload()
    sara.at("/login/?next=*")
    other.open(f"/n/{token}/")
    expect(other.page.locator("main button.danger")).to_have_count(0)
    other.forgive("404")
    # The demo prints the text messages themselves, links included.
    lines = portal.live.log.read_text(encoding="utf-8").splitlines()
    refused = [line for line in lines if "django.request" in line]
    assert any("/n/(hidden)/" in line for line in refused)
    assert not [line for line in refused if token in line]


def test_quarantine_is_told_on_every_page_and_ended_by_both_codes(portal: LiveSite, visit: Visit) -> None:
    sara = visit()
    sara.log_in()
    code = "from accounts.actions import freeze; from accounts.models import User; "
    scripts(portal, f"{code}freeze.quarantine(User.objects.get(phone='{sara.customer.phone}'))")
    sara.open("/keys/")
    sara.page.locator("form[action='/quarantine/'] button").click()
    sara.at("/quarantine/")
    confirm(sara)
    expect(sara.page.locator("form[action='/quarantine/']")).to_have_count(0)


@pytest.mark.parametrize("scripts_on", [True, False], ids=["scripts", "no scripts"])
def test_preferences_hold_on_every_page_and_after_the_next_login(visit: Visit, scripts_on: bool) -> None:
    sara = visit(java_script_enabled=scripts_on)
    sara.log_in()
    sara.open("/settings/")
    form = sara.page.locator("#preferences")
    for value in ("dark", "en", "latin"):
        form.locator(f"label:has(input[value={value}])").click()
    form.locator("[name=notices][value=login]").check()
    form.locator("button[type=submit]").click()
    sara.at("/settings/")
    expect(sara.page.locator("html")).to_have_attribute("lang", "en")
    assert theme_of(sara.page) == "dark"
    sara.page.locator(".topbar details.menu summary").click()
    sara.page.locator(".topbar form[action='/logout/'] button").click()
    sara.at("/login/")
    assert theme_of(sara.page) == "dark", "after the logout emptied the browser"
    expect(sara.page.locator("html")).to_have_attribute("lang", "en")
    elsewhere = visit(sara.customer, java_script_enabled=scripts_on)
    elsewhere.log_in()
    assert theme_of(elsewhere.page) == "dark"
    elsewhere.open("/settings/")
    expect(elsewhere.page.locator("[name=notices][value=login]")).to_be_checked()


def test_the_theme_button_writes_what_the_server_draws(visit: Visit) -> None:
    sara = visit()
    sara.open("/login/")
    assert theme_of(sara.page) is None
    sara.page.locator("[data-theme-toggle]").click()
    assert theme_of(sara.page) == "dark"
    # Before any script ran: what the server sent.
    answer = sara.context.request.get(f"{sara.site.url}/login/")
    assert 'data-theme="dark"' in answer.text()
    sara.log_in()
    assert theme_of(sara.page) == "dark"
    sara.page.locator("[data-theme-toggle]").click()
    sara.page.reload()
    assert theme_of(sara.page) == "light"


HOST_COOKIES = """async () => {
  document.cookie = "theme=light; path=/";
  const { theme } = await import("/static/theme.js");
  theme();
  document.querySelector("[data-theme-toggle]").click();
  return document.cookie;
}"""


def test_over_https_the_theme_button_writes_the_cookie_of_this_host_alone(browser: Browser) -> None:
    """The demo is served over http; so the script is put on a page of an https origin that no server has."""
    context = browser.new_context(color_scheme="light")
    page = '<!doctype html><html lang="fa"><button data-theme-toggle></button>'
    script = (ROOT / "static/js/theme.js").read_text(encoding="utf-8")
    context.route("https://portal.example/", lambda route: route.fulfill(body=page, content_type="text/html"))
    context.route(
        "https://portal.example/static/*",
        lambda route: route.fulfill(body=script, content_type="text/javascript"),
    )
    tab = context.new_page()
    tab.goto("https://portal.example/")
    assert tab.evaluate(HOST_COOKIES) == "__Host-theme=dark"
    context.close()


@pytest.mark.parametrize("language", ["fa", "en"])
def test_pages_are_accessible_in_both_themes_and_fit_320_px(
    portal: LiveSite, visit: Visit, language: str
) -> None:
    sara = visit()
    sara.log_in()
    sara.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
    token = scripts(portal, LINK.format(phone=sara.customer.phone))
    result = {}
    for path in ("/sessions/", "/freeze/", "/frozen/", f"/n/{token}/", "/n/1-x/", "/settings/"):
        sara.open(path)
        result[path] = faults(sara.page, LOOKS if language == "fa" else CROSSED)
    sara.forgive("404")
    assert {path: what for path, what in result.items() if what} == {}
