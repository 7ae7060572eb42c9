"""The staff's list of keys: filters, searches, and actions on many keys; nothing adds power."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit
from accounts.actions import freeze
from accounts.models import Notice
from apikeys.models import AddressUse, ApiKey, Refusal
from apikeys.policy.events import KeyEvent
from apikeys.staff.filters import covering
from tests.support.concurrency import run_concurrently
from tests.support.people import Person, customer, key_of, logged_in
from tests.support.staff import KEYS, REASON, act_on_keys, events, staff_browser, staff_member

pytestmark = pytest.mark.django_db


@pytest.fixture
def sara() -> Person:
    return customer(name="Sara")


def search(**filters: str) -> set[str]:
    """Return the names of the keys that the list shows with these filters."""
    answer: Any = staff_browser("security").get(KEYS, filters)
    assert answer.status_code == 200
    return {key.label for key in answer.context_data["keys"]}


def change(key: ApiKey, **fields: Any) -> None:
    ApiKey.objects.filter(pk=key.pk).update(**fields)


@pytest.fixture
def keys(sara: Person) -> dict[str, ApiKey]:
    """Five keys that differ in all filtered properties."""
    now = timezone.now()
    made = {name: key_of(sara, name) for name in ("open", "office", "old", "paused", "gone")}
    made["office"].apply(["read", "trade", "withdraw"], "trusted", ["203.0.113.0/24", "2001:db8::/48"])
    made["old"].apply(["read"], "trusted", ["198.51.100.7"])
    change(made["old"], created_at=now - timedelta(days=500), last_used_at=now - timedelta(days=200))
    change(made["open"], last_used_at=now - timedelta(hours=1))
    change(made["paused"], state="frozen", expires_at=now - timedelta(days=30))
    change(made["gone"], state="revoked", revoked_at=now)
    AddressUse.objects.create(key=made["open"], address="192.0.2.1", last_at=now, count=3)
    Refusal.objects.create(key=made["paused"], outcome="signature", address="192.0.2.2")
    return made


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, "open office old paused gone"),
        ({"state": "active"}, "open office old"),
        ({"state": "frozen"}, "paused"),
        ({"state": "revoked"}, "gone"),
        ({"permission": "withdraw"}, "office"),
        ({"policy": "trusted"}, "office old"),
        ({"policy": "trusted", "permission": "trade"}, "office"),
        ({"age": "older"}, "old"),
        ({"age": "7"}, "open office paused gone"),
        ({"used": "never"}, "office paused gone"),
        ({"used": "idle"}, "old"),
        ({"used": "1"}, "open"),
        ({"q": "OFF"}, "office"),
        ({"address": "203.0.113.9"}, "office"),
        ({"address": "۲۰۳.۰.۱۱۳.۹", "how": "admits"}, "office"),
        ({"address": "203.0.113.9", "how": "listed"}, ""),
        ({"address": "203.0.113.0/24", "how": "listed"}, "office"),
        ({"address": "203.0.113.128/25", "how": "admits"}, "office"),
        ({"address": "203.0.0.0/16", "how": "admits"}, ""),
        ({"address": "2001:db8::1"}, "office"),
        ({"address": "198.51.100.7", "how": "admits"}, "old"),
        ({"address": "192.0.2.1"}, "open"),
        ({"address": "192.0.2.2", "how": "seen"}, "paused"),
        ({"address": "192.0.2.3"}, ""),
        ({"address": "nonsense"}, ""),
        ({"state": "nonsense"}, ""),
    ],
)
def test_list_is_filtered(keys: dict[str, ApiKey], filters: dict[str, str], names: str) -> None:
    assert search(**filters) == set(names.split())


def test_frozen_accounts_and_expired_keys_are_states_too(keys: dict[str, ApiKey], sara: Person) -> None:
    change(keys["open"], expires_at=timezone.now() - timedelta(days=30))
    assert search(state="expired") == {"open"}
    freeze.freeze(None, sara.user)
    assert search(state="account_frozen") == {"open", "office", "old", "paused"}
    assert search(state="active") == set()


def test_key_is_found_by_its_id_whole_or_as_it_is_shown(keys: dict[str, ApiKey]) -> None:
    value = keys["old"].key_id
    for text in (value, f"{value[:6]}…{value[-4:]}", f"{value[:6]}...{value[-4:]}"):
        assert search(q=text) == {"old"}, text


def test_networks_that_cover_an_address_are_as_the_allow_list_spells_them() -> None:
    assert len(covering("203.0.113.9")) == 32
    assert {"203.0.113.9", "203.0.113.0/24", "128.0.0.0/1"} <= set(covering("203.0.113.9"))
    assert {"2001:db8::1", "2001:db8::/48"} <= set(covering("2001:db8::1"))


def test_page_shows_why_the_key_is_rejected(sara: Person) -> None:
    key = key_of(sara)
    change(key, state="frozen")
    freeze.quarantine(sara.user)
    Refusal.objects.create(key=key, outcome="stale", address="192.0.2.9", skew_ms=-7000)
    answer: Any = staff_browser("support").get(f"{KEYS}{key.pk}/change/")
    assert [reason.tone for reason in answer.context_data["reasons"]] == ["warn", "danger"]
    page = answer.content.decode()
    assert "درخواست دیر رسید" in page
    assert "192.0.2.9" in page


@pytest.mark.parametrize(
    ("role", "act", "state"),
    [
        ("support", "freeze", "frozen"),
        ("support", "revoke", None),
        ("security", "freeze", "frozen"),
        ("security", "revoke", "revoked"),
        ("auditor", "freeze", None),
        ("auditor", "revoke", None),
        ("chief", "revoke", "revoked"),
    ],
)
def test_role_by_act_on_keys(sara: Person, role: str, act: str, state: str | None) -> None:
    two = [key_of(sara, name) for name in ("one", "two")]
    me = staff_member(role)
    answer = act_on_keys(logged_in(me), act, *two)
    assert answer.status_code == (302 if state else 403)
    assert set(ApiKey.objects.values_list("state", flat=True)) == {state or "active"}
    left = events("key.frozen", "key.revoked")
    assert {e.target for e in left} == ({str(key.pk) for key in two} if state else set())
    assert {(e.actor, e.customer, e.detail["reason"]) for e in left} <= {(me.user, sara.user, REASON)}


def test_confirmation_lists_what_is_hit_and_nothing_happens_without_a_reason(sara: Person) -> None:
    hit, gone = key_of(sara, "ربات من"), key_of(sara, "gone")
    change(gone, state="revoked")
    client = staff_browser("security")
    for reason in (None, "", " x "):
        answer = act_on_keys(client, "revoke", hit, gone, reason=reason)
        assert [key.label for key in answer.context_data["keys"]] == ["ربات من"]
        assert answer.context_data["left_out"] == 1
    hit.refresh_from_db()
    assert hit.state == "active"
    assert events("key.revoked") == []


@pytest.mark.parametrize("chosen", [[], ["nonsense"], ["5f3e1d2c-0000-4000-8000-000000000000"]])
def test_nothing_chosen_changes_nothing(chosen: list[str]) -> None:
    client = staff_browser("security")
    for act in ("freeze", "nonsense", ""):
        answer = client.post(KEYS, {"action": act, "_selected_action": chosen, "reason": REASON})
        assert answer["Location"] == KEYS


def test_paused_by_staff_its_owner_is_notified(sara: Person) -> None:
    act_on_keys(staff_browser("support"), "freeze", key_of(sara))
    assert Notice.objects.get(user=sara.user).event.event == "key.frozen"
    assert REASON in logged_in(sara).get("/activity/").content.decode()


def test_looking_at_a_key_is_an_event_of_its_owner_that_the_owner_does_not_see(sara: Person) -> None:
    key, agent = key_of(sara, "ربات من"), staff_member("support")
    client = logged_in(agent)
    for _n in range(2):
        client.get(f"{KEYS}{key.pk}/change/")
    assert [(e.actor, e.customer, e.target) for e in events("staff.viewed")] == [
        (agent.user, sara.user, str(key.pk))
    ]
    assert "ربات من" not in logged_in(sara).get("/activity/").content.decode()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_staff_who_delete_at_once_leave_one_event_a_key() -> None:
    sara = customer()
    keys = [key_of(sara, f"key {n}") for n in range(3)]
    clients = [staff_browser("security"), staff_browser("security")]
    answers = run_concurrently([partial(act_on_keys, client, "revoke", *keys) for client in clients])
    assert [answer.status_code for answer in answers] == [302, 302]
    assert sorted(e.target for e in events("key.revoked")) == sorted(str(key.pk) for key in keys)


def test_page_of_a_key_shows_its_owners_events_found_by_the_key_alone(sara: Person) -> None:
    key, ali = key_of(sara, "bot"), customer()
    audit.record(KeyEvent.CHANGED, None, customer=sara.user, target=str(key.pk), label="of the owner")
    audit.record(KeyEvent.CHANGED, None, customer=ali.user, target=str(key.pk), label="of another one")
    audit.record(KeyEvent.CHANGED, None, customer=sara.user, target=str(key_of(sara, "b").pk), label="of b")
    client = staff_browser("security")
    with CaptureQueriesContext(connection) as captured:
        answer: Any = client.get(f"{KEYS}{key.pk}/change/")
    text = answer.content.decode()
    assert "of the owner" in text
    assert "of another one" not in text
    assert "of b" not in text
    statements = [each["sql"] for each in captured]
    [read] = [sql for sql in statements if 'FROM "accounts_auditevent"' in sql and "LIMIT 50" in sql]
    # PostgreSQL multiplies the shares of both, expects hardly any event, and sorts all events of the customer.
    assert '"customer_id" =' not in read.partition(" WHERE ")[2]
