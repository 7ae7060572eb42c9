"""Every page in both themes and both languages: nothing that axe-core finds, nothing that scrolls sideways on 320 px.

One walk through the portal for each language looks at all pages; the tests are its findings, page by page.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.accessibility import CROSSED, DESKTOP, LOOKS, NARROW, Look, dress, violations, wider
from tests.support.live_site import LiveSite
from tests.support.visitors import Visitor, Windows, new_visitor

pytestmark = pytest.mark.browser
#: 50 letters that give no chance to break a line, and the longest address there is.
LONG_NAME, LONG_NETWORK = "W" * 50, "2001:db8:aaaa:bbbb:cccc:dddd:eeee:fff0/124"
#: The picture of the README, which ``make screenshots`` takes; it keeps those of all pages in directories beside it.
README_PICTURE = "reveal"
PICTURED_NAME = "ربات معاملاتی"
PAGES = """
    login login-refused enrol-sms enrol-totp recovery-codes dashboard-empty keys-empty keys-refused verify
    verify-refused reveal reveal-refused saved detail settings usage signing danger
    list dashboard verify-change delete activity sms-inbox not-found
    recovery-codes-again second-factor second-factor-sms second-factor-recovery
""".split()
#: Attributes and elements without markup in which a sentence's `<bdi>` arrived as text.
MARKUP = """() => [...document.querySelectorAll("*")].flatMap((element) => [
  ...[...element.attributes].map((one) => one.value),
  ...(element.matches("title, option, textarea") ? [element.textContent] : []),
]).filter((text) => /<\\/?bdi/.test(text))"""


@dataclass
class Findings:
    """What was found on one page: axe's words by theme, the sizes of what is wider than 320 px, stray markup."""

    axe: dict[str, str] = field(default_factory=dict)
    sideways: str = ""
    markup: list[str] = field(default_factory=list)


class Tour:
    """One visitor who stops at every page."""

    def __init__(self, visitor: Visitor, language: str) -> None:
        self.visitor, self.language = visitor, language
        self.page = visitor.page
        self.findings: dict[str, Findings] = {}
        target = os.environ.get("PORTAL_TEST_SCREENSHOTS")
        self.pictures = Path(target) if target and language == "fa" else None
        self.key_name = PICTURED_NAME if self.pictures else LONG_NAME

    def stop(self, name: str) -> None:
        """Looks at the page as it stands: light on a desk in Persian, dark on a phone in English, and on the narrowest
        phone in both. Letters change neither colours nor what the theme does to a layout."""
        findings = self.findings[name] = Findings()
        looks = LOOKS + CROSSED if self.pictures else LOOKS[:1] if self.language == "fa" else LOOKS[1:]
        for look in looks:
            dress(self.page, look)
            kind = "desktop" if look[1] is DESKTOP else "phone"
            findings.axe[f"{look[0]}-{kind}"] = violations(self.page)
            self.picture(name, look)
        dress(self.page, ("light", NARROW))
        findings.sideways = wider(self.page)
        findings.markup = self.page.evaluate(MARKUP)
        dress(self.page, ("light", DESKTOP))

    def picture(self, name: str, look: Look) -> None:
        if self.pictures and name == README_PICTURE and look == LOOKS[0]:
            # The window as high as the page: what sticks to the window's edges then stands at the page's.
            height = self.page.evaluate("document.documentElement.scrollHeight")
            self.page.set_viewport_size({**DESKTOP, "height": max(DESKTOP["height"], height)})  # type: ignore[typeddict-item]
            self.page.screenshot(path=self.pictures / f"{name}.png")

    def send(self, stop: str = "", **fields: str) -> None:
        """Fills the page's form by the names of its fields and sends it; then stops at what comes."""
        for name, value in fields.items():
            self.page.locator(f"main [name={name}]").fill(value)
        self.page.locator("main button.primary").first.click()
        if stop:
            self.stop(stop)

    def visit(self, path: str, stop: str) -> None:
        self.visitor.open(path)
        self.stop(stop)


def enrolment(tour: Tour) -> None:
    """From the login page to the dashboard of somebody who has nothing yet."""
    sara = tour.visitor
    tour.visit("/login/", "login")
    tour.send("login-refused", phone=sara.customer.phone, password="wrong")
    tour.send(phone=sara.customer.phone, password=sara.customer.password)
    sara.at("/enrol/sms/")
    tour.stop("enrol-sms")
    tour.send(code=sara.sms_code())
    sara.at("/enrol/totp/")
    tour.stop("enrol-totp")
    sara.customer.seed = tour.page.locator("#totp-secret").inner_text().replace(" ", "")
    tour.send(code=sara.customer.totp())
    sara.at("/enrol/recovery-codes/")
    tour.stop("recovery-codes")
    tour.page.reload()
    tour.stop("recovery-codes-again")
    tour.send()
    sara.at("/dashboard/")
    tour.stop("dashboard-empty")


def creation(tour: Tour) -> str:
    """From the empty list to the settings of a new key, whose path is returned."""
    sara, page = tour.visitor, tour.page
    tour.visit("/keys/", "keys-empty")
    tour.send("keys-refused", name="\u200c")
    tour.send(name=tour.key_name)
    sara.at("/keys/new/verify/")
    tour.stop("verify")
    tour.send(sms_code="000000" if sara.sms_code() != "000000" else "111111", totp_code="000000")
    page.locator("main .notice[role=alert]").wait_for()
    tour.stop("verify-refused")
    tour.send(sms_code=sara.sms_code(), totp_code=sara.customer.totp())
    page.locator("#api-secret").wait_for()
    tour.stop("reveal")
    page.locator("#network").fill(f"{LONG_NETWORK} 198.51.100.77/28 10.0.0.1 1.2.3.4.5")
    page.locator("#add-network").click()
    page.locator("#network-error").wait_for()
    tour.stop("reveal-refused")
    page.locator("#network").fill("")
    page.locator("#save").click()
    page.locator("#try-title").wait_for()
    tour.stop("saved")
    return page.url.removeprefix(sara.site.url)


def afterwards(tour: Tour, path: str) -> None:
    """What somebody with a key sees."""
    sara, page = tour.visitor, tour.page
    tour.visit(path, "detail")
    for name in ("settings", "usage", "signing", "danger"):
        tour.visit(f"{path}{name}/", name)
    tour.visit("/keys/", "list")
    tour.visit("/dashboard/", "dashboard")
    sara.open(f"{path}settings/")
    page.locator("[name=permissions][value=withdraw]").check()
    page.locator("#save").click()
    sara.at(f"{path}verify/")
    tour.stop("verify-change")
    tour.visit(f"{path}delete/", "delete")
    tour.visit("/activity/", "activity")
    tour.visit("/demo/sms/", "sms-inbox")
    tour.visit("/nothing/", "not-found")
    sara.forgive("404")


def second_login(tour: Tour) -> None:
    """The three ways of the second factor."""
    sara = tour.visitor
    sara.context.clear_cookies(name="session")
    sara.open("/login/")
    tour.send(phone=sara.customer.phone, password=sara.customer.password)
    sara.at("/login/second-factor/")
    tour.stop("second-factor")
    tour.visit("/login/second-factor/?method=sms", "second-factor-sms")
    tour.visit("/login/second-factor/?method=recovery", "second-factor-recovery")


@pytest.fixture(scope="module")
def tour(portal: LiveSite, windows: Windows) -> Callable[[str], Tour]:
    """``tour("fa")`` has been everywhere, in that language."""
    tours: dict[str, Tour] = {}

    def take(language: str) -> Tour:
        if language not in tours:
            visitor = new_visitor(portal, windows, portal.newcomer())
            visitor.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
            new = Tour(visitor, language)
            enrolment(new)
            afterwards(new, creation(new))
            second_login(new)
            visitor.leave()
            tours[language] = new
        return tours[language]

    return take


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("language", ["fa", "en"])
def test_axe_finds_nothing_in_either_theme(tour: Callable[[str], Tour], language: str, name: str) -> None:
    assert {look: report for look, report in tour(language).findings[name].axe.items() if report} == {}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("language", ["fa", "en"])
def test_page_does_not_scroll_sideways_on_320_px(
    tour: Callable[[str], Tour], language: str, name: str
) -> None:
    assert tour(language).findings[name].sideways == ""


@pytest.mark.parametrize("language", ["fa", "en"])
def test_no_attribute_shows_markup(tour: Callable[[str], Tour], language: str) -> None:
    pages = tour(language).findings
    assert {name: findings.markup for name, findings in pages.items() if findings.markup} == {}


@pytest.mark.parametrize("language", ["fa", "en"])
def test_browser_has_nothing_to_complain_about_on_any_page(
    tour: Callable[[str], Tour], language: str
) -> None:
    assert tour(language).visitor.complaints == []


@pytest.mark.parametrize("language", ["fa", "en"])
def test_tour_stops_at_every_page_it_names(tour: Callable[[str], Tour], language: str) -> None:
    assert sorted(tour(language).findings) == sorted(PAGES)
