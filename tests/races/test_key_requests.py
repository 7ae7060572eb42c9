"""Requests of the exchange for keys, under concurrent calls: one end for each, one key, one sight of its secret."""

import json
from typing import Any

from apikeys.actions import key_requests
from apikeys.models import ApiKey, Credential, KeyRequest
from apikeys.policy.events import KeyEvent
from apikeys.policy.settings_change import Settings
from tests.apikeys.management_api.calls import Office, token
from tests.support import people
from tests.support.concurrency import (
    MANY,
    RACES,
    SIXTY,
    count_events,
    count_redirects,
    post_concurrently,
    room_for,
    run_concurrently,
    visiting,
)
from tests.support.people import Person

pytestmark = RACES
_room = room_for(SIXTY)
TRADES = Settings(frozenset({"read", "trade"}), "trusted", ("203.0.113.24",))
ENDS = (KeyEvent.REQUEST_CONFIRMED, KeyEvent.REQUEST_DECLINED, KeyEvent.REQUEST_CANCELLED)


def requested(person: Person) -> KeyRequest:
    return key_requests.make(person.user, "bot", TRADES, "back-office")


def codes(person: Person, row: KeyRequest) -> dict[str, str]:
    return {
        "sms_code": people.live_sms_code(person, key_requests.approval(row)),
        "totp_code": person.totp(),
    }


def test_of_sixty_confirmations_one_creates_the_key() -> None:
    sara = people.customer()
    row, one = requested(sara), people.logged_in(sara)
    page = f"/keys/requests/{row.pk}/confirm/"
    one.get(page)  # the attempt is in the session, as for whoever opened the page
    typed = codes(sara, row)
    browsers = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    answers = post_concurrently([(browser, page, typed) for browser in browsers])
    key = ApiKey.objects.get()
    assert count_redirects(answers, f"/keys/{key.pk}/made/") >= 1
    assert Credential.objects.count() == 1
    assert key.settings == TRADES
    for event in (KeyEvent.CREATED, KeyEvent.APPROVED, KeyEvent.REQUEST_CONFIRMED):
        assert count_events(event) == 1, event


def test_of_sixty_visits_after_the_confirmation_one_shows_the_secret() -> None:
    sara = people.customer()
    row, one = requested(sara), people.logged_in(sara)
    place = one.post(f"/keys/requests/{row.pk}/confirm/", codes(sara, row)).headers["Location"]
    browsers = [people.clone_browser(one, people.address(n)) for n in range(SIXTY)]
    answers = run_concurrently([visiting(browser, place) for browser in browsers])
    secret = people.secret_of(ApiKey.objects.get()).encode()
    assert sum(secret in answer.content for answer in answers) == 1
    assert count_events(KeyEvent.REVEALED) == 1


def test_of_confirming_refusing_and_withdrawing_at_once_one_counts() -> None:
    sara = people.customer()
    row, one = requested(sara), people.logged_in(sara)
    page, typed, text = f"/keys/requests/{row.pk}/", codes(sara, row), token()
    clones = [people.clone_browser(one, people.address(n)) for n in range(MANY)]

    def answer(n: int) -> Any:
        if n % 3 == 0:
            return clones[n].post(f"{page}confirm/", typed).status_code
        if n % 3 == 1:
            return clones[n].post(f"{page}decline/").status_code
        return Office(text).delete(f"/users/{sara.user.pk}/key-requests/{row.pk}").status_code

    statuses = run_concurrently([lambda n=n: answer(n) for n in range(MANY)])  # type: ignore[misc]
    assert max(statuses) < 500
    row.refresh_from_db()
    assert sum(count_events(event) for event in ENDS) == 1
    assert ApiKey.objects.exists() == (row.state == "confirmed")
    assert row.key == ApiKey.objects.first()


def test_request_that_expires_while_it_is_confirmed_has_one_end() -> None:
    sara = people.customer()
    row, one = requested(sara), people.logged_in(sara)
    typed = codes(sara, row)
    confirm = lambda: one.post(f"/keys/requests/{row.pk}/confirm/", typed) and None  # noqa: E731

    def expire() -> None:
        KeyRequest.objects.filter(pk=row.pk, state="waiting").update(waits_until=row.requested_at)
        key_requests.close_expired()

    run_concurrently([confirm, *[expire] * 8])
    row.refresh_from_db()
    assert row.state in ("confirmed", "expired")
    assert ApiKey.objects.exists() == (row.state == "confirmed")
    assert count_events(KeyEvent.REQUEST_EXPIRED) + count_events(KeyEvent.REQUEST_CONFIRMED) == 1


def test_of_many_requests_at_once_no_more_than_five_wait() -> None:
    sara = people.customer()
    text = token()
    body = {"permissions": ["read"], "ip_policy": "trusted", "networks": ["203.0.113.24"]}
    path = f"/users/{sara.user.pk}/key-requests"

    def make(n: int) -> int:
        return int(Office(text).post(path, {**body, "name": f"bot {n}"}).status_code)

    statuses = run_concurrently([lambda n=n: make(n) for n in range(MANY)])  # type: ignore[misc]
    assert statuses.count(201) == key_requests.MAX_WAITING
    assert set(statuses) == {201, 409}
    assert key_requests.waiting_for(sara.user).count() == key_requests.MAX_WAITING
    [first, *_] = json.loads(Office(text).get(path).content)["items"]
    assert first["state"] == "waiting"
