"""A key's sub-pages: short, at addresses of their own, with a form whose changes nobody loses by accident."""

import re
from typing import Any

import pytest
from playwright.sync_api import Dialog, expect

from tests.browser.test_key_life import with_key
from tests.support.accessibility import DESKTOP, PHONE, faults
from tests.support.live_site import LiveSite
from tests.support.visitors import TRADE, Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
PAGES = ("", "settings/", "usage/", "signing/", "danger/")
#: Two screens; the overview has figures of its own.
HIGHEST = {DESKTOP["width"]: 1800, PHONE["width"]: 2600}
HIGHEST_OVERVIEW = {DESKTOP["width"]: 1600, PHONE["width"]: 2600}
#: What a busy key has: rejections of several kinds, a clock that is off, a full list of addresses, both ends near.
REFUSED = ("signature", "address_refused", "stale", "permission", "parameter_missing")


def busy(portal: LiveSite, path: str) -> None:
    key = path.split("/")[2].replace("-", "")
    of_key = "FROM apikeys_apikey WHERE replace(id, '-', '') = ?"
    portal.sql(
        "UPDATE apikeys_apikey SET can_trade = 1, last_used_at = datetime('now'), last_used_ip = '203.0.113.7', "
        "trade_until = datetime('now', '+20 days'), expires_at = datetime('now', '+30 days'), skew_ms = -3100 "
        "WHERE replace(id, '-', '') = ?",
        key,
    )
    for outcome in REFUSED * 2:
        portal.sql(
            "INSERT INTO apikeys_refusal (key_id, at, outcome, address, permission, skew_ms) "
            f"SELECT id, datetime('now'), '{outcome}', '198.51.100.77', 'trade', 3 {of_key}",
            key,
        )
    for ago in range(20):
        portal.sql(
            "INSERT INTO apikeys_dailyuse (key_id, day, outcome, permission, count) "
            f"SELECT id, date('now', '-{ago} days'), 'allowed', 'read', {1000 + ago} {of_key}",
            key,
        )


def height(visitor: Visitor) -> int:
    return int(visitor.page.evaluate("document.documentElement.scrollHeight"))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", ["fa", "en"])
def test_each_page_of_a_key_is_under_two_screens_and_leads_to_the_others(
    portal: LiveSite, visit: Visit, language: str, size: dict[str, int]
) -> None:
    sara = visit(viewport=size)
    path = with_key(portal, sara)
    sara.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
    for used in (False, True):
        if used:
            busy(portal, path)
        for page in PAGES:
            sara.page.set_viewport_size(size)  # type: ignore[arg-type]
            sara.open(path + page)
            highest = (HIGHEST if page else HIGHEST_OVERVIEW)[size["width"]]
            assert height(sara) <= highest, (page, used)
            tabs = sara.page.locator("main nav.tabs a")
            addresses = [path + name for name in ("", "settings/", "usage/", "signing/", "danger/")]
            assert tabs.evaluate_all("all => all.map((link) => link.getAttribute('href'))") == addresses
            expect(sara.page.locator("main nav.tabs [aria-current=page]")).to_have_attribute(
                "href", path + page
            )
            if used:
                assert faults(sara.page) == [], page


def bar_is_in_view(visitor: Visitor) -> bool:
    """Whether nothing, the phone's navigation neither, lies over the button that saves."""
    return bool(
        visitor.page.evaluate(
            """() => {
              const button = document.getElementById("save");
              const box = button.getBoundingClientRect();
              const there = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
              return there === button;
            }"""
        )
    )


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", ["fa", "en"])
def test_the_button_that_saves_stays_in_view_while_something_is_changed(
    portal: LiveSite, visit: Visit, language: str, size: dict[str, int]
) -> None:
    sara = visit(viewport=size)
    page, path = sara.page, with_key(portal, sara)
    sara.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
    sara.open(f"{path}settings/")
    changed = page.locator("[data-changed]")
    assert not bar_is_in_view(sara)
    expect(changed).to_be_hidden()
    page.locator("[name=permissions][value=trade]").check()
    expect(changed).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    assert bar_is_in_view(sara)
    page.locator("[name=permissions][value=trade]").uncheck()
    expect(changed).to_be_hidden()


def test_an_address_is_added_in_place(portal: LiveSite, visit: Visit) -> None:
    sara = visit()
    page, path = sara.page, with_key(portal, sara)
    sara.open(f"{path}settings/")
    page.evaluate("document.body.dataset.same = 'page'")
    page.locator("[name=ip_policy][value=trusted]").check()
    page.locator("#network").fill("203.0.113.25")
    page.locator("#add-network").click()
    expect(page.locator(".chip", has_text="203.0.113.25")).to_be_visible()
    assert page.evaluate("document.body.dataset.same") == "page"


def test_leaving_with_changes_asks_first_and_saving_does_not(portal: LiveSite, visit: Visit) -> None:
    sara = visit()
    page, path = sara.page, with_key(portal, sara)
    dialogs: list[str] = []

    def answer(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        dialog.dismiss() if len(dialogs) == 1 else dialog.accept()

    page.on("dialog", answer)
    sara.open(f"{path}settings/")
    page.locator("main nav.tabs a").first.click()
    sara.at(path)
    assert dialogs == [], "nothing was changed"
    sara.open(f"{path}settings/")
    page.get_by_label("When the key expires").select_option("30")
    page.locator("main nav.tabs a").first.click()
    page.wait_for_timeout(300)
    assert dialogs == ["beforeunload"]
    sara.at(f"{path}settings/")
    sara.button("Save").click()
    sara.at(path)
    assert dialogs == ["beforeunload"], "saving is no way to lose changes"
    # An address that was only added to the list on the page is a change, too.
    sara.open(f"{path}settings/")
    page.locator("[name=ip_policy][value=trusted]").check()
    page.locator("#network").fill("198.51.100.7")
    page.locator("#add-network").click()
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.locator("[data-changed]")).to_be_visible()
    page.locator("main nav.tabs a").first.click()
    sara.at(path)
    assert dialogs == ["beforeunload", "beforeunload"]


@pytest.mark.parametrize(
    "way",
    [{"viewport": DESKTOP}, {"viewport": PHONE}, {"viewport": PHONE, "java_script_enabled": False}],
    ids=["desktop", "phone", "no js"],
)
def test_the_new_keys_own_address_has_all_of_its_first_settings_and_later_the_overview(
    portal: LiveSite, visit: Visit, way: dict[str, Any]
) -> None:
    sara = visit(**way)
    sara.log_in()
    page = sara.page
    sara.make_key("ربات")
    path = page.url.removeprefix(portal.url)
    assert re.fullmatch(r"/keys/[0-9a-f-]{36}/", path)
    for name in ("permissions", "ip_policy", "network"):
        expect(page.locator(f"[name={name}]").first).to_be_visible()
    page.get_by_role("checkbox", name=TRADE, exact=True).check()
    sara.network.fill("198.51.100.7")
    sara.button("ذخیره").click()
    expect(page.get_by_text("ذخیره شد.")).to_be_visible()
    sara.open(path)
    expect(page.get_by_role("region", name="تنظیمات جاری")).to_contain_text("198.51.100.7")
    expect(page.locator("[name=permissions]")).to_have_count(0)
