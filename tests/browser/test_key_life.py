"""A customer's walk through a key's life in a real browser: renamed, expiring, paused, resumed, all keys deleted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import DESKTOP, PHONE
from tests.support.live_site import LiveSite
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
ID = "replace(id, '-', '')"  # however the database writes a UUID
WAYS: list[dict[str, Any]] = [
    {"viewport": DESKTOP},
    {"viewport": PHONE},
    {"viewport": PHONE, "java_script_enabled": False},
]


def with_key(portal: LiveSite, visitor: Visitor) -> str:
    """Logged in, English, on the page of a key that was made and left; returns the page's path."""
    visitor.log_in()
    visitor.make_key("bot")
    path = visitor.page.url.removeprefix(portal.url)
    visitor.context.add_cookies([{"name": "language", "value": "en", "url": portal.url}])
    # As ten minutes later: the settings are no longer a new key's first ones.
    statement = f"UPDATE apikeys_apikey SET first_settings_at = created_at WHERE {ID} = ?"
    portal.sql(statement, path.split("/")[2].replace("-", ""))
    visitor.open(path)
    return path


def give_codes(visitor: Visitor) -> None:
    visitor.page.get_by_label("Verification code", exact=True).fill(visitor.sms_code())
    visitor.page.get_by_label("Authenticator code", exact=True).fill(visitor.customer.totp())
    visitor.button("Submit").click()


@pytest.mark.parametrize("way", WAYS, ids=["desktop", "phone", "without scripts"])
def test_renamed_expiring_paused_resumed_and_deleted_with_all_others(
    portal: LiveSite, visit: Visit, way: dict[str, Any]
) -> None:
    sara = visit(**way)
    page, path = sara.page, with_key(portal, sara)
    # Another name and a first expiry need no code; a name that cannot be is refused beside its field.
    page.get_by_role("link", name="Settings", exact=True).last.click()
    sara.at(path + "settings/")
    page.get_by_label("Key name", exact=True).fill("\u200c")
    sara.button("Save").click()
    expect(page.get_by_role("alert").filter(has_text="Enter a name.")).to_be_visible()
    page.get_by_label("Key name", exact=True).fill("night bot")
    page.get_by_label("When the key expires").select_option("30")
    sara.button("Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("night bot")
    expect(page.get_by_text("It expires on")).to_be_visible()
    # A day in either calendar; a later one takes both codes, under the difference.
    sara.open(path + "settings/")
    last_day = page.get_by_label("Last day", exact=True)
    expect(last_day).to_be_hidden()
    page.get_by_label("When the key expires").select_option("date")
    last_day.fill("۱۵۰۰/۰۱/۰۱")
    sara.button("Save").click()
    sara.at(path + "verify/")
    expect(page.get_by_role("listitem").filter(has_text="the expiry")).to_contain_text("21 Mar 2121, 23:59")
    give_codes(sara)
    sara.at(path)
    sara.open(path + "settings/")
    expect(page.get_by_text("Now: 21 Mar 2121, 23:59")).to_be_visible()
    # Paused at once, resumed by both codes.
    page.get_by_role("link", name="Pause or delete").click()
    page.get_by_role("link", name="Pause this API").click()
    sara.button("Pause this API").click()
    sara.at(path)
    expect(page.get_by_text("The settings of a paused key cannot be changed.")).to_be_visible()
    settings = page.get_by_role("navigation", name="Pages of this key").get_by_role("link", name="Settings")
    expect(settings).to_have_count(0)
    sara.button("Resume this API").click()
    sara.at(path + "resume/")
    expect(page.get_by_text("resuming the paused API")).to_be_visible()
    give_codes(sara)
    sara.at(path)
    expect(settings).to_be_visible()
    # All keys, by a phrase; the page of a deleted one stays.
    page.get_by_role("link", name="API Management").first.click()
    page.get_by_role("link", name="Delete all keys").click()
    expect(page.get_by_text("1 key will be deleted")).to_be_visible()
    page.get_by_label("To confirm, type").fill("Delete all keys")
    sara.button("Delete all keys").click()
    sara.at("/keys/")
    page.get_by_text("Deleted keys (1)").click()
    page.get_by_role("link", name="night bot").click()
    expect(page.get_by_text("the key cannot be restored")).to_be_visible()
    expect(page.locator("main form")).to_have_count(0)


def trade_until(portal: LiveSite, path: str, moment: datetime) -> None:
    portal.sql(
        f"UPDATE apikeys_apikey SET can_trade = 1, trade_until = '{moment:%Y-%m-%d %H:%M:%S}' WHERE {ID} = ?",
        path.split("/")[2].replace("-", ""),
    )


def test_trading_is_renewed_with_the_authenticators_code_before_its_end(
    portal: LiveSite, visit: Visit
) -> None:
    sara = visit()
    page, path = sara.page, with_key(portal, sara)
    trade_until(portal, path, datetime.now(UTC) + timedelta(days=10))
    sara.open(path)
    page.get_by_role("link", name="Renew for 90 days").click()
    page.get_by_label("Authenticator code", exact=True).fill(sara.customer.totp())
    sara.button("Renew for 90 days").click()
    sara.at(path)
    expect(page.get_by_text("can trade until")).to_be_visible()
    expect(page.get_by_role("link", name="Renew for 90 days")).to_have_count(0)


def test_lapsed_trading_is_renewed_with_both_codes(portal: LiveSite, visit: Visit) -> None:
    sara = visit()
    page, path = sara.page, with_key(portal, sara)
    trade_until(portal, path, datetime(2026, 1, 1, tzinfo=UTC))
    sara.open("/keys/")
    expect(page.get_by_role("row").filter(has_text="bot")).to_contain_text("Trading ended")
    sara.open(path)
    sara.button("Renew for 90 days").click()
    sara.at(path + "renew/")
    expect(page.get_by_text("90 more days of trading for the API")).to_be_visible()
    give_codes(sara)
    sara.at(path)
    expect(page.get_by_text("can trade until")).to_be_visible()
    expect(page.get_by_role("button", name="Renew for 90 days")).to_have_count(0)


def test_a_latin_name_does_not_turn_the_end_of_a_persian_sentence(visit: Visit) -> None:
    """The closing guillemet of «DCA phone» stands at the left of the name, on the page of the codes."""
    sara = visit()
    sara.log_in()
    sara.name_key("DCA phone")
    sara.at("/keys/new/verify/")
    edges = sara.page.evaluate(
        """() => {
          const walk = document.createTreeWalker(document.querySelector(".notice b"), NodeFilter.SHOW_TEXT);
          const boxes = {};
          while (walk.nextNode()) {
            for (const [at, char] of [...walk.currentNode.data].entries()) {
              const range = document.createRange();
              range.setStart(walk.currentNode, at);
              range.setEnd(walk.currentNode, at + 1);
              boxes[char] ??= range.getBoundingClientRect().left;
            }
          }
          return [boxes["»"], boxes["D"], boxes["e"], boxes["«"]];
        }"""
    )
    closing, first, last, opening = edges
    assert closing < first < last < opening
