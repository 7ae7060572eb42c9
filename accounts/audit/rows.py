"""Events and links as plain rows, for work over all of them: a model of each took most of its time."""

import json
from collections.abc import Collection, Iterable
from datetime import timedelta
from itertools import starmap
from typing import Any

from django.db import connections
from django.db.models import BigIntegerField, Func, QuerySet, TextField
from django.db.models.functions import Cast

from accounts.choices import audit_mac
from accounts.choices.audit_mac import StoredEvent, StoredLink
from accounts.models import AuditEvent, AuditLink


class _Microseconds(Func):
    """Microseconds since 1970: psycopg makes a number of the text in a fraction of the time of a `datetime`."""

    template = "(extract(epoch FROM %(expressions)s) * 1000000)::bigint"
    output_field = BigIntegerField()


def events(numbers: Collection[int]) -> dict[int, StoredEvent]:
    """Return the events with these numbers that are there, by number."""
    first, last = min(numbers, default=0), max(numbers, default=0)
    # Links follow their events' numbers nearly always: a range is shorter than a list of thousands.
    if last - first < 2 * len(numbers):
        chosen = AuditEvent.objects.filter(pk__gte=first, pk__lte=last)
    else:
        chosen = AuditEvent.objects.filter(pk__in=numbers)
    return {event.pk: event for event in _events(chosen.order_by())}


def first_events(chosen: QuerySet[AuditEvent], after: int, most: int) -> list[StoredEvent]:
    """Return up to ``most`` of the ``chosen`` events with numbers above ``after``, by number."""
    return list(_events(chosen.filter(pk__gt=after).order_by("pk")[:most]))


def links(chosen: QuerySet[AuditLink], most: int | None = None) -> list[StoredLink]:
    """Return up to ``most`` of the ``chosen`` links, by sequence."""
    return [StoredLink(*row) for row in chosen.order_by("sequence").values_list(*StoredLink._fields)[:most]]


def _events(chosen: QuerySet[AuditEvent]) -> Iterable[StoredEvent]:
    if connections[chosen.db].vendor != "postgresql":
        return (StoredEvent(*row) for row in chosen.values_list(*StoredEvent._fields))
    quick = {"at": _Microseconds("at"), "detail": Cast("detail", TextField())}
    return starmap(_of_columns, chosen.values_list(*(quick.get(name, name) for name in StoredEvent._fields)))


def _of_columns(pk: int, at: int, *columns: Any) -> StoredEvent:
    *texts, detail, mac, erased_mac = columns
    moment = audit_mac.EPOCH + timedelta(microseconds=at)
    return StoredEvent._make([pk, moment, *texts, json.loads(detail), mac, erased_mac])
