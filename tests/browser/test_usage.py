"""A program that moves to another address, in a real browser: why it is refused, and the two ways to let it in."""

import re
import time
from typing import Any

import pytest
from binance.error import ClientError
from binance.spot import Spot
from playwright.sync_api import expect

from tests.support import visitors
from tests.support.accessibility import DESKTOP, LOOKS, PHONE, dress, faults, violations, wider
from tests.support.live_site import LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
ELSEWHERE = "192.0.2.1"
CALLER = "127.0.0.1"  # from where the programs below call the portal
PATIENCE_SECONDS = 20
WAYS: list[dict[str, Any]] = [
    {"viewport": DESKTOP},
    {"viewport": PHONE},
    {"viewport": PHONE, "java_script_enabled": False},
]


def restricted_key(portal: LiveSite, visitor: Visitor) -> tuple[str, Spot]:
    """Logged in, English; the path of a key that only works elsewhere, and a program with its secret."""
    visitor.log_in()
    key, secret = visitor.make_key("bot")
    path = visitor.page.url.removeprefix(portal.url)
    visitor.network.fill(ELSEWHERE)
    visitor.button(visitors.SAVE).click()
    expect(visitor.page.get_by_text("ذخیره شد.")).to_be_visible()
    visitor.context.add_cookies([{"name": "language", "value": "en", "url": portal.url}])
    return path, Spot(api_key=key, api_secret=secret, base_url=portal.url)


def is_refused(portal: LiveSite, program: Spot) -> None:
    """The first refused request of a key; waits for its record and for the question of its address.

    Both are written beside the answer, one after the other: a page opened between them has no banner.
    """
    before = noted(portal)
    with pytest.raises(ClientError) as refused:
        program.api_key_permissions()
    assert (refused.value.status_code, refused.value.error_code) == (401, -2015)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(now > then for now, then in zip(noted(portal), before, strict=True)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def noted(portal: LiveSite) -> list[int]:
    """How many rejections, and how many questions of new addresses, are in the database."""
    return [
        portal.sql(f"SELECT count(*) FROM {table}")[0][0]
        for table in ("apikeys_refusal", "apikeys_rescuerequest")
    ]


def give_codes(visitor: Visitor) -> None:
    visitor.page.get_by_label("Verification code", exact=True).fill(visitor.sms_code())
    visitor.page.get_by_label("Authenticator code", exact=True).fill(visitor.customer.totp())
    visitor.button("Submit").click()


@pytest.mark.parametrize("way", WAYS, ids=["desktop", "phone", "without scripts"])
def test_a_refused_request_is_explained_and_its_address_added_with_both_codes(
    portal: LiveSite, visit: Visit, way: dict[str, Any]
) -> None:
    sara = visit(**way)
    page = sara.page
    path, program = restricted_key(portal, sara)
    is_refused(portal, program)
    sara.open(path + "usage/")
    reasons = page.get_by_role("region", name="Why was I refused?")
    row = reasons.get_by_role("row").filter(has_text=CALLER)
    expect(row).to_contain_text("This IP is not in the key's list")
    reasons.get_by_role("button", name="Add this IP").click()
    sara.at(f"{path}verify/")
    expect(page.get_by_role("listitem").filter(has_text=CALLER)).to_be_visible()
    give_codes(sara)
    sara.at(path)
    assert program.api_key_permissions()["ipRestrict"] is True
    sara.open(path + "usage/")
    expect(reasons.get_by_role("button", name="Add this IP")).to_have_count(0)
    program.session.close()


@pytest.mark.parametrize("way", WAYS, ids=["desktop", "phone", "without scripts"])
def test_a_new_address_asks_on_the_dashboard_and_is_let_in(
    portal: LiveSite, visit: Visit, way: dict[str, Any]
) -> None:
    sara = visit(**way)
    page = sara.page
    path, program = restricted_key(portal, sara)
    is_refused(portal, program)
    sara.open("/dashboard/")
    banner = page.get_by_role("status").filter(has_text="A new IP asks to use")
    expect(banner).to_contain_text(CALLER)
    banner.get_by_role("button", name="Add this IP").click()
    page.wait_for_url(f"{portal.url}{path}rescue/*/")
    give_codes(sara)
    sara.at(path)
    assert program.api_key_permissions()["ipRestrict"] is True
    sara.open("/dashboard/")
    expect(banner).to_have_count(0)
    program.session.close()


def test_axe_finds_nothing_and_nothing_scrolls_sideways(portal: LiveSite, visit: Visit) -> None:
    sara = visit()
    page = sara.page
    path, program = restricted_key(portal, sara)
    is_refused(portal, program)
    for look in (path, f"{path}settings/", f"{path}usage/", "/dashboard/", "/keys/export/"):
        sara.open(look)
        page.evaluate("document.querySelectorAll('main details').forEach((part) => { part.open = true; })")
        assert faults(page) == [], look
    program.session.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "without scripts"])
def test_keys_are_exported_from_the_list(portal: LiveSite, visit: Visit, scripts: bool) -> None:
    sara = visit(java_script_enabled=scripts)
    restricted_key(portal, sara)[1].session.close()
    sara.open("/keys/")
    sara.page.get_by_role("link", name="Export").click()
    sara.at("/keys/export/")
    with sara.page.expect_download() as download:
        sara.button("CSV").first.click()
    text = download.value.path().read_text(encoding="utf-8-sig")
    assert download.value.suggested_filename.startswith("hitobit-keys-")
    assert f'"bot","active","read","trusted","{ELSEWHERE}"' in text


def test_the_days_of_the_chart_are_read_by_keyboard_and_pointer(portal: LiveSite, visit: Visit) -> None:
    sara = visit()
    path, program = restricted_key(portal, sara)
    page = sara.page
    is_refused(portal, program)
    sara.open(f"{path}usage/")
    days = page.get_by_role("group", name="Requests by day").get_by_role("img")
    expect(days).to_have_count(30)
    page.locator("[data-chart]").locator("xpath=preceding::a[1]").focus()
    page.keyboard.press("Tab")
    expect(days.last).to_be_focused()
    expect(days.last).to_have_accessible_name(re.compile(r"^\d+ \w+ \d{4}, Allowed: 0, Refused: 1$"))
    expect(days.last.locator(".tip")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(days.nth(28)).to_be_focused()
    expect(page.locator(".tip:visible")).to_have_count(1)
    expect(days.nth(28).locator(".tip")).to_contain_text("Refused: 0")
    page.keyboard.press("Home")
    expect(days.first).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("[data-chart] :focus")).to_have_count(0)
    days.nth(12).hover()
    expect(days.nth(12).locator(".tip")).to_be_visible()
    for look in LOOKS:
        dress(page, look)
        page.locator("[data-chart] [tabindex='0']").focus()
        assert violations(page) + wider(page) == ""
