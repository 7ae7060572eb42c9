"""Walks the audit trail and says what is not as it was: a row that was changed, is missing, or was put in.

Memory is constant: pages of `PAGE` links, by sequence. Links that are added meanwhile are not looked at: the end is
what the head said at the beginning.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from django.db import connection
from django.db.models import Max
from django.utils import timezone

from accounts.audit import chain as audit_chain
from accounts.audit import evidence, rows
from accounts.audit.evidence import Finding, Remark
from accounts.choices import audit_mac
from accounts.choices.audit_mac import StoredEvent, StoredLink
from accounts.models import AuditEvent, AuditHead, AuditLink

PAGE = 2000
#: Events are linked nearly in the order of their times: before the link of the earliest event since a time, so many
#: links are searched for another event since then.
LOOK_BACK = 10_000
#: Of the earliest events since a time, the lowest number is where numbers begin: they are issued nearly in order, too.
EARLIEST = 1_000
#: An event of a moment ago may be between its commit and its link.
PENDING = timedelta(minutes=1)
TRIGGERS = {
    "postgresql": "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'accounts_audit%%rules' AND tgenabled = 'O'",
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'accounts_audit%%'",
}
HOW_MANY = {"postgresql": 4, "sqlite": 8}


@dataclass
class Walk:
    """A walk over the chain. ``links`` counts what was looked at, ``unsigned`` those that had no MAC of their own.

    With ``since`` the walk begins at ``first``, the first link to an event of that time or later; nothing before it is
    read, and nothing is known of it.
    """

    since: datetime | None = None
    #: The last link to look at; None: the end of the chain.
    until: int | None = None
    #: Files with lines of the sink, to compare with.
    sinks: Sequence[Path] = ()
    progress: Callable[[int, int], object] = lambda _done, _all: None
    links: int = 0
    first: int = 0
    unsigned: int = 0
    before: set[str] = field(default_factory=set)
    #: What has an honest cause, and an operator should know.
    remarks: list[Remark] = field(default_factory=list)

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong, by sequence; then what is wrong beside the chain. Raises `OSError` for a sink."""
        for result in self._all():
            if isinstance(result, Remark):
                self.remarks.append(result)
            else:
                yield result

    def _all(self) -> Iterator[Finding]:
        issued = evidence.issued()
        # Links before the head: they are committed together, so that a link beyond this head is nobody's.
        last = AuditLink.objects.aggregate(last=Max("sequence"))["last"] or 0
        head = AuditHead.objects.first()
        if head is None:
            yield Finding("head", "the head of the chain is missing; its end cannot be told")
        elif not audit_mac.is_head(head):
            yield _unsigned_head(head)
        yield from self._links(head or AuditHead(sequence=last))
        if self.until is None:
            yield from self._beyond(head or AuditHead(sequence=last), last)
            lowest = None if self.since is None else _lowest_number(self.since)
            yield from _unlinked(head or AuditHead(), self.since, lowest or 1)
            yield from _rules()
            yield from evidence.of_numbers(issued, lowest)
            yield from evidence.of_notices(lowest)
            for sink in self.sinks:
                yield from evidence.of_sink(sink, self.since)

    def _links(self, head: AuditHead) -> Iterator[Finding]:
        end = head.sequence if self.until is None else self.until
        done = self._begin(head)
        first = done
        self.first = done + 1
        while page := rows.links(AuditLink.objects.filter(sequence__gt=done, sequence__lte=end), PAGE):
            events = rows.events([link.event_id for link in page])
            for link in page:
                if link.sequence != done + 1:
                    yield _missing_links(done + 1, link.sequence - 1)
                    self.before = set()
                event = events.get(link.event_id)
                if self._is_as_recorded(link, event):
                    self.before = {link.mac}
                else:
                    yield from self._link(link, event)
                done = link.sequence
            self.links += len(page)
            self.progress(done - first, end - first)
        if done < end:
            yield _missing_links(done + 1, end)
        elif self.until is None and self.links and head.mac and head.link_mac not in self.before:
            yield Finding("head", "the head does not name the last link as it is", done)

    def _begin(self, head: AuditHead) -> int:
        """The sequence before the first link to look at; ``before`` is set to the MAC that it builds on."""
        self.before = {head.pruned_mac}
        if self.since is None:
            return head.pruned_sequence
        first = _first_link(self.since) or head.sequence + 1
        if first <= head.pruned_sequence + 1:
            return head.pruned_sequence
        self.before = set(AuditLink.objects.filter(sequence=first - 1).values_list("mac", flat=True))
        return first - 1

    def _is_as_recorded(self, link: StoredLink, event: StoredEvent | None) -> bool:
        """Whether event and link have their MACs, which build on one link before: then there is nothing to say."""
        if event is None or not event.mac or len(self.before) != 1:
            return False
        [before] = self.before
        return audit_mac.is_event(event) and audit_mac.is_link(link.mac, link.sequence, before, event)

    def _link(self, link: StoredLink, event: StoredEvent | None) -> Iterator[Finding]:
        """``before`` empty: the link before it is missing, and this one's MAC can't be checked."""
        place = (link.sequence, link.event_id)
        before, self.before = self.before, {link.mac}
        if event is None:
            yield Finding("missing_event", "the event was removed; its link is still there", *place)
            return
        if event.mac and not audit_mac.is_event(event):
            yield _bad_event(event, *place)
            return
        self.unsigned += not event.mac
        if not before or any(audit_mac.is_link(link.mac, link.sequence, one, event) for one in before):
            return
        if audit_mac.is_key_missing(link.mac):
            yield Finding("no_key", _NO_KEY, *place)
            return
        if not event.mac:  # then the link alone covers what it says
            yield Finding("changed_event", "the event was changed, or its MAC removed", *place)
            return
        # What the MAC should have been, so that an honest link after this one is not blamed.
        for one in before:
            self.before |= set(audit_mac.possible_link_macs(link.sequence, one, event))
        yield Finding(
            "changed_link", "the link was changed, moved, or names another event than it did", *place
        )

    def _beyond(self, head: AuditHead, last: int) -> Iterator[Finding]:
        beyond = AuditLink.objects.filter(sequence__gt=head.sequence, sequence__lte=last).order_by("sequence")
        early = AuditLink.objects.filter(sequence__lte=head.pruned_sequence).order_by("sequence")
        for links, where in ((beyond, "after the end"), (early, "before the beginning")):
            for sequence, event in links.values_list("sequence", "event_id").iterator(chunk_size=PAGE):
                yield Finding("forged_link", f"the link was put in {where} of the chain", sequence, event)


def _first_link(since: datetime) -> int | None:
    """Return the first link to an event of this time or later, by the index of times; None if there is none."""
    young = AuditLink.objects.filter(event__at__gte=since)
    earliest: int | None = young.order_by("event__at").values_list("sequence", flat=True).first()
    if earliest is None:
        return None
    near = young.filter(sequence__gte=earliest - LOOK_BACK, sequence__lte=earliest)
    return near.order_by("sequence").values_list("sequence", flat=True).first()


def _lowest_number(since: datetime) -> int:
    """Return the number with which events of this time begin; the one after all events if there are none."""
    earliest = AuditEvent.objects.filter(at__gte=since).order_by("at").values_list("pk", flat=True)[:EARLIEST]
    last = AuditEvent.objects.aggregate(last=Max("pk"))["last"] or 0
    return min(earliest, default=last + 1)


_NO_KEY = "its master key is not in PORTAL_MASTER_KEYS; it can't be checked"


def _unsigned_head(head: AuditHead) -> Finding:
    if audit_mac.is_key_missing(head.mac):
        return Finding("no_key", f"the head of the chain: {_NO_KEY}")
    return Finding("head", "the head of the chain was changed; nothing is linked until this is settled")


def _missing_links(first: int, last: int) -> Finding:
    which = f"link {first} was removed" if first == last else f"links {first} to {last} were removed"
    return Finding("missing_link", which, first)


def _bad_event(event: StoredEvent, sequence: int | None, pk: int) -> Finding:
    if audit_mac.is_key_missing(event.mac) or audit_mac.is_key_missing(event.erased_mac or ""):
        return Finding("no_key", _NO_KEY, sequence, pk)
    return Finding("changed_event", "the event was changed after it was recorded", sequence, pk)


def _unlinked(head: AuditHead, since: datetime | None, lowest: int) -> Iterator[Finding]:
    """Events outside of the chain: forged ones, copies, and those whose link was removed or never made.

    With ``since`` those with the ``lowest`` number or above, and those that claim to be of that time.
    """
    if since is not None:
        early = AuditEvent.objects.unlinked().filter(at__gte=since, pk__lt=lowest).order_by("at")
        for event in early.iterator(chunk_size=PAGE):
            yield from _unlinked_event(event, head)
    after = lowest - 1
    while page := list(AuditEvent.objects.unlinked(after)[:PAGE]):
        after = page[-1].pk
        for event in page:
            yield from _unlinked_event(event, head)


def _unlinked_event(event: AuditEvent, head: AuditHead) -> Iterator[Finding]:
    is_ours = audit_mac.is_event(event) or (not event.mac and event.pk <= head.unsigned_to)
    if is_ours and event.at > timezone.now() - PENDING:
        return
    if AuditLink.objects.filter(event_id=event.pk).exists():
        return  # linked meanwhile
    if is_ours:
        what = "the event is not in the chain: its link was removed, or no chore has run since it was left"
        yield Finding("unlinked_event", what, None, event.pk)
    elif audit_mac.is_key_missing(event.mac):
        yield Finding("no_key", _NO_KEY, None, event.pk)
    else:
        yield Finding("forged_event", "the event was put in by somebody else, or copied", None, event.pk)


def _rules() -> Iterator[Finding]:
    if audit_chain.is_guard_open():
        yield Finding("guard", f"{audit_chain.GUARD} holds a row: anybody may remove events")
    with connection.cursor() as cursor:
        cursor.execute(TRIGGERS[connection.vendor], [])
        if cursor.fetchone()[0] < HOW_MANY[connection.vendor]:
            yield Finding(
                "rules", "triggers that keep the audit trail append-only are missing or switched off"
            )
