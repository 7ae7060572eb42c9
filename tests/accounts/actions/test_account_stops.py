"""Freeze and quarantine, which apply to all keys of an account."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils import timezone

from accounts.actions import freeze
from accounts.models import AuditEvent, LoginSession, TrustedDevice, User
from apikeys.actions import key_loader
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState
from apikeys.verification import decision
from apikeys.verification.outcomes import Outcome
from tests.support import people
from tests.support.binance_client import BinanceClient
from tests.support.people import ADDRESS, Person, browser, key_of, secret_of

pytestmark = pytest.mark.django_db
RESTRICTIONS = "/sapi/v1/account/apiRestrictions"


@pytest.fixture
def key(sara: Person) -> ApiKey:
    """Return a key with every permission, for one address."""
    key = key_of(sara)
    key.apply(["read", "trade", "withdraw"], "trusted", [ADDRESS])
    return key


def decided(key: ApiKey, permission: str, after: timedelta = timedelta(0)) -> Outcome:
    """Return the decision about a request that is signed and sent ``after`` from now."""
    now_ms = time.time_ns() // 1_000_000 + int(after.total_seconds() * 1000)
    call = BinanceClient(key.key_id, secret_of(key)).call("GET", "/", [("timestamp", str(now_ms))])
    return decision.decide(
        key_loader.load(key.key_id),
        api_key=key.key_id,
        query=call.query,
        body=b"",
        client_ip=ADDRESS,
        permission=permission,
        now_ms=now_ms,
    ).outcome


def restrictions(key: ApiKey) -> tuple[int, Any]:
    now = str(time.time_ns() // 1_000_000)
    call = BinanceClient(key.key_id, secret_of(key)).call("GET", RESTRICTIONS, [("timestamp", now)])
    response = browser().get(f"{RESTRICTIONS}?{call.query.decode()}", headers={"X-MBX-APIKEY": key.key_id})
    return response.status_code, response.json()


@pytest.mark.parametrize("permission", ["read", "trade", "withdraw"])
def test_nothing_passes_for_a_frozen_account(sara: Person, key: ApiKey, permission: str) -> None:
    assert decided(key, permission) is Outcome.ALLOWED
    assert freeze.freeze(None, sara.user)
    assert decided(key, permission) is Outcome.OWNER_FROZEN
    assert decided(key, permission, timedelta(days=365)) is Outcome.OWNER_FROZEN
    assert freeze.thaw(RequestFactory().post("/"), sara.user)
    assert decided(key, permission) is Outcome.ALLOWED


def test_a_key_of_a_frozen_account_gets_the_response_of_an_unknown_key(sara: Person, key: ApiKey) -> None:
    assert restrictions(key)[0] == 200
    freeze.freeze(None, sara.user)
    assert restrictions(key) == (
        401,
        {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
    )


def test_a_key_that_is_made_while_the_account_is_frozen_does_not_pass(sara: Person) -> None:
    freeze.freeze(None, sara.user)
    row = key_of_frozen(sara)
    assert decided(row, "read") is Outcome.OWNER_FROZEN


def key_of_frozen(person: Person) -> ApiKey:
    """Create a key without the pages, as another process could at the same moment."""
    User.objects.filter(pk=person.user.pk).update(frozen_at=None)
    row = key_of(Person(person.reload(), ""), "late")
    User.objects.filter(pk=person.user.pk).update(frozen_at=timezone.now())
    return row


def test_thawing_leaves_a_key_paused_that_was_paused_before(sara: Person, key: ApiKey) -> None:
    key.set_state(KeyState.FROZEN)
    freeze.freeze(None, sara.user)
    freeze.thaw(RequestFactory().post("/"), sara.user)
    assert decided(key, "read") is Outcome.KEY_INACTIVE


def test_freezing_ends_sessions_half_logins_and_trust_and_is_recorded_once(sara: Person) -> None:
    full, half = people.logged_in(sara), people.half_logged_in(sara)
    TrustedDevice.objects.create(user=sara.user, digest="x", expires_at=timezone.now() + timedelta(days=1))
    assert full.get("/dashboard/").status_code == 200
    assert half.get("/login/second-factor/").status_code == 200
    assert freeze.freeze(None, sara.reload())
    assert not freeze.freeze(None, sara.reload())
    assert full.get("/dashboard/").headers["Location"].startswith("/login/")
    assert half.get("/login/second-factor/").headers["Location"].startswith("/login/")
    assert not TrustedDevice.objects.exists()
    assert not LoginSession.objects.exists()
    assert AuditEvent.objects.filter(event="account.frozen").count() == 1


@pytest.mark.parametrize("permission", ["trade", "withdraw"])
def test_in_quarantine_keys_read_and_do_nothing_else_for_24_hours(
    sara: Person, key: ApiKey, permission: str
) -> None:
    freeze.quarantine(sara.user)
    assert decided(key, "read") is Outcome.ALLOWED
    assert decided(key, permission) is Outcome.QUARANTINE
    assert decided(key, permission, timedelta(hours=23, minutes=59)) is Outcome.QUARANTINE
    assert decided(key, permission, timedelta(hours=24, seconds=1)) is Outcome.ALLOWED


def test_quarantine_ends_at_once_when_it_is_lifted(sara: Person, key: ApiKey) -> None:
    freeze.quarantine(sara.user)
    assert restrictions(key)[1]["enableWithdrawals"] is False
    assert restrictions(key)[1]["enableSpotAndMarginTrading"] is False
    assert freeze.lift_quarantine(RequestFactory().post("/"), sara.user)
    assert not freeze.lift_quarantine(RequestFactory().post("/"), sara.user)
    assert decided(key, "withdraw") is Outcome.ALLOWED
    assert restrictions(key)[1]["enableWithdrawals"] is True


def test_a_permission_that_a_key_lacks_is_named_before_the_quarantine(sara: Person) -> None:
    reading = key_of(sara)
    freeze.quarantine(sara.user)
    assert decided(reading, "trade") is Outcome.PERMISSION
