"""A support agent's day in a real browser, and what support cannot do however it asks."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import DESKTOP, LOOKS, NARROW, PHONE, dress, violations, wider
from tests.support.live_site import Customer
from tests.support.visitors import Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
REASON = "تیکت ۴۷۱۱: گوشی دزدیده شده"
#: Runs in the portal: a member of staff with a role, and a customer whose key was just refused.
CAST = """
import json
from django.contrib.auth.models import Group
from django.urls import reverse
from accounts.models import User
from apikeys.models import Refusal
from tests.support import people
agent = User.objects.get(phone="{agent}")
agent.is_staff, agent.name = True, "Maryam"
agent.save()
agent.groups.add(Group.objects.get(name="{role}"))
sara = User.objects.get(phone="{sara}")
key = people.key_of(people.Person(sara, ""), "ربات معامله‌گر")
key.apply(["read", "trade"], "trusted", ["203.0.113.0/24"])
Refusal.objects.create(key=key, outcome="address_refused", address="198.51.100.23", permission="trade", skew_ms=90)
page = reverse("admin:accounts_user_change", args=[sara.pk]).removesuffix("change/")
print(json.dumps({{"key": str(key.pk), "customer": sara.pk, "page": page}}))
"""


def at_work(visit: Visit, role: str, **options: Any) -> tuple[Visitor, Customer, dict[str, Any]]:
    """A member of staff on the overview, a customer, and the ids of customer and key with the customer's address."""
    agent = visit(**options)
    sara = agent.site.customer()
    code = CAST.format(agent=agent.customer.phone, sara=sara.phone, role=role)
    made = json.loads(agent.site.live.manage("shell", "--no-imports", "-c", code).strip().splitlines()[-1])
    agent.open("/admin/")
    agent.log_in("/admin/")
    return agent, sara, made


def test_an_agent_finds_a_customer_by_phone_sees_why_the_key_is_refused_and_freezes_it(visit: Visit) -> None:
    agent, sara, made = at_work(visit, "support")
    page = agent.page
    page.locator("nav.side").get_by_role("link", name="مشتریان").click()
    page.get_by_role("searchbox").fill(f"۰{sara.phone[3:]}")
    page.get_by_role("searchbox").press("Enter")
    agent.at(f"{made['page']}change/")
    assert sara.phone[3:] not in page.url + page.content()
    page.get_by_role("link", name="ربات معامله‌گر").first.click()
    agent.at(f"/admin/apikeys/apikey/{made['key']}/change/")
    expect(page.locator("#refused")).to_contain_text("این IP در فهرست مجاز نیست")
    expect(page.locator("#refused")).to_contain_text("198.51.100.23")
    expect(page.locator("button[value=revoke]")).to_have_count(0)
    page.locator("button[value=freeze]").click()
    expect(page.locator("main")).to_contain_text("ربات معامله‌گر")
    page.locator("textarea[name=reason]").fill(REASON)
    page.locator("form.danger-zone button.danger").click()
    agent.at(f"/admin/apikeys/apikey/{made['key']}/change/")
    expect(page.locator("main")).to_contain_text(REASON)
    rows = agent.site.sql(
        "SELECT k.state, e.detail, e.actor_id = e.customer_id FROM apikeys_apikey k JOIN accounts_auditevent e "
        "ON e.target = ? AND e.event = 'key.frozen' WHERE k.label = 'ربات معامله‌گر' AND k.id = replace(?, '-', '')",
        made["key"],
        made["key"],
    )
    assert [(state, json.loads(detail)["reason"], own) for state, detail, own in rows] == [
        ("frozen", REASON, 0)
    ]


def test_support_cannot_do_what_only_security_may(visit: Visit) -> None:
    agent, _sara, made = at_work(visit, "support")
    page, person = agent.page, made["page"].rstrip("/")
    agent.open(f"{person}/change/")
    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    offered = page.locator("main a[href*='/act/']").evaluate_all("links => links.map(link => link.pathname)")
    assert offered == [f"{person}/act/freeze/"]
    form: dict[str, Any] = {"csrfmiddlewaretoken": token, "reason": REASON}
    acts = ("thaw", "quarantine", "end-sessions", "reset-factors", "stop-reset", "close", "reopen")
    tries = [(f"{person}/act/{act}/", form) for act in acts]
    revoke = {**form, "action": "revoke", "_selected_action": made["key"]}
    tries += [
        ("/admin/apikeys/apikey/", revoke),
        ("/admin/accounts/auditevent/export/", {**form, "format": "csv"}),
    ]
    for path, fields in tries:
        answer = page.request.post(agent.site.url + path, form=fields)
        assert answer.status == 403, path
    assert page.request.get(f"{agent.site.url}/admin/accounts/auditevent/").status == 403
    assert page.request.get(f"{agent.site.url}/admin/accounts/user/").text().count("/change/") == 0
    left = agent.site.sql(
        "SELECT event FROM accounts_auditevent WHERE customer_id = ? AND event <> 'staff.viewed'",
        made["customer"],
    )
    assert left == []


#: A page of customers: names and addresses of every length. Runs in the portal.
PEOPLE = """
from accounts.models import User
from apikeys.models import ApiKey
from tests.support import people
names = ["", "سارا محمدی‌نژاد تهرانی اصل", "Maximilian Featherstonehaugh-Cholmondeley"]
for n, user in enumerate(User.objects.filter(is_staff=False).order_by("-pk")[:20]):
    email = f"a.very.long.address.number{n}@some-long-domain.example" if n % 2 else ""
    User.objects.filter(pk=user.pk).update(name=names[n % 3], email=email)
    key = people.key_of(people.Person(user, ""), f"bot {n} " + "W" * 40)
    key.apply(["read", "trade", "withdraw"], "trusted", ["203.0.113.7"])
"""
#: A webhook with deliveries in each state. Runs in the portal.
WEBHOOK = """
from django.utils import timezone
from accounts.models import AuditEvent, WebhookDelivery
from accounts.webhooks import endpoints
endpoint, _secret = endpoints.create("risk", "https://hooks.a-rather-long-name.example.com:8443/x", ["key.*"])
event, now = AuditEvent.objects.latest("pk"), timezone.now()
states = ({}, {"attempts": 2, "status": 503}, {"delivered_at": now, "status": 204}, {"gave_up_at": now})
for number, state in enumerate(states, start=1):
    WebhookDelivery.objects.create(endpoint=endpoint, event=event, number=number, **state)
"""
#: Pixels of a page of customers: beside the rows, and of each row. Other tests leave customers, too.
HEAD, A_ROW, PHONE_HEAD, A_PHONES_ROW = 500, 85, 700, 150
PHONE_KEYS_HEAD, A_PHONES_KEY = 1250, 200
HIGHEST_ROW = 110
#: Numbers on more than one line.
BROKEN = """() => [...document.querySelectorAll("main bdi.number, main td.num")]
  .filter((one) => new Set([...one.getClientRects()].map((box) => Math.round(box.top))).size > 1)
  .map((one) => one.textContent)"""


def test_lists_of_staff_fit_numbers_stay_whole_and_the_bulk_bar_comes_with_a_selection(visit: Visit) -> None:
    agent, _sara, _made = at_work(visit, "security")
    page = agent.page
    agent.site.live.manage("shell", "--no-imports", "-c", PEOPLE)
    for language in ("fa", "en"):
        agent.context.add_cookies([{"name": "language", "value": language, "url": agent.site.url}])
        for size in (DESKTOP, PHONE, NARROW):
            dress(page, ("light", size))
            for path in ("/admin/", "/admin/accounts/user/", "/admin/apikeys/apikey/"):
                agent.open(path)
                assert page.evaluate(BROKEN) == [], (path, size)
                assert wider(page) == "", (path, size)
        dress(page, ("light", DESKTOP))
        rows = page.locator("tbody tr")
        assert max(rows.evaluate_all("all => all.map((row) => row.offsetHeight)")) <= HIGHEST_ROW
        agent.open("/admin/accounts/user/")
        assert page.locator("bdi.number").count() > 20
        count = rows.count()
        assert page.evaluate("document.documentElement.scrollHeight") <= HEAD + count * A_ROW
        dress(page, ("light", PHONE))
        assert page.evaluate("document.documentElement.scrollHeight") <= PHONE_HEAD + count * A_PHONES_ROW
        agent.open("/admin/apikeys/apikey/")
        count = page.locator("tbody tr").count()
        assert (
            page.evaluate("document.documentElement.scrollHeight") <= PHONE_KEYS_HEAD + count * A_PHONES_KEY
        )
        expect(page.locator("#acts")).to_be_hidden()
        page.locator(".pick input:enabled").first.check()
        expect(page.locator("#acts")).to_be_in_viewport()
        page.locator(".pick input:enabled").first.uncheck()
        expect(page.locator("#acts")).to_be_hidden()


#: Tables that stand out of their card: the page itself does not scroll by them.
STANDS_OUT = """() => [...document.querySelectorAll(".table-box > table")]
  .filter((table) => table.offsetWidth > table.parentElement.clientWidth + 1).map((table) => table.offsetWidth)"""


def test_staff_pages_are_clean_to_axe_and_to_the_console_and_nothing_scrolls_sideways(visit: Visit) -> None:
    agent, _sara, made = at_work(visit, "security")
    person = made["page"].rstrip("/")
    pages = ["/admin/", "/admin/accounts/user/", f"{person}/change/", f"{person}/act/reset-factors/"]
    pages += [
        "/admin/apikeys/apikey/",
        f"/admin/apikeys/apikey/{made['key']}/change/",
        "/admin/accounts/auditevent/",
        "/admin/accounts/webhookendpoint/",
        "/admin/accounts/smsdelivery/",
    ]
    agent.site.live.manage("shell", "--no-imports", "-c", WEBHOOK)
    agent.open("/admin/accounts/webhookendpoint/")
    webhook = agent.page.locator("main tbody a").first.get_attribute("href")
    assert webhook is not None
    pages.append(webhook)
    for language, look in zip(("fa", "en"), LOOKS, strict=True):
        agent.context.add_cookies([{"name": "language", "value": language, "url": agent.site.url}])
        dress(agent.page, look)
        for path in pages:
            agent.open(path)
            assert violations(agent.page) + wider(agent.page) == "", (path, language)
            assert agent.page.evaluate(STANDS_OUT) == [], (path, language)
