"""Erase customers who leave: their account, keys and messages, and the personal fields of their events.

Two persons and a week: the first one requests it, which closes the account at once, and the owner is told; another one
confirms it; it is applied when a week has passed. Until then it can be cancelled, and nothing is lost.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import sessions
from accounts.audit import erasure as event_erasure
from accounts.choices import audit_mac
from accounts.choices.events import Event
from accounts.choices.registry import Registry
from accounts.models import AuditEvent, Erasure, Invitation, User
from hitobit_portal.database import clock

logger = logging.getLogger("portal.erasures")
#: SECURITY: the time in which the owner, or a colleague, stops what a stolen staff login requested. Notices are tried
#: for three days, and it takes in a weekend. What staff or the exchange request in error is undone without loss.
WAIT = timedelta(days=7)
#: For so long it is looked after events that were recorded while the erasure was applied.
LATE_EVENTS = timedelta(days=1)


@dataclass(frozen=True)
class Part:
    """What is erased before the account's row, which takes everything along that refers to it by CASCADE.

    ``count``: how many there are; ``erase``: erases them within the caller's transaction.
    """

    count: Callable[[User], int]
    erase: Callable[[User], object]


def _invitations(user: User) -> QuerySet[Invitation]:
    return Invitation.objects.filter(phone=user.phone)


#: Filled by apps in `AppConfig.ready()`: ``PARTS.register({...})``.
PARTS: Registry[str, Part] = Registry(
    {
        "events": Part(event_erasure.count, lambda user: event_erasure.erase(user.pk)),
        "invitations": Part(
            lambda user: _invitations(user).count(), lambda user: _invitations(user).delete()
        ),
    }
)


class ErasureRefused(Exception):
    """The account cannot be erased; the message says why."""


@dataclass(frozen=True)
class Decider:
    """Who decides: a member of staff (``actor``, ``request``), or the operator who runs a command."""

    actor: User | None = None
    request: HttpRequest | None = None
    operator: str = ""

    @property
    def name(self) -> str:
        """By which one person is told from another: ``Erasure.requested_by``. "" if nobody is known."""
        if self.actor is not None:
            return f"staff {self.actor.pk}"
        return f"operator {self.operator}" if self.operator else ""

    @property
    def detail(self) -> dict[str, Any]:
        return {"via": "command", "operator": self.operator} if self.operator else {}


def waiting(user: User) -> Erasure | None:
    """Return the erasure of the account that is neither cancelled nor done."""
    return _waiting(user).first()


def _waiting(user: User) -> QuerySet[Erasure]:
    return Erasure.objects.filter(user_id=user.pk, cancelled_at=None, done_at=None)


def preview(user: User) -> dict[str, int]:
    """Return how much of each part of `PARTS` would be erased."""
    return {name: part.count(user) for name, part in PARTS.items()}


def request_erasure(user: User, reason: str, by: Decider) -> Erasure | None:
    """Close the account and schedule its erasure in `WAIT`. Return None if one waits. ``reason``: the owner reads it.

    Raise `ErasureRefused`.
    """
    if not by.name:
        raise ErasureRefused("nobody knows who requests it")
    with transaction.atomic():
        # One row is the lock of all that happens to the account here: of two requests the second sees the first.
        account = _locked(user)
        _check(account)
        if _waiting(account).exists():
            return None
        # SECURITY: by a clock that is a day behind, it would be due earlier.
        now = clock.now()
        erasure = Erasure.objects.create(
            user=account,
            reason=reason,
            requested_by=by.name,
            requested_at=now,
            due_at=now + WAIT,
            closed_account=account.is_active,
        )
        User.objects.filter(pk=account.pk).update(is_active=False)
        sessions.end_all(account)
        date = erasure.due_at.isoformat()
        _record(Event.ERASURE_REQUESTED, account, erasure, by, reason=reason, date=date)
    return erasure


def confirm(user: User, reason: str, by: Decider) -> bool:
    """Confirm the waiting erasure. Return whether it waited without a confirmation. Raise `ErasureRefused` if ``by``
    requested it.
    """
    with transaction.atomic():
        account = _locked(user)
        erasure = _waiting(account).filter(confirmed_at=None).first()
        if erasure is None:
            return False
        # SECURITY: one stolen login, or one colleague, must not destroy accounts alone.
        if is_requester(erasure, by):
            raise ErasureRefused("it takes another person than the one who requested it")
        Erasure.objects.filter(pk=erasure.pk).update(confirmed_at=clock.now(), confirmed_by=by.name)
        _record(Event.ERASURE_CONFIRMED, account, erasure, by, reason=reason)
    return True


def is_requester(erasure: Erasure, by: Decider) -> bool:
    """Whether ``by`` requested it, or may have, as nobody knows who it is."""
    return by.name in ("", erasure.requested_by)


def cancel(user: User, reason: str, by: Decider) -> bool:
    """Cancel the waiting erasure and open the account again, if the request closed it. Return whether one waited."""
    with transaction.atomic():
        account = _locked(user)
        erasure = _waiting(account).first()
        if erasure is None:
            return False
        Erasure.objects.filter(pk=erasure.pk).update(cancelled_at=clock.now())
        if erasure.closed_account:
            User.objects.filter(pk=account.pk).update(is_active=True)
        _record(Event.ERASURE_CANCELLED, account, erasure, by, reason=reason)
    return True


def apply_due() -> int:
    """Apply the confirmed erasures that are due by the database's clock. Return their number.

    If the machine's own clock is wrong (`clock.ClockError`), the log says so and nothing is applied.
    """
    _erase_late_events()
    due = list(_due().order_by("due_at"))
    if not due:
        return 0
    try:
        # SECURITY: a clock that is days ahead would end the time in which the owner can object.
        at = clock.checked_now()
    except clock.ClockError as error:
        logger.error("%d erasures are due and not applied: %s", len(due), error)
        return 0
    return sum(_apply(erasure, at) for erasure in due)


def _due() -> QuerySet[Erasure]:
    confirmed = Erasure.objects.filter(confirmed_at__isnull=False).exclude(confirmed_by=F("requested_by"))
    return confirmed.filter(cancelled_at=None, done_at=None, due_at__lte=Now())


def _apply(erasure: Erasure, now: datetime) -> bool:
    try:
        with transaction.atomic(durable=True):
            user = User.objects.select_for_update().filter(pk=erasure.user_id).first()
            # The conditional write decides: of two processes at once, one applies it.
            open_row = _due().filter(pk=erasure.pk, due_at__lte=now)
            if user is None or not open_row.update(done_at=now, reason=""):
                return False
            if user.is_active or user.is_staff or user.is_superuser:
                # SECURITY: somebody gave the account back, or more than that, in a way that knows of no erasure.
                Erasure.objects.filter(pk=erasure.pk).update(done_at=None, cancelled_at=now)
                _record(Event.ERASURE_CANCELLED, user, erasure, Decider(), why="reopened")
                return False
            _check(user)
            _check_decisions(erasure)
            counts: dict[str, Any] = preview(user)
            for part in PARTS.values():
                part.erase(user)
            number = user.pk
            user.delete()
            audit.record(
                Event.CUSTOMER_ERASED,
                None,
                customer=None,
                target=str(number),
                requested_by=erasure.requested_by,
                confirmed_by=erasure.confirmed_by,
                **counts,
            )
    except ErasureRefused as refused:
        # Nothing is erased, and it is tried again: an operator settles it, or cancels.
        logger.error("erasure %s is due and not applied: %s", erasure.pk, refused)
        return False
    return True


def _erase_late_events() -> None:
    """Erase events that were recorded while their customer was erased, such as a wrong password of that moment."""
    since = timezone.now() - LATE_EVENTS
    for done in AuditEvent.objects.filter(event=Event.CUSTOMER_ERASED.value, at__gt=since):
        # SECURITY: only what a signed event names, and never the events of an account that is there.
        if audit_mac.is_event(done) and not User.objects.filter(pk=int(done.target)).exists():
            with transaction.atomic():
                event_erasure.erase(int(done.target))


def _check(user: User) -> None:
    if user.is_staff or user.is_superuser:
        raise ErasureRefused("it is the account of a member of staff")
    try:
        event_erasure.check(user.pk)
    except event_erasure.UnsignedEvents:
        raise ErasureRefused("it has events from before the audit chain; prune_audit removes them") from None


def _check_decisions(erasure: Erasure) -> None:
    """Raise `ErasureRefused` unless the audit trail proves that two persons decided it, with just this due time.

    SECURITY: somebody who writes into the database, and has no master key, would otherwise have the portal itself
    destroy and sign what the trail holds about a customer.
    """
    events = AuditEvent.objects.filter(customer_id=erasure.user_id, target=str(erasure.pk))
    proved = {}
    for event in events.filter(event__in=[one.value for one in _DECISIONS]):
        if audit_mac.is_event(event):
            by = event.actor_id if event.actor_id != event.customer_id else None
            name = f"operator {event.detail.get('operator')}" if by is None else f"staff {by}"
            proved[event.event] = (name, event.detail.get("date"))
    requested, confirmed = (proved.get(one.value) for one in _DECISIONS[:2])
    is_proved = (
        requested == (erasure.requested_by, erasure.due_at.isoformat())
        and confirmed is not None
        and confirmed[0] == erasure.confirmed_by != erasure.requested_by
        and Event.ERASURE_CANCELLED.value not in proved
    )
    if not is_proved:
        raise ErasureRefused("the audit trail does not prove that two persons decided it")


_DECISIONS = (Event.ERASURE_REQUESTED, Event.ERASURE_CONFIRMED, Event.ERASURE_CANCELLED)


def _locked(user: User) -> User:
    # NO KEY: events and notices refer to this row.
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _record(event: Event, user: User, erasure: Erasure, by: Decider, **detail: Any) -> None:
    target, more = str(erasure.pk), {**by.detail, **detail}
    audit.record(event, by.request, customer=user, actor=by.actor, target=target, **more)
