"""What a trader sees at a glance: on a desktop and on a phone, in Persian and in English.

One trader of each has thirty keys with the longest names, in the states that matter, and looks at them in one browser.
Texts are looked up in the catalogues, so that each test is about both languages. `test_key_list`, `test_key_subpages`,
`test_staff` and `test_weight` hold heights, widths, staff's lists and bytes in the same four ways.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import translation
from playwright.sync_api import Locator, Page, expect

from tests.portal.test_glossary import forbidden, terms
from tests.support.accessibility import DESKTOP, NARROW, PHONE, wider
from tests.support.live_site import PERIOD, LiveSite
from tests.support.visitors import Visit, Visitor, Windows, new_visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
WAYS = [(language, size) for language in ("fa", "en") for size in (DESKTOP, PHONE)]
IDS = [f"{language}-{'desktop' if size is DESKTOP else 'phone'}" for language, size in WAYS]
KEYS, WORKING, NEED_ATTENTION = 30, 27, 4
ISOLATES = re.compile("[\u2066-\u2069]")
ARABIC_LETTERS = re.compile("[\u0620-\u064a\u066e-\u06d3]+")
#: A name that runs against the direction of the language.
FOREIGN_NAME = {"fa": "DCA phone", "en": "ربات شب"}
NEW_ADDRESS, ROAMED_TO = "192.0.2.1", "198.51.100.77"

#: Runs in the portal; prints the pages of keys by what is special about them.
PORTFOLIO = """
import json, uuid
from datetime import timedelta
from django.utils import timezone
from accounts.models import User
from apikeys.actions import address_approval, new_networks
from apikeys.models import ApiKey, DailyUse, Refusal
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome
user, now, made = User.objects.get(phone="{phone}"), timezone.now(), {{}}
special = ["plain", "unsaved", "ends", "expired", "degraded", "paused", "main", "free"]
for n in range({keys}):
    kind = special[n] if n < len(special) else ""
    name = "{name}" if kind == "main" else "W" * 46 + f"{{n:02}}"
    key = ApiKey.objects.create_with_secret(user, name, uuid.uuid4())
    made[kind] = f"/keys/{{key.pk}}/"
    if kind == "free":
        key.apply(["read"], "unrestricted", [], now + timedelta(days=90))
    elif kind != "unsaved":
        key.apply(["read", "trade"], "trusted", ["203.0.113.24", f"203.0.114.{{n}}"], now + timedelta(days=90))
    days = {{"ends": 3, "expired": -20, "degraded": -2}}.get(kind, 60)
    row = ApiKey.objects.filter(pk=key.pk)
    row.update(expires_at=now + timedelta(days=days), last_used_at=now, last_used_ip="203.0.113.24", skew_ms=-3100)
    if kind == "paused":
        row.update(state="frozen")
    if kind == "free":
        new_networks.record_use(key.pk, "203.0.113.24")
        new_networks.record_use(key.pk, "{roamed_to}")
    if kind == "main":
        sent = {{"key": key, "address": "203.0.113.24", "permission": "read", "method": "GET"}}
        Refusal.objects.create(outcome="stale", path="/api/v3/account", offset_ms=-7250, **sent)
        Refusal.objects.create(outcome="parameter_missing", path="/api/v3/order", parameter="timestamp", **sent)
        for ago in range(12):
            day = timezone.localdate() - timedelta(days=ago)
            DailyUse.objects.create(key=key, day=day, outcome="allowed", permission="read", count=1000 + ago)
        DailyUse.objects.create(key=key, day=timezone.localdate(), outcome="stale", permission="read", count=5)
        decision = Decision(Outcome.ADDRESS_REFUSED, 401, -2015, "", is_authentic=True)
        assert address_approval.request_approval(key, decision, "{new_address}")
print(json.dumps(made))
"""

#: Runs in the portal.
ONE_KEY = """
from accounts.models import User
from tests.support import people
owner = people.Person(User.objects.get(phone="{phone}"), "")
people.key_of(owner).apply(["read"], "trusted", ["203.0.113.7"])
"""


@dataclass
class Trader:
    """A trader's browser in one language and shape, and the pages of their keys."""

    visitor: Visitor
    language: str
    size: dict[str, int]
    keys: dict[str, str]

    @property
    def page(self) -> Page:
        return self.visitor.page

    def open(self, path: str) -> None:
        self.visitor.open(path)

    def text(self, message: str, **values: object) -> str:
        """The message in the trader's language."""
        return in_language(self.language, message, **values)

    def change_page(self) -> None:
        """Go to the page of the codes for a change of three parts: a permission and an IP more, another one less."""
        self.open(f"{self.keys['main']}settings/")
        self.page.locator("[name=permissions][value=withdraw]").check()
        self.page.locator("button[name=remove_network]").first.click()
        expect(self.page.locator(".chip")).to_have_count(1)
        self.page.locator("#network").fill("203.0.115.9")
        self.page.locator("#save").click()
        self.visitor.at(f"{self.keys['main']}verify/")


def in_language(language: str, message: str, **values: object) -> str:
    with translation.override(language):
        text = translation.gettext(message)
    return text % values if values else text


def shown(place: Locator) -> str:
    """The text of a place as it is read: without isolates, with plain spaces."""
    return " ".join(ISOLATES.sub("", place.inner_text()).split())


def browse(visitor: Visitor, language: str) -> None:
    visitor.context.add_cookies([{"name": "language", "value": language, "url": visitor.site.url}])


@pytest.fixture(scope="module", params=WAYS, ids=IDS)
def trader(request: pytest.FixtureRequest, portal: LiveSite, windows: Windows) -> Iterator[Trader]:
    language, size = request.param
    visitor = new_visitor(portal, windows, portal.customer(), viewport=size)
    program = PORTFOLIO.format(
        phone=visitor.customer.phone, keys=KEYS, name=FOREIGN_NAME[language], new_address=NEW_ADDRESS,
        roamed_to=ROAMED_TO,
    )  # fmt: skip
    made = json.loads(portal.live.manage("shell", "--no-imports", "-c", program).strip().splitlines()[-1])
    browse(visitor, language)
    visitor.log_in()
    yield Trader(visitor, language, size, made)
    complaints = visitor.complaints
    visitor.leave()
    assert complaints == []


#: Where the sentence with a quoted name has its quotes, and where the name begins and ends: [open, first, last, close].
EDGES = """([quotes, name]) => {
  const places = {};
  document.querySelector(".notice b").style.whiteSpace = "nowrap";
  const walk = document.createTreeWalker(document.querySelector(".notice b"), NodeFilter.SHOW_TEXT);
  const box = (node, at) => {
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    const { left, right } = range.getBoundingClientRect();
    return (left + right) / 2;
  };
  while (walk.nextNode()) {
    const { data } = walk.currentNode;
    for (const quote of quotes) if (data.includes(quote)) places[quote] = box(walk.currentNode, data.indexOf(quote));
    const at = data.indexOf(name);
    if (at >= 0) [places.first, places.last] = [box(walk.currentNode, at), box(walk.currentNode, at + name.length - 1)];
  }
  return [places[quotes[0]], places.first, places.last, places[quotes[1]]];
}"""


def test_a_name_in_the_other_direction_stays_between_its_quotes(trader: Trader) -> None:
    trader.change_page()
    quotes, name = {"fa": "«»", "en": "“”"}[trader.language], FOREIGN_NAME[trader.language]
    opening, first, last, closing = trader.page.evaluate(EDGES, [quotes, name])
    if trader.language == "fa":  # the sentence from the right, the name from the left
        assert closing < first < last < opening
    else:
        assert opening < last < first < closing
    messages = trader.visitor.site.messages(trader.visitor.customer.phone)
    of_change = next(message["text"] for message in reversed(messages) if message["code"])
    assert f"\u2068{name}\u2069" in of_change


#: Of each comma behind the name of a browser: whether it is on the name's line.
SEPARATORS = """() => [...document.querySelectorAll(".device")]
  .filter((name) => /^[,،]/.test(name.nextSibling?.data ?? ""))
  .map((name) => {
    const range = document.createRange();
    range.setStart(name.nextSibling, 0);
    range.setEnd(name.nextSibling, 1);
    const [comma, line] = [range.getBoundingClientRect(), [...name.getClientRects()].at(-1)];
    return comma.top < line.bottom && comma.bottom > line.top;
  })"""


def test_lines_that_begin_with_an_address_keep_the_direction_of_the_language(trader: Trader) -> None:
    trader.open("/activity/")
    lines = trader.page.locator("main .list p")
    assert lines.count() > 5
    directions = lines.evaluate_all(
        "all => all.map((line) => [getComputedStyle(line).direction, getComputedStyle(line).unicodeBidi])"
    )
    direction = {"fa": "rtl", "en": "ltr"}[trader.language]
    assert {one for one, _kind in directions} == {direction}
    assert "plaintext" not in {kind for _one, kind in directions}
    for width in range(NARROW["width"], PHONE["width"] + 60, 5):
        trader.page.set_viewport_size({**PHONE, "width": width})  # type: ignore[typeddict-item]
        separators = trader.page.evaluate(SEPARATORS)
        assert separators, "names of browsers"
        assert all(separators), f"a line begins with a comma at {width} px"
    trader.page.set_viewport_size(trader.size)  # type: ignore[arg-type]


def test_a_change_of_three_parts_is_a_table_of_before_and_after(trader: Trader) -> None:
    trader.change_page()
    table = trader.page.locator("table.changes")
    heads = [trader.text(word) for word in ("What changes", "Before", "After")]
    assert [shown(head) for head in table.locator("thead th").all()] == heads
    assert table.locator("tbody tr").count() >= 2
    assert wider(trader.page) == ""
    expect(table.locator("tbody tr").first.locator("td").last).to_contain_text(trader.text("Withdraw"))


def test_taking_a_protection_away_has_the_tone_of_a_warning(trader: Trader) -> None:
    path = trader.keys["plain"]
    trader.open(f"{path}settings/")
    trader.page.locator("[name=ip_policy][value=unrestricted]").check()
    trader.page.locator("#save").click()
    trader.visitor.at(f"{path}verify/")
    warned = trader.page.locator("main [data-tone=warn]:is(li, tr)")
    expect(warned.first).to_have_text(trader.text("Remove the IP restriction: the key works from any IP"))


def test_a_protection_that_is_not_in_force_is_not_shown_as_one(trader: Trader) -> None:
    trader.open(f"{trader.keys['unsaved']}settings/")
    expect(trader.page.locator("[name=ip_policy][value=unrestricted]")).to_be_checked()
    expect(trader.page.locator("#ip-now")).to_contain_text(trader.text("Now: works from any IP."))
    trader.open(trader.keys["unsaved"])
    expect(trader.page.locator("main")).to_contain_text(trader.text("Works from any IP"))
    trader.open("/keys/?state=attention")
    row = trader.page.locator(
        "#list tbody tr", has=trader.page.locator(f"a[href='{trader.keys['unsaved']}']")
    )
    expect(row.locator(".state")).to_contain_text(trader.text("Settings not saved"))


def test_the_dashboard_begins_with_what_is_most_urgent_and_counts_what_works(trader: Trader) -> None:
    trader.open("/dashboard/")
    keys = trader.page.locator("section[aria-labelledby=keys-title] li")
    first = [keys.nth(n).locator("a").first.get_attribute("href") for n in range(4)]
    assert first == [trader.keys[kind] for kind in ("expired", "degraded", "ends", "unsaved")]
    expect(keys.first).to_contain_text(trader.text("Expired"))
    ending = trader.page.locator("#ending")
    expect(ending).to_be_visible()
    assert ending.bounding_box()["y"] < keys.first.bounding_box()["y"]  # type: ignore[index]
    ledger = trader.page.locator(".ledger")
    for label in ("Active keys", "Requests today", "Refused in 7 days", "Your program's clock error"):
        expect(ledger.get_by_text(trader.text(label), exact=True)).to_be_visible()
    numbers = [western(shown(number)) for number in ledger.locator("dd").all()]
    assert numbers[0].startswith(f"{WORKING} ")
    assert re.match(r"1[,٬]?005 ", numbers[1])
    assert re.match(r"0[.٫]\d ", numbers[2])
    assert re.match(r"3[.٫]1 ", numbers[3])


def western(text: str) -> str:
    return text.translate(str.maketrans("۰۱۲۳۴۵۶۷۸۹", "0123456789"))


def test_a_rejected_request_is_shown_with_enough_to_act_and_opens_the_debugger_filled_in(
    trader: Trader,
) -> None:
    trader.open(f"{trader.keys['main']}usage/")
    rows = trader.page.locator("#refusals tbody tr")
    late = rows.filter(has_text="/api/v3/account")
    expect(late).to_contain_text("GET /api/v3/account")
    assert re.search(r"\d\d:\d\d:\d\d", western(shown(late)))
    assert re.search(r"\b7[.٫]2", western(shown(late)))
    missing = rows.filter(has_text="/api/v3/order")
    expect(missing.locator(".title bdi")).to_have_text("timestamp")
    missing.get_by_role("link", name=trader.text("Open in the debugger")).click()
    trader.page.wait_for_url("**/debugger/?*")
    assert FOREIGN_NAME[trader.language] in shown(trader.page.locator("#key option:checked"))
    assert "GET" in trader.page.locator("#request").input_value()
    assert "/api/v3/order" in trader.page.locator("#request").input_value()


def test_the_chart_has_a_scale_a_tip_for_the_keyboard_and_a_table(trader: Trader) -> None:
    trader.open(f"{trader.keys['main']}usage/")
    scale = trader.page.locator(".scale li")
    assert "1,500" in western(shown(scale.first)).replace("٬", ",") or scale.count() >= 3
    days = trader.page.locator("[data-chart] [role=img]")
    expect(days).to_have_count(30)
    days.last.focus()
    tip = days.last.locator(".tip")
    expect(tip).to_be_visible()
    assert trader.text("Refused") in shown(tip)
    assert wider(trader.page) == ""
    trader.page.keyboard.press("ArrowLeft")
    expect(days.nth(28)).to_be_focused()
    table = trader.page.locator("#usage details", has_text=trader.text("The same numbers as a table"))
    table.locator("summary").click()
    expect(table.locator("tbody tr")).to_have_count(12)


def test_the_page_of_codes_has_one_row_of_actions_and_one_countdown(trader: Trader) -> None:
    trader.change_page()
    actions = trader.page.locator(".card-foot .btn")
    middles = actions.evaluate_all(
        "all => all.map((one) => { const box = one.getBoundingClientRect(); return box.y + box.height / 2; })"
    )
    assert len(middles) == 3
    assert max(middles) - min(middles) <= 2
    countdowns = trader.page.locator("main [data-left]")
    assert [bool(text) for text in countdowns.all_inner_texts()].count(True) <= 1
    call = trader.page.locator("button[name=speak]")
    expect(call).to_be_hidden()
    trader.page.locator("main details", has=call).locator("summary").click()
    expect(call).to_be_visible()


@pytest.mark.parametrize(("language", "size"), WAYS, ids=IDS)
def test_back_from_the_codes_keeps_the_typed_name(visit: Visit, language: str, size: dict[str, int]) -> None:
    sara = visit(viewport=size)
    browse(sara, language)
    sara.log_in("/keys/")
    name = sara.page.locator("#name")
    name.fill("night bot")
    sara.page.locator("form:has(#name) button.primary").click()
    sara.at("/keys/new/verify/")
    sara.page.go_back()
    expect(name).to_have_value("night bot")
    sara.open("/keys/new/verify/")
    sara.page.locator(".card-foot a").click()
    sara.at("/keys/")
    expect(name).to_have_value("night bot")


#: Names of keys under the button of their menu, the last row's as well: long names fill their lines.
COVERED = """() => [...document.querySelectorAll("#list tbody tr")].flatMap((row) => {
  const menu = row.querySelector("summary svg").getBoundingClientRect();
  const name = row.querySelector(".key-name a");
  const isCovered = [...name.getClientRects()].some((line) =>
    line.left < menu.right && menu.left < line.right && line.top < menu.bottom && menu.top < line.bottom);
  return isCovered ? [name.textContent] : [];
})"""


def test_the_list_is_filtered_searched_sorted_and_acted_upon(trader: Trader) -> None:
    trader.open("/keys/")
    rows = trader.page.locator("#list tbody tr")
    expect(rows).to_have_count(KEYS)
    expect(rows.locator("svg.shamseh")).to_have_count(KEYS)
    assert wider(trader.page) == ""
    assert trader.page.evaluate(COVERED) == [], "the menu of actions lies over the name"
    filters = trader.page.get_by_role("navigation", name=trader.text("Which keys"))
    for name, count in (("Need attention", NEED_ATTENTION), ("Paused", 1), ("Expired", 2), ("All", KEYS)):
        filters.get_by_role("link", name=re.compile(f"^{re.escape(trader.text(name))} ")).click()
        expect(rows).to_have_count(count)
    trader.page.locator("#sort").select_option("gravity")
    trader.page.get_by_role("search").get_by_role("button").click()
    expect(rows.first.locator("th a")).to_have_attribute("href", trader.keys["expired"])
    trader.page.locator("#q").fill("ww17")
    trader.page.get_by_role("search").get_by_role("button").click()
    expect(rows).to_have_count(1)
    rows.locator("summary").click()
    rows.get_by_role("link", name=trader.text("Settings"), exact=True).click()
    trader.page.wait_for_url("**/settings/")


def test_nothing_scrolls_sideways_with_thirty_keys_and_the_longest_names(trader: Trader) -> None:
    main = trader.keys["main"]
    long = trader.keys["plain"]
    wide = {}
    for size in (trader.size, NARROW):
        trader.page.set_viewport_size(size)  # type: ignore[arg-type]
        for path in ("/dashboard/", "/keys/", "/activity/", "/sessions/", f"{main}usage/", long, f"{long}usage/",
                     f"{long}settings/", f"{long}danger/", f"{long}delete/"):  # fmt: skip
            trader.open(path)
            if elements := wider(trader.page):
                wide[path, size["width"]] = elements
    trader.page.set_viewport_size(trader.size)  # type: ignore[arg-type]
    assert wide == {}


def test_the_old_address_of_a_key_leads_to_its_overview(trader: Trader) -> None:
    trader.open(trader.keys["main"])
    expect(trader.page.locator("main nav.tabs [aria-current=page]")).to_have_text(trader.text("Overview"))
    for element in ("#health", "#last-use"):
        expect(trader.page.locator(element)).to_be_visible()


#: Text nodes of a page outside islands of another direction, names that people gave, and what is not shown.
PLAIN_TEXTS = """() => {
  const result = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const parent = walk.currentNode.parentElement;
    if (parent.closest("bdi, code, pre, textarea, script, option, [lang]:not(html), [translate=no]")) continue;
    if (parent.checkVisibility() && walk.currentNode.data.trim()) result.push(walk.currentNode.data.trim());
  }
  return result;
}"""
PAGES = ("/dashboard/", "/keys/", "/activity/", "/sessions/", "/settings/", "/freeze/", "/debugger/", "/keys/export/",
         "/keys/delete-all/")  # fmt: skip
OF_KEY = ("", "settings/", "usage/", "signing/", "danger/", "rotate/", "pause/", "delete/")


def test_pages_are_in_one_language_and_in_the_glossarys_words(trader: Trader) -> None:
    glossary, wrong = terms(), {}
    for path in (*PAGES, *(trader.keys["plain"] + name for name in OF_KEY)):
        trader.open(path)
        texts = [ISOLATES.sub("", text) for text in trader.page.evaluate(PLAIN_TEXTS)]
        texts = [text.replace(FOREIGN_NAME[trader.language], "") for text in texts]
        assert len(texts) > 10, path
        if trader.language == "en":
            foreign = [text for text in texts if ARABIC_LETTERS.search(text) and text != "فارسی"]
        else:
            foreign = [text for text in texts if re.search(r"[A-Za-z]{2,}(?: [a-z]{2,}){2}", text)]
        words = [word for text in texts for word in forbidden(text, glossary)]
        if foreign or words:
            wrong[path] = (foreign, words)
    assert wrong == {}


def test_each_page_leads_to_the_help_about_it(trader: Trader) -> None:
    addresses = set()
    for path in (*PAGES, trader.keys["plain"], f"{trader.keys['plain']}usage/"):
        trader.open(path)
        link = trader.page.locator("header.topbar .end > a").first
        expect(link).to_be_visible()
        assert link.get_attribute("aria-label") == trader.text("Help with this page")
        addresses.add(str(link.get_attribute("href")))
    assert len(addresses) >= 5
    for address in sorted(addresses):
        trader.page.goto("about:blank")
        response = trader.page.goto(trader.visitor.site.url + address)
        assert response is not None
        assert response.status == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        expect(trader.page.locator("h1")).to_be_visible()
        if "#" in address:
            expect(trader.page.locator(f"[id='{address.partition('#')[2]}']")).to_be_visible()
        assert wider(trader.page) == ""


def test_a_new_network_of_an_unrestricted_key_is_notified(trader: Trader) -> None:
    trader.open("/activity/")
    title = trader.text("Unrestricted API key used from a new network")
    event = trader.page.locator("main .list li").filter(has_text=title)
    expect(event).to_have_count(1)
    expect(event).to_contain_text(ROAMED_TO)
    assert any(ROAMED_TO in message["text"] for message in arrived(trader, ROAMED_TO))


def test_the_sms_about_a_new_ip_leads_to_the_page_of_both_codes(trader: Trader) -> None:
    (message,) = arrived(trader, "/keys/rescue/")
    assert NEW_ADDRESS in message["text"]
    link = re.search(r"https?://\S+(/keys/rescue/\d+/)", message["text"])
    assert link
    trader.open(link[1])
    main = trader.page.locator("main")
    expect(main).to_contain_text(NEW_ADDRESS)
    if main.locator("#sms_code").count() == 0:
        main.locator("button.primary").first.click()
    for field in ("sms_code", "totp_code"):
        expect(main.locator(f"#{field}")).to_be_visible()


def arrived(trader: Trader, text: str) -> list[dict[str, Any]]:
    """The trader's SMS with ``text``, which a process of its own sends: wait for them."""
    site, phone = trader.visitor.site, trader.visitor.customer.phone
    for _attempt in range(200):
        if matching := [message for message in site.messages(phone) if text in message["text"]]:
            return matching
        trader.page.wait_for_timeout(100)
    return []


@pytest.mark.parametrize(("language", "size"), WAYS, ids=IDS)
def test_from_the_login_to_a_saved_key_in_six_clicks_and_no_wait_that_was_not_announced(
    visit: Visit, language: str, size: dict[str, int]
) -> None:
    """The code of the login is typed again at once; the key is made from a template."""
    sara = visit(viewport=size)
    page = sara.page

    def text(message: str, **values: object) -> str:
        return in_language(language, message, **values)

    browse(sara, language)
    sara.open("/login/")
    page.locator("[name=phone]").fill(sara.customer.phone)
    page.locator("[name=password]").fill(sara.customer.password)
    page.locator("main button.primary").click()
    sara.at("/login/second-factor/")
    # The newest code that is accepted, of the next step: for half a minute there is none that was not used.
    sara.customer.last_step = int(time.time()) // PERIOD
    used = sara.customer.totp()
    page.locator("[name=code]").fill(used)
    page.locator("main button.primary").first.click()
    sara.at("/dashboard/")
    sara.clicks = 0
    page.locator("main").get_by_role("link", name=text("API Management"), exact=True).click()
    page.get_by_role("radio", name=text("Trading bot"), exact=True).click()
    why = str(page.locator("#is-bot").get_attribute("aria-describedby")).split()[-1]
    expect(page.locator(f"#{why}")).to_be_visible()
    page.locator("#name").fill("bot")
    page.locator("form:has(#name) button.primary").click()
    sara.at("/keys/new/verify/")
    spent = "You have already used the code that the app shows now, to log in or to approve something."
    expect(page.locator("[data-wait]")).to_contain_text(text(spent))
    sms = sara.sms_code()
    page.locator("#sms_code").fill(sms)
    page.locator("#totp_code").fill(used)
    clicks = sara.clicks
    page.locator("main button[form=verify]").click()
    expect(page.locator("#totp_code-error")).to_contain_text(
        text(
            "This authenticator code was already used. Each code works once. Nothing was counted as a mistake."
        )
    )
    expect(page.locator("#sms_code")).to_have_value(sms)
    expect(page.locator("[data-wait]")).to_be_visible()
    page.locator("#totp_code").fill(sara.customer.totp())
    before = sara.clicks
    page.locator("main button[form=verify]").click()
    expect(sara.secret).to_be_visible()
    # Chosen, and not in force before it is saved.
    now = shown(page.locator("#ip-now"))
    assert text("Now: works from any IP.") in now
    assert text("The restriction below is not in force until you save it.") in now
    # What the template chose, and the recommended expiry; the last day only for who chooses a day.
    expect(page.locator("[name=permissions][value=trade]")).to_be_checked()
    expect(page.locator("[name=ip_policy][value=trusted]")).to_be_checked()
    expect(page.locator("#expiry")).to_have_value("90")
    assert shown(page.locator("#expiry option:checked")) == ISOLATES.sub(
        "", text("%(period)s (recommended)", period=text("In 90 days"))
    )
    expect(page.locator("#expiry_date")).to_be_hidden()
    expect(page.locator("#own-address-hint code")).to_have_text(f"curl {sara.site.url}/ip")
    page.locator("#network").fill("203.0.113.7")
    page.locator("#save").click()
    expect(page.locator("#try-title")).to_be_visible()
    expect(page.locator(".chip")).to_have_text(["203.0.113.7"])
    assert clicks + sara.clicks - before <= 6
    sample = page.locator("#first-steps pre").first
    page.locator("#first-steps summary").first.click()
    key = page.locator("#api-key").inner_text()
    assert key in sample.inner_text()
    assert sample.evaluate("one => getComputedStyle(one).whiteSpace") == "pre"
    assert wider(page) == ""


def test_a_public_address_answers_with_the_callers_ip_and_nothing_else(trader: Trader) -> None:
    response = trader.visitor.context.request.get(f"{trader.visitor.site.url}/ip")
    assert response.status == 200
    assert trader.visitor.address in response.text()
    assert len(response.text()) < 80


@pytest.mark.parametrize(("language", "size"), WAYS, ids=IDS)
def test_the_phone_that_shows_the_seed_opens_its_app_and_fills_in_the_sms_code(
    portal: LiveSite, visit: Visit, language: str, size: dict[str, int]
) -> None:
    sara = visit(portal.newcomer(), viewport=size)
    page = sara.page
    browse(sara, language)
    sara.open("/login/")
    page.locator("[name=phone]").fill(sara.customer.phone)
    page.locator("[name=password]").fill(sara.customer.password)
    page.locator("main button.primary").click()
    sara.at("/enrol/sms/")
    code = sara.sms_code()
    last_line = portal.messages(sara.customer.phone)[-1]["text"].splitlines()[-1]
    assert last_line == f"@127.0.0.1 #{code}"
    expect(page.locator("[name=code]")).to_have_attribute("autocomplete", "one-time-code")
    page.locator("[name=code]").fill(code)
    page.locator("main button.primary").first.click()
    sara.at("/enrol/totp/")
    link = page.get_by_role(
        "link", name=in_language(language, "Open in the authenticator app on this device")
    )
    assert str(link.get_attribute("href")).startswith("otpauth://totp/")
    expect(link).to_be_visible()
    assert wider(page) == ""


@pytest.mark.parametrize(("language", "size"), WAYS, ids=IDS)
def test_staff_land_in_the_administration_and_find_it_from_each_page(
    portal: LiveSite, visit: Visit, language: str, size: dict[str, int]
) -> None:
    agent = visit(viewport=size)
    portal.sql(
        "UPDATE accounts_user SET is_staff = 1, is_superuser = 1 WHERE phone = ?", agent.customer.phone
    )
    page = agent.page
    browse(agent, language)
    agent.open("/login/")
    page.locator("[name=phone]").fill(agent.customer.phone)
    page.locator("[name=password]").fill(agent.customer.password)
    page.locator("main button.primary").click()
    agent.at("/login/second-factor/")
    page.locator("[name=code]").fill(agent.customer.totp())
    page.locator("main button.primary").first.click()
    agent.at("/admin/")
    agent.open("/dashboard/")
    if size is PHONE:
        page.locator("header .menu summary").click()
    page.get_by_role("link", name=in_language(language, "Administration")).locator("visible=true").click()
    agent.at("/admin/")


@pytest.mark.parametrize(("language", "size"), WAYS, ids=IDS)
def test_a_frozen_account_offers_nothing_that_it_cannot_do(
    portal: LiveSite, visit: Visit, language: str, size: dict[str, int]
) -> None:
    sara = visit(viewport=size)
    page = sara.page
    browse(sara, language)
    sara.open("/frozen/")
    sara.at("/login/*")
    page.goto("about:blank")
    sara.log_in("/keys/")
    expect(page.locator("a[href='/keys/export/']")).to_have_count(0)  # there is nothing to export
    portal.live.manage("shell", "--no-imports", "-c", ONE_KEY.format(phone=sara.customer.phone))
    portal.sql("UPDATE accounts_user SET frozen_at = datetime('now') WHERE phone = ?", sara.customer.phone)
    for path in ("/dashboard/", "/keys/"):
        sara.open(path)
        expect(page.locator("main .notice[data-tone=danger]").first).to_be_visible()
        create = in_language(language, "Create API")
        expect(page.locator("main .btn.primary", has_text=create)).to_have_count(0)
        expect(page.locator("svg.shamseh")).to_have_count(1)
        expect(page.locator("svg.shamseh[data-tone=ok]")).to_have_count(0)
    sara.open("/sessions/")
    device = page.locator(".device").first
    assert device.evaluate("one => one.getClientRects().length") == 1
    assert wider(page) == ""
