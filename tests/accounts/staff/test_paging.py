"""Pages of staff's lists by the row next to them: no row is missing or shown twice, whatever is added meanwhile."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import QuerySet
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from accounts.staff import paging
from apikeys.models import ApiKey
from tests.support.people import Person, customer
from tests.support.staff import KEYS, USERS, staff_browser

pytestmark = pytest.mark.django_db
ORDER = ("created_at", "pk")


def make_keys(owner: Person, count: int, times: int) -> None:
    """Create keys of which many have the same time of creation."""
    now = timezone.now()
    ApiKey.objects.bulk_create(
        ApiKey(
            owner=owner.user, label=f"k{n}", label_folded=f"k{n}", key_id=f"{uuid4().hex}{n:032d}",
            created_at=now - timedelta(seconds=n % times),
        )
        for n in range(count)
    )  # fmt: skip


def page(rows: QuerySet[ApiKey], **parameters: str) -> paging.ListPage[ApiKey]:
    sent = QueryDict(mutable=True)
    sent.update(parameters)
    return paging.page_of(rows, sent, order=ORDER, reveal=lambda text: text or None)


def newest_first(rows: QuerySet[ApiKey]) -> list[Any]:
    return list(rows.order_by("-created_at", "-pk").values_list("pk", flat=True))


@pytest.mark.parametrize("count", [0, 1, paging.SIZE, paging.SIZE + 1, 3 * paging.SIZE, 3 * paging.SIZE + 7])
def test_walking_to_the_oldest_row_and_back_shows_every_row_once(count: int) -> None:
    make_keys(customer(), count, times=7)
    keys = ApiKey.objects.all()
    pages = [page(keys)]
    while pages[-1].older:
        pages.append(page(keys, before=pages[-1].older))

    assert [key.pk for each in pages for key in each.rows] == newest_first(keys)
    assert [each.is_first for each in pages] == [True, *[False] * (len(pages) - 1)]
    assert {each.count for each in pages} == {count}

    back = [pages[-1]]
    while back[-1].newer:
        back.append(page(keys, after=back[-1].newer))
    assert back[-1].is_first
    assert [each.rows for each in back[::-1]] == [each.rows for each in pages]


def test_rows_that_are_added_move_no_row_to_another_page() -> None:
    owner = customer()
    make_keys(owner, 2 * paging.SIZE, times=100)
    keys = ApiKey.objects.filter(label__startswith="k")
    first = page(keys)
    before = page(keys, before=first.older)

    ApiKey.objects.create(owner=owner.user, label="kx", label_folded="kx", key_id="x" * 64)

    assert page(keys, before=first.older).rows == before.rows


def test_place_of_a_row_that_the_filter_no_longer_matches_is_kept() -> None:
    make_keys(customer(), 2 * paging.SIZE, times=100)
    first = page(ApiKey.objects.all())
    rest = ApiKey.objects.exclude(pk=first.older)

    assert page(rest, before=first.older).rows == page(ApiKey.objects.all(), before=first.older).rows


def test_id_that_names_no_row_gives_the_first_page() -> None:
    make_keys(customer(), 2 * paging.SIZE, times=100)
    keys = ApiKey.objects.all()

    assert page(keys, before=str(uuid4())) == page(keys)
    assert page(keys, after=str(uuid4())) == page(keys)


def test_long_list_is_counted_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_COUNT", 60)
    make_keys(customer(), 61, times=7)
    keys = ApiKey.objects.all()

    assert (page(keys).count, page(keys).is_long) == (60, True)
    assert (page(keys.none()).count, page(keys.filter(label="k1")).is_long) == (0, False)


@pytest.fixture
def security() -> Client:
    return staff_browser("security")


def next_page(client: Client, path: str) -> str:
    """Follow the link to older rows."""
    text = client.get(path).content.decode()
    link = text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert link.startswith("?")
    return client.get(f"{path.partition('?')[0]}{link}").content.decode()


def test_list_of_keys_keeps_its_filters_on_the_next_page(security: Client) -> None:
    owner = customer()
    make_keys(owner, paging.SIZE + 2, times=100)
    key = ApiKey.objects.get(label="k0")
    key.apply(["read"], "trusted", ["192.0.2.1"])

    older = next_page(security, f"{KEYS}?policy=unrestricted")

    assert "<bdi>k51</bdi>" in older
    assert older.count('name="_selected_action"') == 1
    assert 'href="?policy=unrestricted"' in older  # to the newest


def test_list_of_customers_shows_older_ones_and_what_a_search_leaves_out(security: Client) -> None:
    people = [customer(name="Sara Ahmadi") for _n in range(paging.SIZE + 1)]

    older = next_page(security, USERS)
    searched = security.post(USERS, {"q": "Ahmadi"}).content.decode()

    assert f'/{people[0].user.pk}"' not in older  # ids in addresses are opaque
    assert "Sara Ahmadi" in older
    assert "فقط تازه‌ترین مشتریان" in searched
