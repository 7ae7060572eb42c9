"""The sealer: links committed events into one chain, in short transactions of its own.

Links are not written in the transactions of business: one chain for all would make those wait for one another, and
they hold other rows already, in any order, so that some would wait forever. So an event is linked right after its
commit (`soon`); what a killed process left behind is linked by the next event nearby, or by `seal_pending`.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.models import Max

from accounts.audit import stream
from accounts.choices import audit_mac
from accounts.models import AuditEvent, AuditHead, AuditLink

logger = logging.getLogger("portal.audit")
PAGE = 500
#: How far behind the highest linked event a younger commit is looked for: transactions of that many events at once.
NEARBY = 200
#: The same for the thorough round, which will not look further back again.
FAR = 10_000
GUARD = "accounts_audit_pruning"
# Statements by hand: they follow every event, and Django's making of them took four times as long as the database.
#: A crash of PostgreSQL's server may lose the last links, whose events are then linked again: so the head, for which
#: everybody waits, is not locked while a disk writes.
LOCKED_HEAD = {
    "postgresql": "SELECT *, set_config('synchronous_commit', 'off', true) AS quick FROM accounts_audithead FOR UPDATE",
    "sqlite": "SELECT * FROM accounts_audithead",  # under the write lock of the transaction
}
#: Both ranges by their indexes.
UNLINKED = """
    SELECT event.* FROM accounts_auditevent event WHERE event.id > %s AND NOT EXISTS (
        SELECT 1 FROM accounts_auditlink link WHERE link.event_id = event.id AND link.event_id > %s
    ) ORDER BY event.id LIMIT %s
"""
LINK = "INSERT INTO accounts_auditlink (sequence, event_id, mac) VALUES "
MOVED = ("sequence", "link_mac", "highest_event", "settled_event", "streamed", "mac")
MOVE = f"UPDATE accounts_audithead SET {', '.join(f'{name} = %s' for name in MOVED)} WHERE id = 1"  # nosec B608
#: Events that were told to be forged, so that the log says it once a process.
_told: set[int] = set()
#: Events of this process that no round has looked for yet.
_committed: set[int] = set()
_one_round = threading.Lock()
#: The last link that this process has seen committed, with its event.
_last_seen = (0, 0)


class ChainError(Exception):
    """The head of the chain is missing or not ours; nothing is linked until that is looked into."""


class _Seal:
    """What is called when the transaction of an event is through."""

    def __init__(self, event: int) -> None:
        self.event = event

    def __call__(self) -> None:
        _committed.add(self.event)
        # Threads of one process wait here and not for the database; what committed meanwhile is one round for all.
        with _one_round:
            if self.event in _committed:
                self._seal(_committed.copy())

    def _seal(self, events: set[int]) -> None:
        try:
            _round(lambda head: min(min(events) - 1, head.highest_event - NEARBY))
        except ChainError as error:
            logger.error("the audit trail is not sealed: %s", error)
        except Exception as error:
            # The request goes on; the event is stored, and linked later. The class only: messages repeat values.
            logger.error("the audit trail is not sealed: %s", type(error).__name__)
        finally:
            _committed.difference_update(events)


def soon(event: AuditEvent) -> None:
    """Has the event linked when its transaction is through, once for all events of the transaction."""
    if not any(isinstance(waiting[1], _Seal) for waiting in connection.run_on_commit):
        transaction.on_commit(_Seal(event.pk), robust=True)


def seal_pending() -> int:
    """Links every event that is not in the chain yet, and writes what the sink has not got; returns how many.

    Safe to run many at once. Raises `ChainError` and `django.db.DatabaseError`.
    """
    total = 0
    start: Callable[[AuditHead], int] = _settled
    while True:
        linked, last, is_behind = _round(start, thorough=True)
        total += linked
        if last is None and not is_behind:
            return total
        if last is not None:
            start = _after(last)


def _settled(head: AuditHead) -> int:
    return head.settled_event


def _after(event: int) -> Callable[[AuditHead], int]:
    return lambda _head: event


def _round(start: Callable[[AuditHead], int], thorough: bool = False) -> tuple[int, int | None, bool]:
    """One page of events: how many were linked, the last one if there may be more, whether the sink is behind."""
    with transaction.atomic():
        head = locked_head()
        _compare(head)
        after = start(head)
        page = list(AuditEvent.objects.raw(UNLINKED, [after, after, PAGE]))
        links = [link for event in page if (link := _linked(head, event)) is not None]
        _store(links)
        is_full = len(page) == PAGE
        if thorough and not is_full:
            head.settled_event = max(head.settled_event, head.highest_event - FAR)
        # In the transaction: lines are in the order of the chain, and a process killed here writes them once more.
        written = stream.stream(head, links)
        if links or written or thorough:
            _move(head)
    if links and not connection.in_atomic_block:
        _see(links[-1])
    return len(links), page[-1].pk if is_full else None, bool(written) and head.streamed < head.sequence


def _see(link: AuditLink) -> None:
    global _last_seen
    _last_seen = max(_last_seen, (link.sequence, link.event_id))


def _compare(head: AuditHead) -> None:
    """Logs that the trail ends before an event that this process knows, as after an old head was put back."""
    global _last_seen
    (sequence, event), _last_seen = _last_seen, min(_last_seen, (head.sequence, _last_seen[1]))
    # A crash of PostgreSQL's server loses links, and no events: those are linked again.
    if head.sequence < sequence and not AuditEvent.objects.filter(pk=event).exists():
        logger.error("the audit trail was cut: link %s and event %s are gone", sequence, event)


def _store(links: list[AuditLink]) -> None:
    rows = [(link.sequence, link.event_id, link.mac) for link in links]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(
                LINK + ", ".join(["(%s, %s, %s)"] * len(rows)), [value for row in rows for value in row]
            )


def locked_head() -> AuditHead:
    """The head, locked until the transaction ends. Raises `ChainError`."""
    heads = list(AuditHead.objects.raw(LOCKED_HEAD[connection.vendor]))
    if not heads:
        raise ChainError("its head is missing; run manage.py verify_audit")
    # SECURITY: a forged head must not be made good by signing what follows it.
    if not audit_mac.is_head(heads[0]):
        raise ChainError("its head was changed; run manage.py verify_audit")
    return heads[0]


def _move(head: AuditHead) -> None:
    head.mac = audit_mac.head_mac(head)
    with connection.cursor() as cursor:
        cursor.execute(MOVE, [getattr(head, name) for name in MOVED])


def _linked(head: AuditHead, event: AuditEvent) -> AuditLink | None:
    """The event's link, with the head moved on; None for an event that nobody recorded."""
    is_old = not event.mac and event.pk <= head.unsigned_to
    if not is_old and not audit_mac.is_event(event):
        if event.pk not in _told and len(_told) < PAGE:
            _told.add(event.pk)
            logger.error("audit event %s is not ours: it is not linked", event.pk)
        return None
    head.sequence += 1
    head.link_mac = audit_mac.link_mac(head.sequence, head.link_mac, event)
    head.highest_event = max(head.highest_event, event.pk)
    return AuditLink(sequence=head.sequence, event=event, mac=head.link_mac)


def restart() -> int:
    """Signs a head for the chain as it stands, after its own was lost or forged; returns the last sequence.

    What is missing or changed stays so for `verify_audit`, but for a tail that was cut off: only the head knew.
    Raises `ChainError` when the head is in order.
    """
    with transaction.atomic():
        before = AuditHead.objects.select_for_update().first()
        if before is not None and audit_mac.is_head(before):
            raise ChainError("its head is in order; there is nothing to restart")
        last = AuditLink.objects.order_by("-sequence").first()
        head = AuditHead(sequence=last.sequence, link_mac=last.mac) if last else AuditHead()
        head.highest_event = AuditLink.objects.aggregate(highest=Max("event_id"))["highest"] or 0
        head.streamed = head.sequence
        head.save(force_insert=before is None, force_update=before is not None)
    return head.sequence


@contextmanager
def removing() -> Iterator[None]:
    """A transaction in which rows of the trail may be removed: nobody else ever sees the guard's row."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {GUARD} (id) VALUES (1)")  # nosec B608
        yield
        cursor.execute(f"DELETE FROM {GUARD}")  # nosec B608


def is_guard_open() -> bool:
    """Whether somebody left the way through open, for everybody."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {GUARD}")  # nosec B608
        return bool(cursor.fetchone()[0])
