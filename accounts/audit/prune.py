"""Pruning: removes the oldest events with their links and notices; the head keeps the checkpoint the rest builds on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Min
from django.utils import timezone

from accounts.audit import chain
from accounts.models import AuditHead, AuditLink

#: Links a transaction: whoever records an event meanwhile waits for one of these.
BATCH = 1000
#: Notices of an event are tried for three days, and their links freeze the account for longer.
LEAST_DAYS = 30


@dataclass(frozen=True)
class Plan:
    """Which links go, by sequence; none when ``last`` is before ``first``."""

    first: int
    last: int

    @property
    def count(self) -> int:
        return max(0, self.last - self.first + 1)


def plan(before: datetime) -> Plan:
    """The beginning of the chain up to its first event that is not older than ``before``."""
    head = AuditHead.objects.get()
    young = AuditLink.objects.filter(event__at__gte=before).aggregate(first=Min("sequence"))["first"]
    return Plan(head.pruned_sequence + 1, head.sequence if young is None else young - 1)


def prune(planned: Plan, progress: Callable[[int, int], object]) -> None:
    """Removes what was planned, in batches of one transaction each: killed half-way, it can be run again.

    Raises `chain.ChainError`, and `django.db.DatabaseError`.
    """
    end = planned.first - 1
    while end < planned.last:
        with transaction.atomic():
            head = chain.locked_head()
            first, end = head.pruned_sequence + 1, min(head.pruned_sequence + BATCH, planned.last)
            if first > end:
                return  # somebody else pruned as much meanwhile
            head.pruned_mac = AuditLink.objects.get(sequence=end).mac
            head.pruned_sequence, head.pruned_at = end, timezone.now()
            _remove(first, end)
            head.save()
        progress(end - planned.first + 1, planned.count)


def _remove(first: int, last: int) -> None:
    events = "SELECT event_id FROM accounts_auditlink WHERE sequence BETWEEN %s AND %s"
    # By statements, since the models refuse it; notices hold addresses, and are of no use without their event.
    with chain.removing(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM accounts_notice WHERE event_id IN ({events})", [first, last])  # nosec B608
        cursor.execute(f"DELETE FROM accounts_auditevent WHERE id IN ({events})", [first, last])  # nosec B608
        cursor.execute("DELETE FROM accounts_auditlink WHERE sequence BETWEEN %s AND %s", [first, last])
