"""Write the counts of a gateway process to the database with a few statements, whatever the number of requests.

The rows are sent once, into a temporary table that the statements join with the keys. With 10 000 keys a batch takes
30 ms of CPU time of this process, in steps of one row. As one JSON document for each statement it took 105 ms, and
through the ORM 1.9 s, during which no request was answered.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count, groupby, islice
from operator import itemgetter
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apikeys.actions import address_approval, new_networks
from apikeys.models import AddressUse, ApiKey, Credential, DailyUse, NetworkUse
from apikeys.usage import recorder
from apikeys.usage.batch import Batch
from apikeys.verification import networks
from apikeys.verification.outcomes import Outcome

#: Number of rows (0.2 ms) after which the interpreter lock is released. Otherwise the threads that answer requests get
#: it only every 5 ms (`sys.getswitchinterval`), and lose it at each poll of their sockets.
ROWS_PER_SLICE = 50
TABLE = """
    CREATE TEMPORARY TABLE IF NOT EXISTS portal_batch (
        n integer, key_id text, outcome text, permission text, count bigint, address text, plain text, skew_ms integer,
        credential bigint, network text
    ) {on_commit}"""
# The join drops the rows of keys that no longer exist.
# SECURITY: always in the order of the keys, so that two processes that write the same keys cannot deadlock.
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
# SECURITY: `network` is empty for requests that were not signed.
NEW_NETWORKS = """
    SELECT k.id, b.network, max(b.address)
    FROM portal_batch b JOIN {keys} k ON k.key_id = b.key_id
    LEFT JOIN {networks} n ON n.key_id = k.id AND n.network = b.network
    WHERE b.network <> '' AND k.ip_policy = 'unrestricted' AND n.id IS NULL
        AND EXISTS (SELECT 1 FROM {networks} o WHERE o.key_id = k.id)
    GROUP BY k.id, b.network ORDER BY k.id, b.network"""
FIRST_NETWORKS = """
    INSERT INTO {networks} (key_id, network, last_at)
    SELECT k.id, b.network, %s FROM portal_batch b JOIN {keys} k ON k.key_id = b.key_id
    WHERE b.network <> '' AND k.ip_policy = 'unrestricted'
        AND NOT EXISTS (SELECT 1 FROM {networks} o WHERE o.key_id = k.id)
    GROUP BY k.id, b.network ORDER BY k.id, b.network
    ON CONFLICT (key_id, network) DO NOTHING"""
KNOWN_NETWORKS = """
    UPDATE {networks} SET last_at = %s WHERE id IN (
        SELECT n.id FROM {networks} n WHERE n.last_at < %s AND n.id IN (
            SELECT o.id FROM portal_batch b JOIN {keys} k ON k.key_id = b.key_id
            JOIN {networks} o ON o.key_id = k.id AND o.network = b.network WHERE b.network <> ''
        ) ORDER BY n.key_id, n.id {lock_network})"""
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
    "lock_network": "FOR NO KEY UPDATE OF n",
}
SQLITE = {
    "on_commit": "",
    "address": "NULLIF(b.plain, '')",
    "differs": "IS NOT",
    "lock": "",
    "lock_network": "",
}

Row = tuple[int, str, str, str, int, str, str, int | None, int | None, str]


def write(batch: Batch) -> None:
    """Write ``batch``; rows of deleted keys are skipped. The counts are written in one transaction."""
    now = timezone.now()
    stale = _time(now - recorder.LAST_USED_INTERVAL)
    _write_rejected_requests(batch)
    with transaction.atomic():
        _send(_rows(batch))
        _run(COUNT, connection.ops.adapt_datefield_value(recorder.today()))
        new = _run(NEW_NETWORKS)
        _run(FIRST_NETWORKS, _time(now))
        _run(KNOWN_NETWORKS, _time(now), _time(now - new_networks.LAST_USED_INTERVAL))
        _run(ADDRESSES, _time(now))
        for (pk,) in _run(CROWDED, recorder.KEPT_ADDRESSES):
            recorder.forget_old_addresses(uuid.UUID(str(pk)))
        _run(LAST_USE, _time(now), stale, recorder.MIN_SKEW_CHANGE_MS)
        _run(CREDENTIALS, _time(now), stale)
    _notify_of_networks(new)


def _notify_of_networks(rows: Sequence[Any]) -> None:
    """``rows``: id of the key, network, address, in the order of the keys."""
    for pk, used in groupby(rows, key=itemgetter(0)):
        # A key that roams more widely than the notices of a day has the rest in the next batch.
        some = islice(used, new_networks.KEY_NOTICES)
        new_networks.notify(uuid.UUID(str(pk)), {network: address for _pk, network, address in some})


def _rows(batch: Batch) -> Iterator[Row]:
    numbers = count()
    allowed = Outcome.ALLOWED.value
    prepare = ApiKey._meta.get_field("last_used_ip").get_prep_value
    for key_id, permission, address, credential, requests, skew in batch.allowed:
        # The column has mapped IPv4 addresses as IPv4, whatever form the gateway used.
        plain = prepare(address) if ":" in address else address
        yield (
            *(next(numbers), key_id, allowed, permission, requests, address, plain),
            *(recorder.bounded_skew(skew), credential, networks.wide_network(address) if credential else ""),
        )
    for (key_id, outcome, permission), requests in batch.rejections.items():
        yield next(numbers), key_id, outcome, permission, requests, "", "", None, None, ""


def _send(rows: Iterator[Row]) -> None:
    """Copy the rows into the temporary table, which is empty again after the transaction."""
    _run(TABLE)
    _run("DELETE FROM portal_batch")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(
                "INSERT INTO portal_batch VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", list(rows)
            )
            return
        # Django wraps database errors of `execute` only.
        with connection.wrap_database_errors, cursor.copy("COPY portal_batch FROM STDIN") as copy:
            for n, row in enumerate(rows):
                copy.write_row(row)
                if n % ROWS_PER_SLICE == 0:
                    time.sleep(0.0005)


def _write_rejected_requests(batch: Batch) -> None:
    key_ids = {request.key_id for request in batch.rejected_requests}
    keys = {key.key_id: key for key in ApiKey.objects.filter(key_id__in=key_ids)} if key_ids else {}
    for request in batch.rejected_requests:
        key = keys.get(request.key_id)
        if key is None:
            continue
        with transaction.atomic():
            # The key's row is the lock for its rejections.
            ApiKey.objects.select_for_update(no_key=True).filter(pk=key.pk).first()
            recorder.record_rejection(
                key, request.decision, request.address, request.permission, request.line, request.at
            )
        if request.decision.is_authentic:
            address_approval.request_approval(key, request.decision, request.address)


def _time(at: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(at)


def _dialect() -> dict[str, str]:
    return SQLITE if connection.vendor == "sqlite" else POSTGRESQL


def _run(statement: str, *parameters: Any) -> Sequence[Any]:
    text = statement.format(
        counts=DailyUse._meta.db_table,
        addresses=AddressUse._meta.db_table,
        networks=NetworkUse._meta.db_table,
        keys=ApiKey._meta.db_table,
        credentials=Credential._meta.db_table,
        **_dialect(),
    )
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchall() if cursor.description else []
