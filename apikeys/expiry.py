"""Keys that expire soon are told to their owners: 30, 7 and 1 days before."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.events import Event
from apikeys.models import ApiKey
from apikeys.rules import State

#: Days before; ascending, so that of several that have passed at once the nearest is told and no other.
THRESHOLDS = (1, 7, 30)
DAY = timedelta(days=1)


def announce(now: datetime | None = None) -> int:
    """Tells of the keys that came nearer than a threshold; how many were told. Safe to run many times at once.

    `ApiKey.expiry_told_days` holds the smallest threshold that was told. Whoever changes `expires_at` sets it to None.
    """
    now = now or timezone.now()
    told = 0
    for days in THRESHOLDS:
        for key in ApiKey.objects.filter(_waiting(days, now)).select_related("owner"):
            told += _tell(key, days, now)
    return told


def _waiting(days: int, now: datetime) -> Q:
    near = Q(expires_at__gt=now, expires_at__lte=now + days * DAY) & ~Q(state=State.REVOKED)
    return near & (Q(expiry_told_days=None) | Q(expiry_told_days__gt=days))


def _tell(key: ApiKey, days: int, now: datetime) -> bool:
    expires_at = key.expires_at
    if expires_at is None:
        return False
    with transaction.atomic():
        # One conditional write decides who tells, and only of the date that the event will hold.
        still = ApiKey.objects.filter(_waiting(days, now), pk=key.pk, expires_at=expires_at)
        if not still.update(expiry_told_days=days):
            return False
        audit.record(
            Event.KEY_EXPIRES_SOON, None, customer=key.owner, target=str(key.pk), label=key.label,
            days=-((now - expires_at) // DAY), date=expires_at.isoformat(),
        )  # fmt: skip
    return True
