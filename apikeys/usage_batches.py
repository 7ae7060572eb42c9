"""Writes what a gateway process counted: a few statements for everything together, whatever the number of requests."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apikeys import rescue, usage
from apikeys.gateway.tally import Batch
from apikeys.models import AddressUse, ApiKey, Credential, DailyUse
from apikeys.outcomes import Outcome

logger = logging.getLogger("portal.gateway")
#: Rows of one statement: SQLite takes 32,766 values, and each row has five.
ROWS = 2_000


def write(batch: Batch) -> None:
    """Adds ``batch`` to what is known of its keys; keys that are gone are left out. All or nothing."""
    names = {key.record.key for key, *_rest in batch.uses} | {key_id for key_id, *_rest in batch.refusals}
    columns = ("pk", "key_id", "last_used_at", "last_used_ip", "skew_ms")
    # SECURITY: always in the same order: two processes that write the same keys must not wait for each other.
    keys = {key.key_id: key for key in ApiKey.objects.filter(key_id__in=names).order_by("pk").only(*columns)}
    now = timezone.now()
    with transaction.atomic():
        _count(batch, keys)
        _note_addresses(batch, keys, now)
        _note_last_use(batch, keys, now)
    _note_refusals(batch, keys)


def _count(batch: Batch, keys: dict[str, ApiKey]) -> None:
    counts: Counter[tuple[Any, str, str]] = Counter()
    for (key, permission, _address, _credential), count in batch.uses.items():
        if key.record.key in keys:
            counts[keys[key.record.key].pk, Outcome.ALLOWED.value, permission] += count
    for (key_id, outcome, permission), count in batch.refusals.items():
        if key_id in keys:
            counts[keys[key_id].pk, outcome, permission] += count
    rows = [
        (pk, usage.today(), outcome, permission, count) for (pk, outcome, permission), count in counts.items()
    ]
    _upsert(
        DailyUse,
        ("key", "day", "outcome", "permission", "count"),
        rows,
        4,
        {"count": "{table}.count + excluded.count"},
    )


def _note_addresses(batch: Batch, keys: dict[str, ApiKey], now: datetime) -> None:
    counts: Counter[tuple[Any, str]] = Counter()
    for (key, _permission, address, _credential), count in batch.uses.items():
        if key.record.key in keys and address:
            counts[keys[key.record.key].pk, address] += count
    rows = [(pk, address, now, count) for (pk, address), count in counts.items()]
    add = {"count": "{table}.count + excluded.count", "last_at": "excluded.last_at"}
    _upsert(AddressUse, ("key", "address", "last_at", "count"), rows, 2, add)
    used = {pk for pk, _address in counts}
    known = Counter(use.key_id for use in AddressUse.objects.filter(key__in=used).only("key"))
    for pk in sorted(pk for pk, count in known.items() if count > usage.KEPT_ADDRESSES):
        usage.forget_old_addresses(pk)


def _note_last_use(batch: Batch, keys: dict[str, ApiKey], now: datetime) -> None:
    changed, credentials = {}, set()
    for (compiled, _permission, address, credential), _count in batch.uses.items():
        key = keys.get(compiled.record.key)
        if key is None:
            continue
        credentials.add(credential)
        if key.last_used_at is None or key.last_used_at < now - usage.GRAIN or key.last_used_ip != address:
            key.last_used_at, key.last_used_ip = now, address or None
            changed[key.key_id] = key
        skew_ms = usage.bounded_skew(compiled.skew_ms)
        if skew_ms is not None and usage.has_moved(key.skew_ms, skew_ms):
            key.skew_ms = skew_ms
            changed[key.key_id] = key
    ordered = [key for key in keys.values() if key.key_id in changed]
    ApiKey.objects.bulk_update(ordered, ["last_used_at", "last_used_ip", "skew_ms"], batch_size=ROWS)
    stale = Credential.objects.filter(pk__in=credentials).exclude(last_used_at__gte=now - usage.GRAIN)
    stale.order_by("pk").update(last_used_at=now)


def _note_refusals(batch: Batch, keys: dict[str, ApiKey]) -> None:
    for refused in batch.refused:
        key = keys.get(refused.key_id)
        if key is None:
            continue
        with transaction.atomic():
            ApiKey.objects.select_for_update(no_key=True).filter(
                pk=key.pk
            ).first()  # the lock of what is counted
            usage.note_refusal(key, refused.decision, refused.address, refused.permission)
        if refused.decision.rightly_signed:
            rescue.ask(key, refused.decision, refused.address)


def _upsert(
    model: type[Any], fields: Sequence[str], rows: Sequence[tuple[Any, ...]], unique: int, add: dict[str, str]
) -> None:
    """Inserts ``rows``; where the first ``unique`` fields exist already, ``add`` says what becomes of the others."""
    columns = [model._meta.get_field(name) for name in fields]
    table = connection.ops.quote_name(model._meta.db_table)
    names = [connection.ops.quote_name(column.column) for column in columns]
    changes = ", ".join(f"{name} = {how.format(table=table)}" for name, how in add.items())
    one = f"({', '.join(['%s'] * len(columns))})"
    for chunk in _chunks(sorted(rows, key=lambda row: [str(value) for value in row[:unique]])):
        values = [
            column.get_db_prep_save(value, connection)
            for row in chunk
            for column, value in zip(columns, row, strict=True)
        ]
        statement = (
            f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join([one] * len(chunk))} "  # nosec B608
            f"ON CONFLICT ({', '.join(names[:unique])}) DO UPDATE SET {changes}"
        )
        with connection.cursor() as cursor:
            cursor.execute(statement, values)


def _chunks(rows: Sequence[tuple[Any, ...]]) -> Iterable[Sequence[tuple[Any, ...]]]:
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS]
