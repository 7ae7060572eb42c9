"""Re-encrypt values of older master keys with the first one, in batches. Can be run at any time and repeatedly."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Model, Q

from accounts.factors import verification
from accounts.models import RecoveryCode, TotpDevice, TrustedDevice, WebhookEndpoint
from apikeys.models import Credential
from hitobit_portal.security import crypto


@dataclass(frozen=True)
class EncryptedColumn:
    """A column of encrypted values; ``owner`` returns the additional data of a row's value."""

    name: str
    model: type[Model]
    column: str
    owner: Callable[[Any], str]
    related: tuple[str, ...] = ()


SEALED = (
    EncryptedColumn("secrets of API keys", Credential, "sealed", lambda row: row.seal_owner, ("key",)),
    EncryptedColumn(
        "authenticators", TotpDevice, "seed_sealed", lambda row: verification.seal_owner(row.user), ("user",)
    ),
    EncryptedColumn(
        "authenticators that wait for a code", TotpDevice, "next_seed_sealed",
        lambda row: verification.seal_owner(row.user, "next"), ("user",),
    ),
    EncryptedColumn("secrets of webhooks", WebhookEndpoint, "secret_sealed", lambda row: row.seal_owner),
    EncryptedColumn("old secrets of webhooks", WebhookEndpoint, "old_secret_sealed", lambda row: row.seal_owner),
)  # fmt: skip


def count_values() -> dict[str, int]:
    """Return the number of values encrypted with each master key, by its id; "?" for damaged values."""
    counts: Counter[str] = Counter()
    for column in SEALED:
        rows = column.model._default_manager.exclude(**{column.column: ""})
        values = rows.values_list(column.column, flat=True)
        counts.update(_key_of(value, 1) for value in values.iterator(chunk_size=5_000))
    return dict(counts)


def count_digests() -> dict[str, int]:
    """Return the number of recovery codes and trusted devices whose digests use each master key, by its id.

    Digests cannot be computed again: only their owners have the values. Without its key a recovery code is lost.
    """
    counts: Counter[str] = Counter()
    for model in (RecoveryCode, TrustedDevice):
        values = model._default_manager.values_list("digest", flat=True)
        counts.update(_key_of(value, 0) for value in values.iterator(chunk_size=5_000))
    return dict(counts)


def _key_of(value: str, place: int) -> str:
    parts = value.split(":")
    return parts[place] if len(parts) > place + 1 else "?"


def reencrypt_batches(size: int, damaged: list[str]) -> Iterator[int]:
    """Re-encrypt ``size`` values per transaction and yield their number, until nothing is left.

    Values that cannot be decrypted are left unchanged and added to ``damaged``: one damaged row must not keep the
    others on a compromised key. If the process is killed, only complete batches are done, and it can be run again.
    Values that are read meanwhile can be decrypted, before with the old key and afterwards with the new one.
    """
    current = f"{crypto.VERSION}:{crypto.current_key_id()}:"
    for column in SEALED:
        old = ~Q(**{column.column: ""}) & ~Q(**{f"{column.column}__startswith": current})
        last: Any = None
        while True:
            after = Q() if last is None else Q(pk__gt=last)
            last, count = _batch(column, old & after, size, damaged)
            if last is None:
                break
            yield count


def _batch(column: EncryptedColumn, which: Q, size: int, damaged: list[str]) -> tuple[Any, int]:
    """Re-encrypt one batch. Return the id of the last row (None: there was none) and the number of changed values."""
    manager = column.model._default_manager
    with transaction.atomic():
        # SECURITY: lock the rows: a credential or seed that is replaced concurrently must not get its old value back.
        locked = manager.select_for_update(of=("self",))
        if column.related:
            locked = locked.select_related(*column.related)
        rows = list(locked.filter(which).order_by("pk")[:size])
        changed = []
        for row in rows:
            owner = column.owner(row)
            try:
                secret = crypto.unseal(getattr(row, column.column), owner)
            except crypto.SealError as error:
                damaged.append(f"{column.name}, row {row.pk}: {error}")
                continue
            setattr(row, column.column, crypto.seal(secret, owner))
            changed.append(row)
        manager.bulk_update(changed, [column.column])
    return (rows[-1].pk if rows else None), len(changed)
