"""The staff's list of SMS: what it shows to which role, its filters and pages, and what it never shows."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import sms
from accounts.models import SmsDelivery
from accounts.sms import delivery_log
from accounts.staff import paging
from accounts.staff.opaque_ids import AccountId, SmsDeliveryId
from tests.support.people import Person, customer
from tests.support.staff import SMS as LIST
from tests.support.staff import events, page_of, staff_browser

pytestmark = pytest.mark.django_db
BACKEND = "accounts.sms.file"


def delivery(**values: Any) -> SmsDelivery:
    row = {"backend": BACKEND, "purpose": "login", "number": "+98912•••0000", "succeeded": True}
    return SmsDelivery.objects.create(**{**row, **values})


def of(person: Person, **values: Any) -> SmsDelivery:
    return delivery(number=delivery_log.masked_number(person.user.phone), **values)


def shown(client: Client, query: str = "") -> list[int]:
    response: Any = client.get(f"{LIST}{query}")
    assert response.status_code == 200, query
    return [row.pk for row, _purpose, _provider in response.context_data["rows"]]


def whom(person: Person) -> str:
    return f"?whom={AccountId.hide(person.user.pk)}"


@pytest.mark.parametrize("language", ["fa", "en"])
def test_row_says_what_the_provider_answered(language: str) -> None:
    delivery(
        error="HTTP 418", succeeded=False, purpose="notice", backend="accounts.sms.kavenegar", took_ms=950
    )
    delivery(reference="r" * 64, purpose="gone.purpose", backend="exchange.own_sms", spoken=True)
    client = staff_browser("security")
    client.cookies["language"] = language
    page = client.get(LIST).content.decode()
    for text in ("HTTP 418", ">kavenegar<", "exchange.own_sms", "gone.purpose", "+98912•••0000", "r" * 23):
        assert text in page, text
    assert "r" * 25 not in page
    assert {"fa": "تماس صوتی", "en": "voice call"}[language] in page
    assert {"fa": "اعلان امنیتی", "en": "security notice"}[language] in page


def test_neither_code_nor_number_of_a_message_is_on_the_page(collected_sms: Any) -> None:
    sara = customer()
    sms.send(sara.user.phone, "Hitobit code: 918273", code="918273", purpose="login")
    client = staff_browser("auditor")  # which sees numbers in full elsewhere
    for query in ("", whom(sara)):
        page = client.get(f"{LIST}{query}").content.decode()
        assert delivery_log.masked_number(sara.user.phone) in page
        for form in (sara.user.phone, sara.user.phone.removeprefix("+98"), "918273", "Hitobit code"):
            assert form not in page.partition("<main")[2]


def test_filters_are_combined_and_nonsense_is_ignored() -> None:
    now = timezone.now()
    old = delivery(at=now - timedelta(hours=30)).pk
    failed = delivery(at=now - timedelta(hours=2), succeeded=False, error="HTTP 500").pk
    notice = delivery(at=now - timedelta(minutes=5), purpose="notice").pk
    other = delivery(backend="accounts.sms.removed", succeeded=False).pk
    client = staff_browser("security")
    everything = [other, notice, failed, old]
    assert {
        query: shown(client, query)
        for query in (
            "", "?state=failed", "?within=1h", "?within=24h", "?purpose=notice", f"?backend={BACKEND}",
            f"?backend={BACKEND}&state=failed&within=24h", "?state=failed&within=1h&purpose=notice",
            "?state=x&within=9999999999h&purpose=x&backend=x", "?before=x&after=1",
        )
    } == {
        "": everything,
        "?state=failed": [other, failed],
        "?within=1h": [other, notice],
        "?within=24h": [other, notice, failed],
        "?purpose=notice": [notice],
        f"?backend={BACKEND}": [notice, failed, old],
        f"?backend={BACKEND}&state=failed&within=24h": [failed],
        "?state=failed&within=1h&purpose=notice": [],
        "?state=x&within=9999999999h&purpose=x&backend=x": everything,
        "?before=x&after=1": everything,
    }  # fmt: skip


def test_pages_follow_each_other_and_keep_the_filters() -> None:
    now = timezone.now()
    for n in range(paging.SIZE + 3):
        delivery(at=now - timedelta(minutes=n // 4), succeeded=False)
        delivery(at=now - timedelta(minutes=n // 4))
    client = staff_browser("security")
    page: Any = client.get(f"{LIST}?state=failed")
    link = page.content.decode().partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert link == f"?state=failed&before={SmsDeliveryId.hide(page.context_data['rows'][-1][0].pk)}"
    walked = shown(client, "?state=failed") + shown(client, link)
    newest_first = SmsDelivery.objects.filter(succeeded=False).order_by("-at", "-pk")
    assert walked == list(newest_first.values_list("pk", flat=True))


def test_role_that_cannot_list_customers_sees_only_the_messages_of_one_it_names() -> None:
    sara, ali = customer(), customer()
    theirs, _other = of(sara).pk, of(ali)
    support = staff_browser("support")
    assert shown(support) == shown(support, "?state=failed") == []
    assert shown(support, whom(sara)) == [theirs]
    assert shown(support, f"{whom(sara)}&state=failed") == []
    for query in ("?whom=x", f"?whom={sara.user.pk}", f"?whom={sara.user.phone}"):
        assert shown(support, query) == [], query
        assert shown(staff_browser("security"), query) == [], query


def test_messages_of_staff_are_not_found_by_their_account_without_the_right() -> None:
    colleague = customer(is_staff=True)
    row = of(colleague).pk
    assert shown(staff_browser("security"), whom(colleague)) == []
    assert shown(staff_browser("auditor"), whom(colleague)) == [row]


def test_viewing_is_recorded_with_the_customer() -> None:
    sara = customer()
    client = staff_browser("support")
    client.get(f"{LIST}{whom(sara)}")
    [event] = events("staff.viewed")
    assert (event.customer, event.detail) == (sara.user, {"page": "sms"})


def test_customer_overview_and_navigation_link_to_the_list() -> None:
    sara = customer()
    client = staff_browser("support")
    assert f'href="{LIST}{whom(sara)}"' in client.get(page_of(sara)).content.decode()
    page = client.get("/admin/").content.decode()
    assert f'href="{LIST}"' in page
    assert f'href="{LIST}?state=failed&amp;within=24h"' in page
    assert LIST not in staff_browser("none").get("/admin/").content.decode()


def test_page_of_fifty_costs_no_more_queries_than_one() -> None:
    client = staff_browser("security")
    counts = []
    for number in (1, 60):
        while SmsDelivery.objects.count() < number:
            delivery()
        with CaptureQueriesContext(connection) as queries:
            assert client.get(LIST).status_code == 200
        counts.append(len(queries))
    assert counts[1] <= counts[0]
