"""What tells of events from outside of the chain: the counter of their numbers, notices, and lines of the sink.

The chain alone can't tell that its end was cut off by somebody who puts an old head back: that head is signed, and was
right once. Each of these still knows of the events that came after it, unless it was put back, too.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models import Exists, Max, Min, OuterRef, Q

from accounts.choices import audit_mac
from accounts.choices.events import Event
from accounts.models import AuditEvent, AuditHead, AuditLink, Notice

PAGE = 2000
#: The highest number that was ever taken for an event. PostgreSQL counts also for transactions that are rolled back;
#: SQLite's counter is part of the transaction, so that a number which is gone was an event's.
ISSUED = {
    "postgresql": "SELECT pg_sequence_last_value(pg_get_serial_sequence('accounts_auditevent', 'id')::regclass)",
    "sqlite": "SELECT seq FROM sqlite_sequence WHERE name = 'accounts_auditevent'",
}
#: Numbers in a row without an event that are no proof of anything, where other events follow. PostgreSQL skips up to 32
#: after a crash of its server (SEQ_LOG_VALS), and a transaction that is rolled back keeps the few that it took.
SKIPPED = {"postgresql": 32, "sqlite": 0}
GAPS = """
    SELECT before + 1, id - 1 FROM (
        SELECT id, LAG(id) OVER (ORDER BY id) AS before FROM accounts_auditevent WHERE id >= %s AND id <= %s
    ) numbered WHERE id - before > 1 ORDER BY id
"""
#: Transactions of others in this database, by what PostgreSQL calls them; whether they have written events.
OPEN = """
    SELECT mine.virtualxid, EXISTS (
        SELECT 1 FROM pg_locks wrote WHERE wrote.pid = mine.pid AND wrote.mode = 'RowExclusiveLock'
        AND wrote.relation = 'accounts_auditevent'::regclass
    ) FROM pg_locks mine JOIN pg_stat_activity activity USING (pid)
    WHERE mine.locktype = 'virtualxid' AND mine.granted AND mine.pid <> pg_backend_pid()
    AND activity.datname = current_database()
"""
#: s; between taking a number and writing the event there is a MAC and nothing else.
MOMENT, PATIENCE = 1, 10


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its kind, in which link and event (numbers, where there is one), and in words."""

    kind: str
    what: str
    sequence: int | None = None
    event: int | None = None
    #: Of events that are missing: the first and the last one.
    numbers: tuple[int, int] | None = None


@dataclass(frozen=True)
class Remark(Finding):
    """One thing that an operator should know, and that has an honest cause."""


def issued() -> int:
    """The highest number that was taken so far. To be asked before anything else is read."""
    with connection.cursor() as cursor:
        cursor.execute(ISSUED[connection.vendor], [])
        row = cursor.fetchone()
    return row[0] or 0 if row else 0


def of_numbers(highest: int, lowest: int | None = None) -> Iterator[Finding]:
    """Numbers up to ``highest``, which `issued` said before, under which there is no event.

    ``lowest``: the first number to look at; None: that of the first event.
    """
    yield from _of_counter()
    is_settled = _settle()
    explained = list(_explained())
    small: list[tuple[int, int]] = []
    for first, last, is_end in _missing(highest, lowest):
        if any(low <= first and last <= high for low, high in explained) or _is_told(first, last):
            continue
        if is_end and not is_settled:
            what = f"numbers {first} to {last} belong to transactions that go on; look again"
            yield Remark("open_numbers", what, None, first)
        elif is_end:
            what = f"{_numbers(first, last)} issued last; no event has {_them(first, last)}: the newest were removed"
            if connection.vendor == "postgresql":
                what += ", or a transaction was rolled back and nothing happened since"
            yield Finding("missing_number", what, None, first, (first, last))
        elif last - first >= SKIPPED[connection.vendor]:
            what = (
                f"{_numbers(first, last)} issued, later ones are there, and no event has {_them(first, last)}"
            )
            yield Finding("missing_number", what, None, first, (first, last))
        else:
            small.append((first, last))
    if small:
        count = sum(last - first + 1 for first, last in small)
        shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in small[-5:])
        what = (
            f"{count} numbers without an event, as transactions leave that are rolled back; the last: {shown}"
        )
        yield Remark("rolled_back", what, None, small[-1][0])


def _of_counter() -> Iterator[Finding]:
    head = AuditHead.objects.first()
    # The counter is asked after the head, which moves on meanwhile.
    if head is not None and audit_mac.is_head(head) and head.highest_event > (counter := issued()):
        what = (
            f"the counter of event numbers was set back: it is {counter}, and {head.highest_event} is linked"
        )
        yield Finding("counter", what, None, head.highest_event)


def _numbers(first: int, last: int) -> str:
    return f"number {first} was" if first == last else f"numbers {first} to {last} were"


def _them(first: int, last: int) -> str:
    return "it" if first == last else "them"


def _missing(highest: int, lowest: int | None) -> Iterator[tuple[int, int, bool]]:
    """(first, last, whether nothing follows) of each run of numbers without an event."""
    events = AuditEvent.objects.filter(pk__lte=highest)
    if lowest is None:
        # Without any event the end is all there is.
        lowest = events.aggregate(lowest=Min("pk"))["lowest"] or 1
    with connection.cursor() as cursor:
        cursor.execute(GAPS, [lowest, highest])
        gaps = cursor.fetchall()
    last = events.aggregate(last=Max("pk"))["last"] or 0
    yield from ((first, end, False) for first, end in gaps)
    if max(last, lowest - 1) < highest:
        yield max(last + 1, lowest), highest, True


def _is_told(first: int, last: int) -> bool:
    """Whether links tell of each of the events that are gone; the walk over the chain finds those."""
    return AuditLink.objects.filter(event_id__gte=first, event_id__lte=last).count() == last - first + 1


def _explained() -> Iterator[tuple[int, int]]:
    """Runs of numbers for which an operator gave a reason (``verify_audit --explain``)."""
    for event in AuditEvent.objects.filter(event=Event.AUDIT_EXPLAINED.value).order_by("pk"):
        if audit_mac.is_event(event):
            yield from ((first, last) for first, last in event.detail["numbers"])


def _settle() -> bool:
    """Waits until transactions that may have taken a number before now are over; whether they are.

    SQLite's are: reading saw what was committed, and the counter with it.
    """
    if connection.vendor != "postgresql":
        return True
    before, begun = _open(), time.monotonic()
    while before:
        waited = time.monotonic() - begun
        now = _open()
        before = {name: now[name] for name in before if name in now}
        if waited > MOMENT and not any(before.values()):
            return True
        if waited > PATIENCE:
            return False
        time.sleep(0.05)
    return True


def _open() -> dict[str, bool]:
    with connection.cursor() as cursor:
        cursor.execute(OPEN)
        return dict(cursor.fetchall())


def of_notices(lowest: int | None = None) -> Iterator[Finding]:
    """Events that somebody was told of, and that are gone: pruning removes both. ``lowest``: the first number."""
    gone = Notice.objects.filter(
        Q() if lowest is None else Q(event_id__gte=lowest),
        ~Exists(AuditEvent.objects.filter(pk=OuterRef("event_id"))),
        # A link without an event is found by the walk.
        ~Exists(AuditLink.objects.filter(event_id=OuterRef("event_id"))),
    )
    for event in (
        gone.order_by("event_id").values_list("event_id", flat=True).distinct().iterator(chunk_size=PAGE)
    ):
        yield Finding("missing_event", "a notice tells of the event, and it was removed", None, event)


@dataclass(frozen=True)
class Line:
    """One line of the sink."""

    sequence: int
    id: int
    at: datetime
    event: str
    mac: str


def of_sink(path: Path, since: datetime | None = None) -> Iterator[Finding]:
    """Events that a file of the sink's lines tells of, and that are gone or are others now. Raises `OSError`."""
    bad = again = last = 0
    with path.open("rb") as file:
        while texts := list(islice(file, PAGE)):
            lines = [line for text in texts if (line := _line(text)) is not None]
            bad += len(texts) - len(lines)
            last = max([last, *(line.sequence for line in lines)])
            young = [line for line in lines if since is None or line.at >= since]
            for line, event, link in _compared(young):
                if event is None:
                    what = f"{path.name} tells of the event, and it was removed"
                    yield Finding("missing_event", what, line.sequence, line.id)
                elif (event.at, event.event) != (line.at, line.event):
                    what = f"{path.name} tells of another event with this number, which was removed"
                    yield Finding("replaced_event", what, line.sequence, line.id)
                elif link is not None and link.mac != line.mac:
                    again += 1
    if again:
        what = f"{again} events of {path.name} were linked again afterwards, as after a crash of the database's server"
        yield Remark("linked_again", what)
    if bad:
        yield Remark("bad_line", f"{bad} lines of {path.name} can't be read")
    streamed = AuditHead.objects.values_list("streamed", flat=True).first() or 0
    if last < streamed:
        what = (
            f"{path.name} ends with link {last}, and {streamed} were written: rotated, elsewhere, or cut off"
        )
        yield Remark("short_sink", what, last or None)


def _compared(lines: list[Line]) -> Iterator[tuple[Line, AuditEvent | None, AuditLink | None]]:
    """Each line with the event and the link of its number; without those that were pruned."""
    events = AuditEvent.objects.in_bulk([line.id for line in lines])
    links = AuditLink.objects.in_bulk([line.id for line in lines], field_name="event_id")
    # Afterwards, since pruning may go on: what it removed before is below this.
    pruned = AuditHead.objects.values_list("pruned_sequence", flat=True).first() or 0
    for line in lines:
        if line.id in events or line.sequence > pruned:
            yield line, events.get(line.id), links.get(line.id)


def _line(text: bytes) -> Line | None:
    """None when ``text`` is no line of the sink."""
    try:
        row: dict[str, Any] = json.loads(text)
        at = datetime.fromisoformat(row["at"]).astimezone(UTC)
        return Line(int(row["sequence"]), int(row["id"]), at, str(row["event"]), str(row["mac"]))
    except (ValueError, TypeError, KeyError):
        return None
