"""Seals again, under the first master key, what an older one sealed: in batches, at any time, as often as wanted."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Model, Q

from accounts.factors import verification
from accounts.models import RecoveryCode, TotpDevice, TrustedDevice
from apikeys.models import Credential
from hitobit_portal.security import crypto


@dataclass(frozen=True)
class Sealed:
    """A column of sealed values, and whose each is."""

    name: str
    model: type[Model]
    column: str
    owner: Callable[[Any], str]
    related: str


SEALED = (
    Sealed("secrets of API keys", Credential, "sealed", lambda row: row.seal_owner, "key"),
    Sealed("authenticators", TotpDevice, "seed_sealed", lambda row: verification.seal_owner(row.user), "user"),
    Sealed(
        "authenticators that wait for a code", TotpDevice, "next_seed_sealed",
        lambda row: verification.seal_owner(row.user, "next"), "user",
    ),
)  # fmt: skip


def counts() -> dict[str, int]:
    """How many values each master key seals, by its id; "?" for what is damaged."""
    found: Counter[str] = Counter()
    for sealed in SEALED:
        rows = sealed.model._default_manager.exclude(**{sealed.column: ""})
        values = rows.values_list(sealed.column, flat=True)
        found.update(_key_of(value, 1) for value in values.iterator(chunk_size=5_000))
    return dict(found)


def digests() -> dict[str, int]:
    """How many recovery codes and trusted devices are known by a digest under each master key.

    They can't be made anew: only their owners have what they are digests of. Without its key a recovery code is lost.
    """
    found: Counter[str] = Counter()
    for model in (RecoveryCode, TrustedDevice):
        values = model._default_manager.values_list("digest", flat=True)
        found.update(_key_of(value, 0) for value in values.iterator(chunk_size=5_000))
    return dict(found)


def _key_of(value: str, place: int) -> str:
    parts = value.split(":")
    return parts[place] if len(parts) > place + 1 else "?"


def batches(size: int, damaged: list[str]) -> Iterator[int]:
    """Seals ``size`` values a transaction again, and says how many it were; ends when nothing is left.

    What does not open is left as it is, and named in ``damaged``: one bad row must not keep the others under a leaked
    key.
    Killed at any point it has done whole batches and none by half: it is begun again. Whatever is read meanwhile opens,
    before under the old key and after under the new one.
    """
    current = f"{crypto.VERSION}:{crypto.current_key_id()}:"
    for sealed in SEALED:
        old = ~Q(**{sealed.column: ""}) & ~Q(**{f"{sealed.column}__startswith": current})
        last: Any = None
        while True:
            after = Q() if last is None else Q(pk__gt=last)
            last, count = _batch(sealed, old & after, size, damaged)
            if last is None:
                break
            yield count


def _batch(sealed: Sealed, which: Q, size: int, damaged: list[str]) -> tuple[Any, int]:
    """The id of the last row that was looked at (None: there was none), and how many were sealed again."""
    manager = sealed.model._default_manager
    with transaction.atomic():
        # SECURITY: locked: a credential or seed that is replaced at this moment must not get its old value back.
        locked = manager.select_for_update(of=("self",)).select_related(sealed.related)
        rows = list(locked.filter(which).order_by("pk")[:size])
        changed = []
        for row in rows:
            owner = sealed.owner(row)
            try:
                secret = crypto.unseal(getattr(row, sealed.column), owner)
            except crypto.SealError as error:
                damaged.append(f"{sealed.name}, row {row.pk}: {error}")
                continue
            setattr(row, sealed.column, crypto.seal(secret, owner))
            changed.append(row)
        manager.bulk_update(changed, [sealed.column])
    return (rows[-1].pk if rows else None), len(changed)
