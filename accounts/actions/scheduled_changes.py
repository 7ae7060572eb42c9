"""Scheduled changes of factors: they take effect after a day, the owner is notified by every channel and can stop
them.

They serve users who lost a phone or both factors. They need fewer proofs than two codes; time and notices replace the
missing one.

The requester is identified: by password, authenticator and recovery code (`schedule_phone_change`), or by staff of
security and operators (`schedule_factor_reset`). The reader of a notice, who follows its link, is not. So a link
stops changes only once, which gives an owner whose proofs were stolen time to react; later requests continue, and
only a login or staff can stop them.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import sessions
from accounts.actions import freeze, phone
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import DelayedChange, FactorGuard, RecoveryDevice, SmsCode, SmsDevice, TotpDevice, User
from accounts.notifications import links
from hitobit_portal.database import clock
from hitobit_portal.i18n.jalali import masked_phone

logger = logging.getLogger("portal.notices")
WAIT = timedelta(hours=24)
Kind = DelayedChange.Kind


def waiting(user: User) -> QuerySet[DelayedChange]:
    """Return the user's changes that are neither done nor stopped, soonest first."""
    return DelayedChange.objects.filter(user=user, stopped_at=None, done_at=None).order_by("due_at")


def schedule_phone_change(request: HttpRequest, user: User, number: str) -> DelayedChange | None:
    """Schedule ``number`` (E.164, confirmed by a code) to become the account's in 24 hours. Return None if a change
    is scheduled.

    Call it under `verification.lock`, in the transaction of the proof.
    """
    if waiting(user).filter(kind=Kind.PHONE).exists():
        return None
    change = _schedule(user, Kind.PHONE, phone=number)
    audit.record(
        Event.PHONE_CHANGE_ASKED,
        request,
        customer=user,
        target=str(change.pk),
        also=[("sms", user.phone)],
        new=masked_phone(number),
    )
    return change


def schedule_factor_reset(
    user: User, reason: str, *, request: HttpRequest | None = None, actor: User | None = None
) -> DelayedChange | None:
    """Schedule the removal of both factors in 24 hours. Return None if one is scheduled. ``reason``: shown to the
    owner.

    ``request``, ``actor``: of the staff member who requests it.
    """
    with transaction.atomic(durable=True):
        verification.lock(user)
        if waiting(user).filter(kind=Kind.FACTORS).exists():
            return None
        change = _schedule(user, Kind.FACTORS, reason=reason)
        audit.record(
            Event.FACTORS_RESET_ASKED,
            request,
            customer=user,
            actor=actor,
            target=str(change.pk),
            also=[("sms", user.phone)],
            reason=reason,
        )
        return change


def _schedule(user: User, kind: DelayedChange.Kind, **fields: str) -> DelayedChange:
    # SECURITY: by a clock that is a day behind, the change would be due at once.
    now = clock.now()
    return DelayedChange.objects.create(user=user, kind=kind, asked_at=now, due_at=now + WAIT, **fields)


def stop(user: User, number: int, request: HttpRequest | None) -> bool:
    """Stop the user's scheduled change with this id. Return whether it was scheduled. It only reduces power, so it
    needs no codes.
    """
    return _stop(waiting(user).filter(pk=number), user, request) == 1


def stop_by_link(user: User, request: HttpRequest) -> int:
    """Stop all scheduled changes of the user, if a link may still do that. Return their number.

    Call it in a transaction that holds `verification.lock`: of two links at once, the second sees the stop of the
    first.
    """
    return _stop(waiting(user), user, request, by_link=True) if links.link_may_stop(user) else 0


def stop_all(
    user: User,
    request: HttpRequest | None,
    kind: DelayedChange.Kind | None = None,
    *,
    actor: User | None = None,
    reason: str = "",
) -> int:
    """Stop all scheduled changes of the user (of one ``kind``). Return their number. ``actor``, ``reason``: if staff
    stop them.
    """
    changes = waiting(user)
    return _stop(changes.filter(kind=kind) if kind else changes, user, request, actor=actor, reason=reason)


def _stop(
    changes: QuerySet[DelayedChange],
    user: User,
    request: HttpRequest | None,
    why: str = "",
    *,
    actor: User | None = None,
    reason: str = "",
    by_link: bool = False,
) -> int:
    stopped = 0
    extra: dict[str, Any] = {"reason": reason} if reason else {}
    if by_link:
        extra["via"] = "link"
    with transaction.atomic():
        for change in changes:
            # The conditional write decides: a change that takes effect at this moment is not stopped as well.
            if _open(change).update(stopped_at=timezone.now(), stopped_by_link=by_link):
                stopped += 1
                audit.record(
                    Event.DELAYED_STOPPED,
                    request,
                    customer=user,
                    actor=actor,
                    target=str(change.pk),
                    of=change.kind,
                    why=why,
                    **extra,
                )
    return stopped


def _open(change: DelayedChange) -> QuerySet[DelayedChange]:
    return DelayedChange.objects.filter(pk=change.pk, stopped_at=None, done_at=None)


def apply_due(*, user: User | None = None, number: str = "") -> int:
    """Apply the changes that are due by the database's clock. Return their number. ``user``, ``number``: only changes
    of this user or number (E.164).

    If the machine's own clock is wrong (`clock.ClockError`), the log says so and nothing is applied.
    """
    due = DelayedChange.objects.filter(stopped_at=None, done_at=None, due_at__lte=Now()).order_by("due_at")
    if user is not None:
        due = due.filter(user=user)
    if number:
        due = due.filter(Q(phone=number) | Q(user__phone=number))
    changes = list(due.select_related("user"))
    if not changes:
        return 0
    try:
        # SECURITY: a clock that is a day ahead would end the hours in which the owner can stop a thief.
        at = clock.checked_now()
    except clock.ClockError as error:
        logger.error("%d scheduled changes are due and not applied: %s", len(changes), error)
        return 0
    return sum(_apply(change, at) for change in changes)


def _apply(change: DelayedChange, now: datetime) -> bool:
    user = change.user
    try:
        with transaction.atomic(durable=True):
            verification.lock(user)
            # The conditional write decides: of two processes at once, one applies the change.
            if not _open(change).filter(due_at__lte=now).update(done_at=now):
                return False
            if change.kind == Kind.PHONE:
                phone.replace(None, user, change.phone)
            else:
                _reset_factors(user, change.reason)
    except IntegrityError:
        # An account was opened with the number meanwhile.
        _stop(waiting(user).filter(pk=change.pk), user, None, why="number taken")
        return False
    return True


def _reset_factors(user: User, reason: str) -> None:
    """Remove both factors and their counters. The next login needs the password and an SMS to the account's own
    number.
    """
    now = timezone.now()
    for rows in (TotpDevice, SmsDevice, RecoveryDevice, SmsCode):
        rows.objects.filter(user=user).delete()
    FactorGuard.objects.filter(user=user).update(
        failures=[],
        in_a_row=0,
        outside_failures=[],
        outside_in_a_row=0,
        known_failures=[],
        known_in_a_row=0,
    )
    waiting(user).filter(kind=Kind.PHONE).update(stopped_at=now)
    freeze.quarantine(user)
    sessions.end_all(user)
    fresh = User.objects.get(pk=user.pk)
    audit.record(Event.FACTORS_RESET, None, customer=fresh, also=[("sms", fresh.phone)], reason=reason)
