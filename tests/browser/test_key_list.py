"""The list of thirty keys with the longest names, and the dashboard over them, on desktop and phone."""

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import DESKTOP, LOOKS, NARROW, PHONE, dress, violations, wider
from tests.support.live_site import Customer, LiveSite
from tests.support.visitors import Visit

pytestmark = [pytest.mark.browser, pytest.mark.verify]
HIGHEST_LIST, HIGHEST_ROW = 2800, 80
#: Runs in the portal's own environment.
THIRTY = """
import uuid
from datetime import timedelta
from django.utils import timezone
from accounts.models import User
from apikeys.models import ApiKey
user, now = User.objects.get(phone="{phone}"), timezone.now()
for n in range(30):
    key = ApiKey.objects.create_with_secret(user, f"{{n}} " + "W" * 47, uuid.uuid4())
    if n:
        key.apply(["read", "trade", "withdraw"], "trusted", [f"203.0.113.{{n}}"], now + timedelta(days=90))
    days = {{1: 3, 2: -20, 3: -2}}.get(n, 90)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=now + timedelta(days=days), last_used_at=now, skew_ms=-3100)
"""


@pytest.fixture(scope="module")
def owner(portal: LiveSite) -> Customer:
    person = portal.customer()
    portal.live.manage("shell", "--no-imports", "-c", THIRTY.format(phone=person.phone))
    return person


@pytest.mark.parametrize("language", ["fa", "en"])
def test_thirty_keys_are_one_line_each_and_nothing_overflows(
    portal: LiveSite, visit: Visit, owner: Customer, language: str
) -> None:
    sara = visit(owner)
    page = sara.page
    sara.log_in()
    sara.context.add_cookies([{"name": "language", "value": language, "url": portal.url}])
    sara.open("/keys/")
    assert page.evaluate("document.documentElement.scrollHeight") <= HIGHEST_LIST
    rows = page.locator("#list tbody tr")
    expect(rows).to_have_count(30)
    heights = rows.evaluate_all("all => all.map((row) => row.getBoundingClientRect().height)")
    assert max(heights) <= HIGHEST_ROW
    for path in ("/keys/", "/dashboard/"):
        sara.open(path)
        for look in LOOKS:
            dress(page, look)
            assert (violations(page), wider(page)) == ("", ""), (path, look)
        dress(page, ("light", NARROW))
        assert wider(page) == "", path


@pytest.mark.parametrize("scripts", [True, False], ids=["desktop", "phone, no js"])
def test_the_urgent_ones_are_found_from_the_dashboard_and_a_key_by_its_name(
    portal: LiveSite, visit: Visit, owner: Customer, scripts: bool
) -> None:
    sara = visit(owner, viewport=DESKTOP if scripts else PHONE, java_script_enabled=scripts)
    page = sara.page
    sara.log_in()
    sara.context.add_cookies([{"name": "language", "value": "en", "url": portal.url}])
    sara.open("/dashboard/")
    expect(page.locator("#ending")).to_contain_text("Expires in 2 days")
    first = page.get_by_role("region", name="Key health").get_by_role("listitem")
    expect(first.nth(0)).to_contain_text("Expired")
    expect(first.nth(2)).to_contain_text("Expires in 2 days")
    page.get_by_role("link", name="All keys").click()
    page.get_by_role("navigation", name="Which keys").get_by_role("link", name="Need attention").click()
    rows = page.locator("#list tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(3)).to_contain_text("Settings not saved")
    page.get_by_role("navigation", name="Which keys").get_by_role("link").first.click()
    page.get_by_label("Name or API key").fill("17 ww")
    page.get_by_role("search").get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1)
    rows.locator("summary").click()
    rows.get_by_role("link", name="Settings", exact=True).click()
    page.wait_for_url("**/settings/")
