"""The list and the dashboard: which keys come first, what is searched and counted, and what is not in force."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.actions import freeze
from apikeys.models import ApiKey, DailyUse
from apikeys.policy.choices import KeyState
from apikeys.usage import recorder
from tests.support.people import Person, key_of, logged_in, made_just_now

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def kept(person: Person, name: str, **fields: Any) -> ApiKey:
    """A key in good health, with ``fields`` written past its rules."""
    key = key_of(person, name)
    key.apply(["read"], "trusted", ["192.0.2.1"], timezone.now() + 60 * DAY)
    ApiKey.objects.filter(pk=key.pk).update(**fields)
    return key


@pytest.fixture
def client(sara: Person) -> Client:
    browser = logged_in(sara)
    browser.cookies["language"] = "en"
    return browser


def listed(client: Client, query: str = "") -> list[str]:
    return [row.key.label for row in client.get(f"/keys/{query}").context["rows"]]


@pytest.fixture
def keys(sara: Person) -> None:
    """Thirty, of which some need attention; the oldest ones do."""
    now = timezone.now()
    kept(sara, "soon", expires_at=now + 3 * DAY)
    kept(sara, "sooner", can_trade=True, ip_policy="unrestricted", trade_until=now + 2 * DAY)
    kept(sara, "over", expires_at=now - 20 * DAY)
    kept(sara, "just over", expires_at=now - 2 * DAY)
    kept(sara, "lapsed", can_trade=True, ip_policy="unrestricted", trade_until=now - DAY)
    kept(sara, "paused", state=KeyState.FROZEN)
    key_of(sara, "never saved")
    for n in range(23):
        kept(sara, f"bot {n}")


@pytest.mark.usefixtures("keys")
def test_dashboard_begins_with_what_ended_and_with_what_ends_first(client: Client) -> None:
    page = client.get("/dashboard/")
    assert [row.key.label for row in page.context["rows"]] == [
        "over",
        "lapsed",
        "just over",
        "sooner",
        "soon",
    ]
    banner = page.content.decode().partition('id="ending"')[2].partition("</p>")[0]
    assert "<bdi>2</bdi> keys end within 7 days." in banner
    assert "Trading ends in 1 day" in banner
    assert page.context["working"] == 26, "what ended, is paused or reads only is not active"


def test_one_key_that_ends_is_named_with_its_remedy(sara: Person, client: Client) -> None:
    key = kept(sara, "bot", expires_at=timezone.now() + 3 * DAY + timedelta(hours=1))
    banner = (
        client.get("/dashboard/").content.decode().partition('id="ending"')[2].partition("</div>\n</div>")[0]
    )
    assert "Expires in 3 days" in banner
    assert f'href="/keys/{key.pk}/settings/#expires"' in banner
    ApiKey.objects.update(expires_at=timezone.now() + 8 * DAY)
    assert 'id="ending"' not in client.get("/dashboard/").content.decode()


def test_figures_of_the_dashboard_are_those_of_all_keys(sara: Person, client: Client) -> None:
    today = recorder.today()
    for key, skew in ((kept(sara, "one"), 300), (kept(sara, "two"), -3100)):
        ApiKey.objects.filter(pk=key.pk).update(skew_ms=skew)
        for ago, outcome, count in (
            (0, "allowed", 40),
            (1, "allowed", 50),
            (6, "stale", 10),
            (7, "stale", 99),
        ):
            DailyUse.objects.create(
                key=key, day=today - ago * DAY, outcome=outcome, permission="read", count=count
            )
    page = client.get("/dashboard/")
    use = page.context["use"]
    assert (use.today, use.yesterday, use.week, use.week_refused) == (80, 100, 200, 20)
    ledger = re.sub(r"<[^>]*>|\s+", " ", page.content.decode().partition("ledger")[2].partition("</dl>")[0])
    assert "10.0" in ledger
    assert re.search(r"3\.1\s+seconds behind", ledger)


@pytest.mark.parametrize(
    ("skew", "shown"), [(0, "None"), (-49, "None"), (-50, "0.1 seconds behind"), (50, "0.1 seconds ahead")]
)
def test_a_clock_that_is_right_is_not_called_0_seconds_behind(
    sara: Person, client: Client, skew: int, shown: str
) -> None:
    key = kept(sara, "one")
    ApiKey.objects.filter(pk=key.pk).update(skew_ms=skew)
    dashboard, use = (client.get(path).content.decode() for path in ("/dashboard/", f"/keys/{key.pk}/usage/"))
    assert f"clock error {shown}" in " ".join(re.sub(r"<[^>]*>", " ", html.unescape(dashboard)).split())
    assert ("The time of the last signed request was right." in use) == (shown == "None")


def test_a_new_key_stands_first(sara: Person, client: Client) -> None:
    for name in ("zeta", "alpha", "midway"):
        kept(sara, name)
    assert listed(client) == ["midway", "alpha", "zeta"]


@pytest.mark.usefixtures("keys")
def test_list_is_filtered_searched_and_ordered(client: Client) -> None:
    assert len(listed(client)) == 30
    assert set(listed(client, "?state=attention")) == {
        "soon",
        "sooner",
        "over",
        "just over",
        "lapsed",
        "never saved",
    }
    assert listed(client, "?state=paused") == ["paused"]
    assert set(listed(client, "?state=expired")) == {"over", "just over"}
    assert listed(client, "?q=NEVER") == ["never saved"]
    key = ApiKey.objects.get(label="bot 7")
    assert listed(client, f"?q={key.key_id}") == ["bot 7"]
    assert listed(client, "?q=over&state=expired&sort=name") == ["just over", "over"]
    assert listed(client, "?sort=gravity")[:2] == ["over", "lapsed"]
    assert listed(client, "?sort=expiry")[:3] == ["over", "just over", "soon"]
    assert listed(client, "?state=nonsense&sort=nonsense&q=") == listed(client)
    assert "No key matches." in client.get("/keys/?q=nothing+like+it").content.decode()


def test_restriction_that_is_not_saved_is_not_shown_as_in_force(sara: Person) -> None:
    key = key_of(sara, "bot")
    maker = made_just_now(logged_in(sara), key)
    maker.cookies["language"] = "en"
    for _visit in range(2):
        page = maker.get(f"/keys/{key.pk}/").content.decode()
        assert "Now: works from any IP." in page
        assert "not in force until you save it" in page
    assert "Settings not saved" in maker.get("/keys/").content.decode()
    key.apply(["read"], "trusted", ["192.0.2.1"])
    page = maker.get(f"/keys/{key.pk}/settings/").content.decode()
    assert "works from any IP" not in page
    assert "Now: <bdi>1 IP</bdi>" in page
    assert "Settings not saved" not in maker.get("/keys/").content.decode()


def test_frozen_account_offers_no_new_key_and_no_green_star(sara: Person) -> None:
    kept(sara, "bot")
    freeze.freeze(None, sara.user)
    client = logged_in(sara)
    client.cookies["language"] = "en"
    for path in ("/dashboard/", "/keys/"):
        main = client.get(path).content.decode().partition("<main")[2]
        assert "Create API" not in main
        assert re.findall(r'class="shamseh" data-tone="(\w+)"', main) == ["none"]


def test_export_is_offered_to_who_has_keys(sara: Person, client: Client) -> None:
    assert "/keys/export/" not in client.get("/keys/").content.decode()
    key_of(sara, "bot")
    assert "/keys/export/" in client.get("/keys/").content.decode()
