"""Writes what a gateway process counted: a few statements for everything together, whatever the number of requests.

The rows travel once, into a temporary table that the statements join with the keys: with 10 000 keys a batch takes
30 ms of this process, of which nothing is longer than a row. As one document for each statement it took 105 ms, and
through the ORM 1.9 s, and the answers waited for it.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apikeys.actions import address_approval
from apikeys.models import AddressUse, ApiKey, Credential, DailyUse
from apikeys.usage import recorder
from apikeys.usage.batch import Batch
from apikeys.verification.outcomes import Outcome

#: Rows after which the interpreter is left to whoever waits for it: 0.2 ms. Threads that answer would get it only every
#: 5 ms (`sys.getswitchinterval`), and lose it at each look for requests.
GIVE_WAY = 50
TABLE = """
    CREATE TEMPORARY TABLE IF NOT EXISTS portal_batch (
        n integer, key_id text, outcome text, permission text, count bigint, address text, plain text, skew_ms integer,
        credential bigint
    ) {on_commit}"""
# What names no key any more falls out by the join.
# SECURITY: always in the order of the keys: two processes that write the same ones must not wait for each other.
COUNT = """
    INSERT INTO {counts} (key_id, day, outcome, permission, count)
    SELECT k.id, %s, b.outcome, b.permission, CAST(sum(b.count) AS bigint)
    FROM portal_batch b JOIN {keys} k ON k.key_id = b.key_id
    WHERE true GROUP BY k.id, b.outcome, b.permission ORDER BY k.id, b.outcome, b.permission
    ON CONFLICT (key_id, day, outcome, permission) DO UPDATE SET count = {counts}.count + excluded.count"""
ADDRESSES = """
    INSERT INTO {addresses} (key_id, address, last_at, count)
    SELECT k.id, b.address, %s, CAST(sum(b.count) AS bigint)
    FROM portal_batch b JOIN {keys} k ON k.key_id = b.key_id
    WHERE b.address <> '' GROUP BY k.id, b.address ORDER BY k.id, b.address
    ON CONFLICT (key_id, address) DO UPDATE
    SET count = {addresses}.count + excluded.count, last_at = excluded.last_at"""
CROWDED = """
    SELECT k.id FROM {keys} k JOIN {addresses} a ON a.key_id = k.id
    WHERE k.key_id IN (SELECT key_id FROM portal_batch WHERE address <> '') GROUP BY k.id HAVING count(*) > %s"""
LAST_USE = """
    UPDATE {keys} SET last_used_at = %s, last_used_ip = COALESCE(used.address, last_used_ip),
        skew_ms = COALESCE(used.skew_ms, {keys}.skew_ms)
    FROM (
        SELECT k.id, {address} AS address, b.skew_ms AS skew_ms
        FROM portal_batch b JOIN {keys} k ON k.key_id = b.key_id
        WHERE b.n IN (SELECT max(n) FROM portal_batch WHERE credential IS NOT NULL GROUP BY key_id)
            AND (k.last_used_at IS NULL OR k.last_used_at < %s OR k.last_used_ip {differs} {address}
                OR (b.skew_ms IS NOT NULL AND (k.skew_ms IS NULL OR abs(b.skew_ms - k.skew_ms) >= %s)))
        ORDER BY k.id {lock}
    ) AS used WHERE {keys}.id = used.id"""
CREDENTIALS = """
    UPDATE {credentials} SET last_used_at = %s WHERE id IN (
        SELECT k.id FROM {credentials} k WHERE k.id IN (SELECT credential FROM portal_batch)
            AND (k.last_used_at IS NULL OR k.last_used_at < %s) ORDER BY k.id {lock})"""
POSTGRESQL = {
    "on_commit": "ON COMMIT DELETE ROWS",
    "address": "CAST(NULLIF(b.plain, '') AS inet)",
    "differs": "IS DISTINCT FROM",
    "lock": "FOR NO KEY UPDATE OF k",
}
SQLITE = {
    "on_commit": "",
    "address": "NULLIF(b.plain, '')",
    "differs": "IS NOT",
    "lock": "",
}

Row = tuple[int, str, str, str, int, str, str, int | None, int | None]


def write(batch: Batch) -> None:
    """Adds ``batch`` to what is known of its keys; keys that are gone are left out. The counts: all or nothing."""
    now = timezone.now()
    stale = _time(now - recorder.GRAIN)
    _note_refusals(batch)
    with transaction.atomic():
        _send(_rows(batch))
        _run(COUNT, connection.ops.adapt_datefield_value(recorder.today()))
        _run(ADDRESSES, _time(now))
        for (pk,) in _run(CROWDED, recorder.KEPT_ADDRESSES):
            recorder.forget_old_addresses(uuid.UUID(str(pk)))
        _run(LAST_USE, _time(now), stale, recorder.SKEW_GRAIN_MS)
        _run(CREDENTIALS, _time(now), stale)


def _rows(batch: Batch) -> Iterator[Row]:
    numbers = count()
    allowed = Outcome.ALLOWED.value
    plain_of = ApiKey._meta.get_field("last_used_ip").get_prep_value
    for name, permission, address, credential, times, skew in batch.uses:
        # The column holds an IPv4 address as one, however the gateway wrote it.
        plain = plain_of(address) if ":" in address else address
        yield (
            *(next(numbers), name, allowed, permission, times, address, plain),
            *(recorder.bounded_skew(skew), credential),
        )
    for (name, outcome, permission), times in batch.refusals.items():
        yield next(numbers), name, outcome, permission, times, "", "", None, None


def _send(rows: Iterator[Row]) -> None:
    """Into the temporary table, which is empty at the end of the transaction."""
    _run(TABLE)
    _run("DELETE FROM portal_batch")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(
                "INSERT INTO portal_batch VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", list(rows)
            )
            return
        # Django wraps the errors of `execute` alone.
        with connection.wrap_database_errors, cursor.copy("COPY portal_batch FROM STDIN") as copy:
            for n, row in enumerate(rows):
                copy.write_row(row)
                if n % GIVE_WAY == 0:
                    time.sleep(0.0005)


def _note_refusals(batch: Batch) -> None:
    names = {refused.key_id for refused in batch.refused}
    keys = {key.key_id: key for key in ApiKey.objects.filter(key_id__in=names)} if names else {}
    for refused in batch.refused:
        key = keys.get(refused.key_id)
        if key is None:
            continue
        with transaction.atomic():
            ApiKey.objects.select_for_update(no_key=True).filter(
                pk=key.pk
            ).first()  # the lock of what is counted
            recorder.note_refusal(key, refused.decision, refused.address, refused.permission)
        if refused.decision.is_authentic:
            address_approval.ask(key, refused.decision, refused.address)


def _time(at: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(at)


def _words() -> dict[str, str]:
    return SQLITE if connection.vendor == "sqlite" else POSTGRESQL


def _run(statement: str, *parameters: Any) -> Sequence[Any]:
    text = statement.format(
        counts=DailyUse._meta.db_table,
        addresses=AddressUse._meta.db_table,
        keys=ApiKey._meta.db_table,
        credentials=Credential._meta.db_table,
        **_words(),
    )
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchall() if cursor.description else []
