"""Many requests from a new network at once are one notice. On PostgreSQL."""

from apikeys.actions import new_networks
from apikeys.models import NetworkUse
from apikeys.policy.events import KeyEvent
from apikeys.usage import recorder
from tests.support import people
from tests.support.concurrency import MANY, RACES, SIXTY, count_events, room_for, run_concurrently
from tests.support.people import ADDRESS
from tests.support.signed_requests import decided, send

pytestmark = RACES
_room = room_for(SIXTY)
NEW = "198.51.100.77"


def test_many_requests_from_a_new_network_are_one_notice() -> None:
    key = people.key_of(people.customer(), "bot")
    send(key, ADDRESS)
    decision = decided(key, NEW)
    run_concurrently([lambda: recorder.record(key.key_id, decision, NEW, "read") for _ in range(MANY)])
    assert count_events(KeyEvent.NEW_NETWORK) == 1
    assert NetworkUse.objects.count() == 2


def test_the_limit_of_an_account_holds_for_all_its_keys_together() -> None:
    sara = people.customer()
    keys = [people.key_of(sara, f"bot {n}") for n in range(4)]
    for key in keys:
        send(key, ADDRESS)
    works = [
        lambda key=key, n=n: new_networks.notify(key.pk, {f"198.{n}.0.0/16": f"198.{n}.0.1"})
        for key in keys
        for n in range(20, 25)
    ]
    run_concurrently(works)
    assert count_events(KeyEvent.NEW_NETWORK) == new_networks.OWNER_NOTICES
