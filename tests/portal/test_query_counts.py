"""How many statements a page costs, with one key and with many: few, and the same number."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent
from apikeys.models import ApiKey
from apikeys.policy.events import KeyEvent
from tests.support import people
from tests.support.people import Person

pytestmark = pytest.mark.django_db

MOST = 8
#: Of the page of a key that was never used, which also shows its last rejection; and of pages that take codes.
DENSE = {"/keys/{pk}/": 9, "/keys/new/verify/": 12, "/keys/{pk}/verify/": 13}
MANY = 25
ONE_KEY = ["", "verify/", "delete/"]
PAGES = [
    "/dashboard/",
    "/keys/",
    "/keys/new/verify/",
    "/activity/",
    *(f"/keys/{{pk}}/{page}" for page in ONE_KEY),
]


def with_keys(count: int) -> tuple[Client, ApiKey]:
    """A customer with ``count`` keys of as many networks and events, before every page."""
    sara: Person = people.customer(name="Sara")
    people.recovery_codes(sara)
    keys = [people.key_of(sara, f"key {n}") for n in range(count)]
    for key in keys:
        key.apply(["read", "trade"], "trusted", [people.address(n) for n in range(count)])
        AuditEvent.objects.create(
            event=KeyEvent.CREATED.value, customer=sara.user, actor=sara.user, label=key.label
        )
    browser = people.logged_in(sara)
    browser.post("/keys/", {"name": "one more"})
    more = {"permissions": ["read", "trade"], "ip_policy": "unrestricted"}
    assert browser.post(f"/keys/{keys[0].pk}/", more).status_code == 302
    return browser, keys[0]


def statements(count: int, page: str) -> list[str]:
    browser, key = with_keys(count)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = browser.get(page.format(pk=key.pk))
    assert answer.status_code == 200
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_costs_few_statements_and_no_more_with_many_keys(page: str) -> None:
    one, many = statements(1, page), statements(MANY, page)
    assert len(many) <= DENSE.get(page, MOST), many
    assert len(one) == len(many), many


def test_the_list_shows_all_the_keys_that_were_counted() -> None:
    browser, _key = with_keys(MANY)
    assert len(browser.get("/keys/").context["keys"]) == MANY
