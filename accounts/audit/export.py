"""The audit trail as CSV or JSON lines, event by event, oldest first. Phone numbers in it are masked."""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from django.db.models import QuerySet

from accounts.audit import rows, stream, texts
from accounts.choices.audit_mac import StoredEvent, StoredLink
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
_encode = json.JSONEncoder(ensure_ascii=False).encode


def lines(
    events: QuerySet[AuditEvent], kind: str, progress: Callable[[int], object] = lambda _events: None
) -> Iterator[str]:
    """``kind``: "csv" or "jsonl". ``progress`` is called with the number of events of each page."""
    linked = _linked(events, progress)
    # Names of keys and browsers come again and again.
    text = lru_cache(maxsize=10_000)(texts.harmless)
    if kind == "jsonl":
        return (f"{stream.line(*each, text)}\n" for each in linked)
    return csv_export.lines(COLUMNS, (_cells(stream.row(*each, text)) for each in linked))


def _linked(
    events: QuerySet[AuditEvent], progress: Callable[[int], object]
) -> Iterator[tuple[StoredEvent, StoredLink | None, dict[int, str]]]:
    """Pages by number: one long statement would keep the database from cleaning up meanwhile."""
    after = 0
    while page := rows.first_events(events, after, PAGE):
        after = page[-1].pk
        listed = rows.links(AuditLink.objects.filter(event__in=[event.pk for event in page]))
        links = {link.event_id: link for link in listed}
        known = stream.external_ids(page)
        yield from ((event, links.get(event.pk), known) for event in page)
        progress(len(page))


def _cells(row: dict[str, Any]) -> list[str]:
    return [_cell(row[column]) for column in COLUMNS]


def _cell(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if value is True or value is False:
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _encode(value)
