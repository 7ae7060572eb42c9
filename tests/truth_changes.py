"""What the authors of `tests.truth` change, each as the pages do: in one transaction, with its event."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from django.db import transaction

from accounts import audit, emergency
from accounts.events import Event
from apikeys import rotation
from apikeys.models import ApiKey
from apikeys.rules import State as KeyState
from hitobit_portal import crypto
from tests import people
from tests.truth import HOME, OFFICE, Known, State


@dataclass(frozen=True)
class Change:
    """``after``: the state that it leads to, None where it can't be made; ``make`` does it."""

    name: str
    after: Callable[[State], State | None]
    make: Callable[[Known, State], None]


def make_keys(count: int) -> list[Known]:
    """Keys in rotation that trade from two addresses; an owner each."""
    made = []
    for number in range(count):
        owner = people.customer()
        key = people.key_of(owner, f"key {number}")
        old = people.secret_of(key)
        new = rotation.rotate(key, None, 7 * 86_400, uuid.uuid4())
        key.apply(["read", "trade"], "trusted", [HOME, OFFICE])
        made.append(
            Known(key.pk, key.key_id, owner.user, old, crypto.unseal(new.sealed, new.seal_owner).decode())
        )
    return made


def _state(known: Known, after: State) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        key.set_state(KeyState.ACTIVE if after.active else KeyState.FROZEN)
        audit.record(
            Event.KEY_THAWED if after.active else Event.KEY_FROZEN,
            None,
            customer=key.owner,
            target=str(key.pk),
        )


def _settings(known: Known, after: State) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        permissions = ["read", "trade"] if after.trades else ["read"]
        key.apply(permissions, "trusted", [HOME, OFFICE] if after.office else [HOME])
        audit.record(Event.KEY_CHANGED, None, customer=key.owner, target=str(key.pk))


def _end_old(known: Known, after: State) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        rotation.end(key, rotation.live(key)[0])
        audit.record(Event.KEY_CREDENTIAL_ENDED, None, customer=key.owner, target=str(key.pk))


def _revoke(known: Known, after: State) -> None:
    key = ApiKey.objects.select_related("owner").get(pk=known.pk)
    with transaction.atomic():
        key.set_state(KeyState.REVOKED)
        audit.record(Event.KEY_REVOKED, None, customer=key.owner, target=str(key.pk))


def _account(known: Known, after: State) -> None:
    if after.owner_frozen:
        emergency.freeze(None, known.owner)
    else:
        emergency.thaw(None, known.owner)


CHANGES = (
    Change("pause", lambda s: replace(s, active=False) if s.active else None, _state),
    Change("resume", lambda s: None if s.active else replace(s, active=True), _state),
    Change("less power", lambda s: replace(s, trades=False) if s.trades else None, _settings),
    Change("more power", lambda s: None if s.trades else replace(s, trades=True), _settings),
    Change("remove a network", lambda s: replace(s, office=False) if s.office else None, _settings),
    Change("add a network", lambda s: None if s.office else replace(s, office=True), _settings),
    Change("end the old secret", lambda s: None if s.old_ended else replace(s, old_ended=True), _end_old),
    Change(
        "freeze the account", lambda s: None if s.owner_frozen else replace(s, owner_frozen=True), _account
    ),
    Change(
        "thaw the account", lambda s: replace(s, owner_frozen=False) if s.owner_frozen else None, _account
    ),
    Change("delete", lambda s: replace(s, revoked=True), _revoke),
)
