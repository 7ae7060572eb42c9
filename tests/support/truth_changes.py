"""Changes that the authors of `tests.support.truth` make, each as the pages do: in one transaction, with its event."""

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.db import transaction

from accounts import audit
from accounts.actions import freeze
from accounts.choices.events import Event
from accounts.models import User
from apikeys.actions import rotation
from apikeys.models import ApiKey
from apikeys.policy.choices import KeyState as KeyState
from apikeys.policy.events import KeyEvent
from hitobit_portal.security import crypto
from tests.support import people
from tests.support.truth import GRACE_MS, HOME, OFFICE, KeyModel, KnownKey


@dataclass(frozen=True)
class Change:
    """``after`` returns the resulting state (random ends), or None if the change is impossible; ``make`` applies it."""

    name: str
    after: Callable[[KeyModel, random.Random], KeyModel | None]
    make: Callable[[KnownKey, KeyModel], None]


def make_keys(count: int) -> list[KnownKey]:
    """Create keys in rotation that may trade from two addresses, each with its own owner."""
    made = []
    for number in range(count):
        owner = people.customer()
        key = people.key_of(owner, f"key {number}")
        old = people.secret_of(key)
        new = rotation.rotate(key, None, 7 * 86_400, uuid.uuid4())
        key.apply(["read", "trade"], "trusted", [HOME, OFFICE])
        made.append(
            KnownKey(key.pk, key.key_id, owner.user, old, crypto.unseal(new.sealed, new.seal_owner).decode())
        )
    return made


def _state(known: KnownKey, after: KeyModel) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        key.set_state(KeyState.ACTIVE if after.active else KeyState.FROZEN)
        audit.record(
            KeyEvent.THAWED if after.active else KeyEvent.FROZEN,
            None,
            customer=key.owner,
            target=str(key.pk),
        )


def _settings(known: KnownKey, after: KeyModel) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        permissions = ["read", "trade"] if after.trades else ["read"]
        listed = [HOME, OFFICE] if after.office else [HOME]
        key.apply(permissions, "trusted", listed, expires_at=_moment(after.expires))
        audit.record(KeyEvent.CHANGED, None, customer=key.owner, target=str(key.pk))


def _trading(known: KnownKey, after: KeyModel) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        ApiKey.objects.filter(pk=known.pk).update(trade_until=_moment(after.trades_until))
        audit.record(KeyEvent.RENEWED, None, customer=key.owner, target=str(key.pk))


def _end_old_soon(known: KnownKey, after: KeyModel) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        oldest = key.credentials.order_by("pk")[:1].get()
        key.credentials.filter(pk=oldest.pk).update(retires_at=_moment(after.old_until))
        audit.record(KeyEvent.CREDENTIAL_ENDED, None, customer=key.owner, target=str(key.pk))


def _quarantine(known: KnownKey, after: KeyModel) -> None:
    with transaction.atomic():
        User.objects.filter(pk=known.owner.pk).update(quarantined_until=_moment(after.quarantined_until))
        event = Event.QUARANTINE_LIFTED if after.quarantined_until is None else Event.QUARANTINED
        audit.record(event, None, customer=known.owner)


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _soon(chance: random.Random) -> int:
    """Return a moment before and after which programs send requests."""
    return _now() + chance.randint(*SOON_MS)


def _end_old(known: KnownKey, after: KeyModel) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        rotation.end(key, rotation.live_credentials(key)[0])
        audit.record(KeyEvent.CREDENTIAL_ENDED, None, customer=key.owner, target=str(key.pk))


def _revoke(known: KnownKey, after: KeyModel) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        key.set_state(KeyState.REVOKED)
        audit.record(KeyEvent.REVOKED, None, customer=key.owner, target=str(key.pk))


def _account(known: KnownKey, after: KeyModel) -> None:
    if after.owner_frozen:
        freeze.freeze(None, known.owner)
    else:
        freeze.thaw(None, known.owner)


SOON_MS = 200, 1500
DAY_MS = 86_400_000


def _limited(state: KeyModel) -> KeyModel:
    """SECURITY: a key with trusted addresses has no end of trading; `ApiKey.apply` removes it."""
    return replace(state, trades_until=None)


CHANGES = (
    Change("pause", lambda s, _: replace(s, active=False) if s.active else None, _state),
    Change("resume", lambda s, _: None if s.active else replace(s, active=True), _state),
    Change("less power", lambda s, _: _limited(replace(s, trades=False)) if s.trades else None, _settings),
    Change("more power", lambda s, _: None if s.trades else _limited(replace(s, trades=True)), _settings),
    Change(
        "remove a network", lambda s, _: _limited(replace(s, office=False)) if s.office else None, _settings
    ),
    Change("add a network", lambda s, _: None if s.office else _limited(replace(s, office=True)), _settings),
    Change("expires soon", lambda s, chance: _limited(replace(s, expires=_soon(chance))), _settings),
    Change(
        "expired, and reads for a moment more",
        lambda s, chance: _limited(replace(s, expires=_soon(chance) - GRACE_MS)),
        _settings,
    ),
    Change(
        "expires never",
        lambda s, _: None if s.expires is None else _limited(replace(s, expires=None)),
        _settings,
    ),
    Change(
        "trading ends soon",
        lambda s, chance: replace(s, trades_until=_soon(chance)) if s.trades else None,
        _trading,
    ),
    Change(
        "trading is renewed",
        lambda s, _: None if s.trades_until is None else replace(s, trades_until=_now() + 90 * DAY_MS),
        _trading,
    ),
    Change("quarantine", lambda s, _: replace(s, quarantined_until=_now() + DAY_MS), _quarantine),
    Change(
        "quarantine ends soon", lambda s, chance: replace(s, quarantined_until=_soon(chance)), _quarantine
    ),
    Change(
        "lift the quarantine",
        lambda s, _: None if s.quarantined_until is None else replace(s, quarantined_until=None),
        _quarantine,
    ),
    Change("end the old secret", lambda s, _: None if s.old_ended else replace(s, old_ended=True), _end_old),
    Change(
        "the old secret ends soon",
        lambda s, chance: None if s.old_ended or s.old_until else replace(s, old_until=_soon(chance)),
        _end_old_soon,
    ),
    Change(
        "freeze the account", lambda s, _: None if s.owner_frozen else replace(s, owner_frozen=True), _account
    ),
    Change(
        "thaw the account", lambda s, _: replace(s, owner_frozen=False) if s.owner_frozen else None, _account
    ),
    Change("delete", lambda s, _: replace(s, revoked=True), _revoke),
)
