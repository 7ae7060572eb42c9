"""Remind owners of keys that expire, and of keys whose trade permission ends: 30, 7 and 1 days before."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts import audit
from accounts.operations import chores
from apikeys.models import ApiKey
from apikeys.policy.choices import IpPolicy, KeyState
from apikeys.policy.events import KeyEvent

#: Days before the end; ascending, so that only the nearest is sent if several have passed at once.
THRESHOLDS = (1, 7, 30)
DAY = timedelta(days=1)
#: Recorded in one round of ``send_notices``, which sends other notices between two rounds.
BATCH = 500
#: Keys of one transaction, which are loaded at once: customers who change one of them wait for it.
PAGE = 100


@dataclass(frozen=True)
class ReminderType:
    """A date of a key that its owner is reminded of.

    Attributes:
        date_column: the column of the date.
        sent_column: the column of the smallest threshold that was sent; set to None when the date is changed.
        only: the keys that it concerns.
    """

    date_column: str
    sent_column: str
    event: KeyEvent
    only: Q

    def due(self, days: int, now: datetime) -> Q:
        """Return the condition for keys whose reminder ``days`` before the end was not sent yet."""
        date, sent = self.date_column, self.sent_column
        near = Q((f"{date}__gt", now), (f"{date}__lte", now + days * DAY)) & ~Q(state=KeyState.REVOKED)
        return self.only & near & (Q((sent, None)) | Q((f"{sent}__gt", days)))


EXPIRY = ReminderType("expires_at", "expiry_told_days", KeyEvent.EXPIRES_SOON, Q())
#: Not for a key that expires before: the owner is reminded of its expiry, and a renewal would not help.
TRADE = ReminderType(
    "trade_until",
    "trade_told_days",
    KeyEvent.TRADE_ENDS_SOON,
    Q(can_trade=True, ip_policy=IpPolicy.UNRESTRICTED)
    & (Q(expires_at=None) | Q(expires_at__gt=F("trade_until"))),
)


def send_reminders(now: datetime | None = None, *, limit: int | None = None) -> int:
    """Record the reminders that are due, about ``limit`` of them. Return their number. Safe to run concurrently.

    Each page of keys is one transaction: interrupted, it has recorded whole pages.
    """
    now = now or timezone.now()
    count = 0
    for end in (EXPIRY, TRADE):
        for days in THRESHOLDS:
            count += _send_due(end, days, now, None if limit is None else limit - count)
    return count


def _send_due(end: ReminderType, days: int, now: datetime, limit: int | None) -> int:
    due = ApiKey.objects.filter(end.due(days, now)).select_related("owner").order_by("pk")
    count, keys = 0, due
    while page := list(keys[: PAGE if limit is None else max(0, min(PAGE, limit - count))]):
        # By the same order in every process: two of them wait for each other's rows, and cannot deadlock.
        with transaction.atomic():
            count += sum(_record_reminder(end, key, days, now) for key in page)
        keys = due.filter(pk__gt=page[-1].pk)
    return count


def _send_batch() -> object:
    return chores.MORE if send_reminders(limit=BATCH) >= BATCH else None


def count_due(now: datetime | None = None) -> int:
    """Return the number of reminders that `send_reminders` would record now."""
    now = now or timezone.now()
    return sum(
        ApiKey.objects.filter(reduce(or_, (end.due(days, now) for days in THRESHOLDS))).count()
        for end in (EXPIRY, TRADE)
    )


def _record_reminder(end: ReminderType, key: ApiKey, days: int, now: datetime) -> bool:
    date: datetime | None = getattr(key, end.date_column)
    if date is None:
        return False
    with transaction.atomic(savepoint=False):
        # One conditional write decides which process records it, and only for the date that the event will have.
        pending = ApiKey.objects.filter(end.due(days, now), Q((end.date_column, date)), pk=key.pk)
        if not pending.update(**{end.sent_column: days}):
            return False
        audit.record(
            end.event, None, customer=key.owner, target=str(key.pk), label=key.label,
            days=-((now - date) // DAY), date=date.isoformat(),
        )  # fmt: skip
    return True


def register() -> None:
    """Add the reminders to the chores of ``manage.py send_notices``. Called by `ApiKeysConfig.ready()`."""
    chores.CHORES.register({"keys that expire soon": (_send_batch, 600)})
