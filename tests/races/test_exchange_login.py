"""Logins with the exchange's account under many requests at once, against a real provider. On PostgreSQL."""

from collections import Counter
from typing import Any

from accounts.choices.events import Event
from accounts.models import User
from tests.support import people
from tests.support.concurrency import MANY, RACES, count_events, room_for, run_concurrently
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
