"""Export of security events, streamed row by row and never completely in memory.

Users appear by id and not by phone: files get copied, and staff who may know the phone find it by the id.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC

from django.db.models import QuerySet

from accounts.audit import texts
from accounts.models import AuditEvent
from hitobit_portal import csv_export

COLUMNS = (
    *(
        "id",
        "at",
        "event",
        "actor",
        "customer",
        "external_id",
        "target",
        "label",
        "succeeded",
        "address",
        "agent",
    ),
    *("request_id", "detail"),
)
CHUNK = 1000
Row = dict[str, object]


def rows(events: QuerySet[AuditEvent]) -> Iterator[Row]:
    """Yield the events, oldest first. Events recorded after the start are not included."""
    return map(texts.outgoing, _stored(events))


def _stored(events: QuerySet[AuditEvent]) -> Iterator[Row]:
    newest = events.order_by("-pk").values_list("pk", flat=True).first()
    chosen = events.filter(pk__lte=newest or 0).select_related("customer").order_by("pk")
    for event in chosen.iterator(chunk_size=CHUNK):
        yield {
            "id": event.pk,
            "at": event.at.astimezone(UTC).isoformat(),
            "event": event.event,
            "actor": event.actor_id,
            "customer": event.customer_id,
            "external_id": event.customer.external_id if event.customer else None,
            "target": event.target,
            "label": event.label,
            "succeeded": event.succeeded,
            "address": event.address,
            "agent": event.agent,
            "request_id": event.request_id,
            "detail": event.detail,
        }


def as_jsonl(events: Iterable[Row]) -> Iterator[bytes]:
    for row in events:
        yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def as_csv(events: Iterable[Row]) -> Iterator[bytes]:
    cells = ([_cell(row[column]) for column in COLUMNS] for row in events)
    for line in csv_export.lines(COLUMNS, cells):
        yield line.encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


FORMATS = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "jsonl": (as_jsonl, "application/x-ndjson"),
}
