"""A key that the exchange requests, in a real browser: from the back office's call to a request signed by the key."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from binance.spot import Spot
from playwright.sync_api import expect

from tests.support.accessibility import DESKTOP, PHONE, dress, faults
from tests.support.live_site import LiveSite
from tests.support.visitors import SUBMIT, Visit, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.verify]
WAYS: list[dict[str, Any]] = [
    {"viewport": DESKTOP},
    {"viewport": PHONE},
    {"viewport": PHONE, "java_script_enabled": False},
]
CALLER = "127.0.0.1"  # from where the programs below call the portal
#: Pixels on a phone of an event on the dashboard, however many addresses it is about: title, four lines, time.
HIGHEST_EVENT = 230
ONE_LINE = 45


@pytest.fixture(scope="module")
def office(portal: LiveSite) -> Iterator[httpx.Client]:
    """A program of the back office."""
    made = portal.live.manage(
        "management_token", "create", "market-makers", "--scope", "requests:write,keys:read", "--networks", CALLER,
        "--days", "1", "--json",
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {json.loads(made)['token']}"}
    with httpx.Client(base_url=f"{portal.url}/manage/v1", headers=headers, trust_env=False) as client:
        yield client


def request_key(portal: LiveSite, office: httpx.Client, visitor: Visitor, **changes: Any) -> str:
    """Request a key as the back office does. Return the path of the request's page."""
    [[user]] = portal.sql("SELECT id FROM accounts_user WHERE phone = ?", visitor.customer.phone)
    body = {
        "name": "Market maker 7", "permissions": ["read", "trade"], "ip_policy": "trusted",
        "networks": [CALLER, "198.51.100.0/28"], "expires_at": "2027-06-01T00:00:00Z",
    }  # fmt: skip
    answer = office.post(f"/users/{user}/key-requests", json={**body, **changes})
    assert answer.status_code == 201, answer.text
    return f"/keys/requests/{answer.json()['id']}/"


@pytest.mark.parametrize("way", WAYS, ids=["desktop", "phone", "without scripts"])
def test_requested_key_is_read_about_confirmed_and_used(
    portal: LiveSite, visit: Visit, office: httpx.Client, way: dict[str, Any]
) -> None:
    sara = visit(**way)
    page = sara.page
    sara.log_in()
    path = request_key(portal, office, sara)
    sara.open("/dashboard/")
    page.get_by_role("link", name="دیدن درخواست").click()
    sara.at(path)
    expect(page.get_by_role("main")).to_contain_text("market-makers")
    expect(page.get_by_role("main")).to_contain_text("198.51.100.0/28")
    sara.button("تایید با هر دو کد").click()
    sara.at(f"{path}confirm/")
    sara.give_codes()
    sara.button(SUBMIT).click()
    page.wait_for_url(f"{portal.url}/keys/*/made/")
    key, secret = page.locator("#api-key").inner_text(), sara.secret.inner_text()
    program = Spot(api_key=key, api_secret=secret, base_url=portal.url)
    allowed = program.api_key_permissions()
    assert (allowed["ipRestrict"], allowed["enableWithdrawals"]) == (True, False)
    program.session.close()
    page.reload()
    expect(sara.secret).to_have_count(0)
    sara.open("/dashboard/")
    expect(page.get_by_role("link", name="دیدن درخواست")).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "without scripts"])
def test_request_is_refused_with_one_click(
    portal: LiveSite, visit: Visit, office: httpx.Client, scripts: bool
) -> None:
    sara = visit(java_script_enabled=scripts)
    sara.log_in()
    path = request_key(portal, office, sara)
    sara.open(path)
    sara.button("رد درخواست").click()
    sara.at("/dashboard/")
    sara.open(path)
    expect(sara.page.get_by_role("button", name="تایید با هر دو کد")).to_have_count(0)
    assert sara.keys() == 0


def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    portal: LiveSite, visit: Visit, office: httpx.Client
) -> None:
    sara = visit()
    page = sara.page
    sara.log_in()
    many = [f"2001:db8:1234:5678:9abc:def0:1234:{n:x}" for n in range(30)]
    path = request_key(
        portal, office, sara, name="م" * 50, permissions=["read", "trade", "withdraw"], networks=many
    )
    other = request_key(portal, office, sara, name="anywhere", ip_policy="unrestricted", networks=[])
    for look in ("/dashboard/", path, other, f"{path}confirm/"):
        sara.open(look)
        assert faults(page) == [], look
    sara.open("/dashboard/")
    dress(page, ("dark", PHONE))
    heights = page.locator("section[aria-labelledby=events-title] li").evaluate_all(
        "all => all.map((row) => row.offsetHeight)"
    )
    assert max(heights) <= HIGHEST_EVENT
    sara.open(other)
    sara.button("تایید با هر دو کد").click()
    sara.give_codes()
    sara.button(SUBMIT).click()
    page.wait_for_url(f"{portal.url}/keys/*/made/")
    assert faults(page) == []
    heights = page.locator(".plate > bdi").evaluate_all("all => all.map((value) => value.offsetHeight)")
    assert len(heights) == 2
    assert max(heights) <= ONE_LINE, "a key of 64 characters is one line on a desktop"
