"""A key's pages in each of its states, and the debugger: nothing that axe finds, nothing that scrolls sideways."""

import json
import time
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.test_key_life import give_codes, with_key
from tests.support.accessibility import DESKTOP, LOOKS, PHONE, Look, faults
from tests.support.binance_client import BinanceClient
from tests.support.live_site import LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
PAST, NEAR, FAR = "2026-01-01 00:00:00", "datetime('now', '-1 day')", "datetime('now', '+20 days')"
#: SQL of each state, applied one after the other to the same key; a deleted key never comes back.
STATES = {
    "lapsed": f"can_trade = 1, trade_until = '{PAST}'",
    "degraded": f"expires_at = {NEAR}",
    "expired": f"expires_at = '{PAST}'",
    "active": f"expires_at = {FAR}, trade_until = {FAR}, skew_ms = 900",
    "frozen": "state = 'frozen'",
    "revoked": f"state = 'revoked', revoked_at = {NEAR}",
}
PAGES_OF = {
    "lapsed": ("renew/",),
    "active": ("settings/", "usage/", "signing/", "danger/", "rotate/", "pause/", "renew/", "delete/"),
    "frozen": ("usage/", "danger/", "resume/"),
    "revoked": ("usage/",),
}


def looked_at(visitor: Visitor, path: str, looks: tuple[Look, ...] = LOOKS[1:]) -> str:
    """What is wrong with the page, all that folds open; "" when nothing is."""
    visitor.open(path)
    visitor.page.evaluate(
        "document.querySelectorAll('main details').forEach((part) => { part.open = true; })"
    )
    return "\n".join(faults(visitor.page, looks))


def test_axe_finds_nothing_on_the_pages_of_a_key_in_any_state(portal: LiveSite, visit: Visit) -> None:
    sara = visit()
    path = with_key(portal, sara)
    key = path.split("/")[2].replace("-", "")
    of_sara = "user_id = (SELECT id FROM accounts_user WHERE phone = ?)"
    portal.sql(f"UPDATE accounts_totpdevice SET drifts = '[1, 1, 1]' WHERE {of_sara}", sara.customer.phone)
    result = {}
    for state, change in STATES.items():
        portal.sql(f"UPDATE apikeys_apikey SET {change} WHERE replace(id, '-', '') = ?", key)
        result[state] = looked_at(sara, path, LOOKS)
        for page in PAGES_OF.get(state, ()):
            result[f"{state} {page}"] = looked_at(sara, path + page)
        if state == "active":
            for page in ("/keys/delete-all/", "/settings/", "/dashboard/"):
                result[page] = looked_at(sara, page)
    sara.open(path)
    expect(sara.page.locator("#state")).to_contain_text("cannot be restored")
    assert {name: wrong for name, wrong in result.items() if wrong} == {}


@pytest.mark.parametrize(
    "way",
    [{"viewport": DESKTOP}, {"viewport": PHONE, "java_script_enabled": False}],
    ids=["desktop", "no js"],
)
def test_a_refused_request_is_taken_from_the_keys_page_to_the_debugger_and_explained(
    portal: LiveSite, visit: Visit, way: dict[str, Any]
) -> None:
    sara = visit(**way)
    page = sara.page
    sara.log_in()
    key, secret = sara.make_key("bot")
    path = page.url.removeprefix(portal.url)
    portal.sql("UPDATE apikeys_apikey SET first_settings_at = created_at WHERE key_id = ?", key)
    page.context.add_cookies([{"name": "language", "value": "en", "url": portal.url}])
    sara.open(path + "usage/")
    page.get_by_role("link", name="Request debugger").last.click()
    page.wait_for_url("**/debugger/?key=*")
    expect(page.locator("#key option:checked")).to_have_text("bot")
    # Signed without the symbol that is sent: a body or a parameter that was left out.
    stamp = str(time.time_ns() // 1_000_000)
    signed = (
        BinanceClient(key, secret).call("GET", "/api/v3/openOrders", [("timestamp", stamp)]).query.decode()
    )
    url = f"{portal.url}/api/v3/openOrders?symbol=BTCIRT&{signed}"
    page.get_by_label("Signed request").fill(
        f"curl -H {json.dumps(f'X-MBX-APIKEY: {key}')} {json.dumps(url)}"
    )
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("#result")).to_have_attribute("data-tone", "danger")
    expect(page.get_by_role("heading", name="The text that is signed")).to_be_visible()
    assert secret not in page.content()
    if way.get("java_script_enabled", True):
        page.evaluate("document.querySelectorAll('main details').forEach((part) => { part.open = true; })")
        assert faults(page) == []


@pytest.mark.parametrize(
    "way",
    [{"viewport": DESKTOP}, {"viewport": PHONE, "java_script_enabled": False}],
    ids=["desktop", "no js"],
)
def test_power_is_taken_by_one_click_and_given_back_by_one_and_both_codes(
    portal: LiveSite, visit: Visit, way: dict[str, Any]
) -> None:
    sara = visit(**way)
    page, path = sara.page, with_key(portal, sara)
    key = path.split("/")[2].replace("-", "")
    # A key of four months that never traded, and a program that lacks a permission.
    portal.sql(
        "UPDATE apikeys_apikey SET can_trade = 1, created_at = datetime('now', '-120 days'), "
        f"trade_until = {FAR} WHERE replace(id, '-', '') = ?",
        key,
    )
    portal.sql(
        "INSERT INTO apikeys_refusal (key_id, at, outcome, address, permission, skew_ms) "
        "SELECT id, datetime('now'), 'permission', '127.0.0.1', 'trade', 3 FROM apikeys_apikey "
        "WHERE replace(id, '-', '') = ?",
        key,
    )
    sara.open(path)
    trade = page.get_by_role("region", name="Settings in force").get_by_text("Trade", exact=True)
    expect(trade).to_be_visible()
    page.get_by_role("region", name="Key health").get_by_role("button", name="Remove them").click()
    sara.at(path)
    expect(trade).to_have_count(0)
    sara.open(path + "usage/")
    page.get_by_role("region", name="Why was I refused?").get_by_role(
        "button", name="Give this permission"
    ).click()
    sara.at(f"{path}verify/")
    expect(page.get_by_role("listitem").filter(has_text="Add the permission “Trade”")).to_be_visible()
    give_codes(sara)
    sara.at(path)
    expect(trade).to_be_visible()


def test_everything_of_a_keys_life_is_two_links_away_from_its_page(portal: LiveSite, visit: Visit) -> None:
    sara = visit()
    path = with_key(portal, sara)
    links: set[str] = set()
    for page in ("", "settings/", "usage/", "signing/", "danger/"):
        sara.open(path + page)
        hrefs = "all => all.map((link) => link.getAttribute('href'))"
        links |= set(sara.page.locator("main a").evaluate_all(hrefs))
    wanted = {
        path + page for page in ("settings/", "usage/", "signing/", "danger/", "rotate/", "pause/", "delete/")
    }
    wanted |= {f"{path}settings/#expires", f"{path}settings/#ip", "/keys/export/", "/keys/delete-all/"}
    assert wanted <= links
    assert any(str(link).startswith("/debugger/") for link in links)
