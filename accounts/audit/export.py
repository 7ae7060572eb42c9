"""The audit trail as CSV or JSON lines, event by event, oldest first. Phone numbers in it are masked."""

import json
from collections.abc import Iterator

from django.db.models import QuerySet

from accounts.audit import stream
from accounts.models import AuditEvent, AuditLink
from hitobit_portal import csv_export

COLUMNS = (
    *(
        "sequence",
        "id",
        "at",
        "event",
        "customer",
        "external_id",
        "actor",
        "target",
        "label",
        "succeeded",
        "address",
        "agent",
    ),
    *("request_id", "detail", "mac"),
)
PAGE = 2000


def lines(events: QuerySet[AuditEvent], kind: str) -> Iterator[str]:
    """``kind``: "csv" or "jsonl"."""
    rows = (stream.line(event, link, known) for event, link, known in _linked(events))
    if kind == "jsonl":
        return (f"{row}\n" for row in rows)
    return csv_export.lines(COLUMNS, (_cells(row) for row in rows))


def _linked(events: QuerySet[AuditEvent]) -> Iterator[tuple[AuditEvent, AuditLink | None, dict[int, str]]]:
    """Pages by number: one long statement would keep the database from cleaning up meanwhile."""
    after = 0
    while page := list(events.filter(pk__gt=after).order_by("pk")[:PAGE]):
        after = page[-1].pk
        links = {link.event_id: link for link in AuditLink.objects.filter(event__in=page)}
        known = stream.external_ids(page)
        yield from ((event, links.get(event.pk), known) for event in page)


def _cells(row: str) -> list[str]:
    values = json.loads(row)
    return [_cell(values[column]) for column in COLUMNS]


def _cell(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
