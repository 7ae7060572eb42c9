"""Logins with the exchange's account under many requests at once, against a real provider. On PostgreSQL."""

from collections import Counter
from typing import Any

from accounts.actions import exchange_link
from accounts.choices import approvals
from accounts.choices.events import Event
from accounts.models import User
from tests.support import people
from tests.support.concurrency import (
    MANY,
    RACES,
    count_events,
    count_redirects,
    post_concurrently,
    room_for,
    run_concurrently,
)
from tests.support.openid_provider import OpenIdProvider, begun

pytestmark = RACES
_room = room_for(MANY)
SECOND = "/login/second-factor/"


def test_one_answer_of_the_provider_begins_one_login(openid: OpenIdProvider) -> None:
    person = people.customer()
    User.objects.filter(pk=person.user.pk).update(external_id="exchange:1")
    client = people.browser()
    answer = openid.answer_for(begun(client), "exchange:1")
    browsers = [people.clone_browser(client, people.address(n)) for n in range(MANY)]
    got = run_concurrently([lambda browser=browser: browser.get(answer) for browser in browsers])  # type: ignore[misc]
    begun_logins = [response for response in got if response.headers.get("Location") == SECOND]
    assert len(begun_logins) == 1, Counter(response.status_code for response in got)
    assert max(response.status_code for response in got) < 500


def test_many_first_logins_of_one_customer_open_one_account(openid: OpenIdProvider, settings: Any) -> None:
    settings.OIDC_PROVISION = True
    openid.control(customer={"phone_number": people.next_phone(), "phone_number_verified": True})
    pairs = []
    for number in range(6):
        client = people.browser(people.address(number))
        pairs.append((client, openid.answer_for(begun(client), "exchange:2")))
    got = run_concurrently([lambda pair=pair: pair[0].get(pair[1]) for pair in pairs])  # type: ignore[misc]
    assert {response.headers.get("Location") for response in got} == {"/enrol/sms/"}
    assert User.objects.filter(external_id="exchange:2").count() == 1
    assert count_events(Event.SIGNED_UP) == 1


def test_one_account_and_one_id_are_linked_once() -> None:
    """Ids of two accounts, and accounts of one id: whichever is first stays."""
    users = [people.customer().user for _n in range(6)]

    def link(number: int) -> bool:
        try:
            return exchange_link.link(
                None, users[number % 6], f"exchange:{number % 4}", Event.EXCHANGE_LINKED
            )
        except exchange_link.AlreadyLinked:
            return False

    linked = run_concurrently([lambda n=n: link(n) for n in range(MANY)])  # type: ignore[misc]
    rows = User.objects.exclude(external_id=None).values_list("external_id", flat=True)
    assert len(rows) == len(set(rows)) == sum(linked) == count_events(Event.EXCHANGE_LINKED) <= 4


def test_one_pair_of_codes_links_once(openid: OpenIdProvider) -> None:
    person = people.customer()
    client = people.logged_in(person)
    client.get(openid.answer_for(client.get("/settings/exchange/")["Location"], "exchange:3"))
    codes = {
        "sms_code": people.live_sms_code(person, approvals.link_exchange("exchange:3")),
        "totp_code": person.totp(),
    }
    browsers = [people.clone_browser(client, people.address(n)) for n in range(MANY)]
    answers = post_concurrently([(browser, "/settings/exchange/confirm/", codes) for browser in browsers])
    assert count_redirects(answers, "/settings/") >= 1
    assert User.objects.get(pk=person.user.pk).external_id == "exchange:3"
    assert count_events(Event.EXCHANGE_LINKED) == 1
