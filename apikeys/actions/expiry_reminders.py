"""Keys that expire, and keys whose trading ends, are told to their owners: 30, 7 and 1 days before."""

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

#: Days before; ascending, so that of several that have passed at once the nearest is told and no other.
THRESHOLDS = (1, 7, 30)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class End:
    """Something of a key that ends: the columns of its date and of the smallest threshold that was told, the event.

    Whoever changes the date sets what was told to None. ``only``: the keys that it concerns.
    """

    date: str
    told: str
    event: KeyEvent
    only: Q

    def waiting(self, days: int, now: datetime) -> Q:
        near = Q((f"{self.date}__gt", now), (f"{self.date}__lte", now + days * DAY)) & ~Q(
            state=KeyState.REVOKED
        )
        return self.only & near & (Q((self.told, None)) | Q((f"{self.told}__gt", days)))


EXPIRY = End("expires_at", "expiry_told_days", KeyEvent.EXPIRES_SOON, Q())
#: Not of a key that expires before: its expiry is told, and a renewal would not help it.
TRADE = End(
    "trade_until",
    "trade_told_days",
    KeyEvent.TRADE_ENDS_SOON,
    Q(can_trade=True, ip_policy=IpPolicy.UNRESTRICTED)
    & (Q(expires_at=None) | Q(expires_at__gt=F("trade_until"))),
)


def announce(now: datetime | None = None) -> int:
    """Tells of the ends that came nearer than a threshold; how many were told. Safe to run many times at once."""
    now = now or timezone.now()
    told = 0
    for end in (EXPIRY, TRADE):
        for days in THRESHOLDS:
            for key in ApiKey.objects.filter(end.waiting(days, now)).select_related("owner"):
                told += _tell(end, key, days, now)
    return told


def due(now: datetime | None = None) -> int:
    """How many `announce` would tell now."""
    now = now or timezone.now()
    return sum(
        ApiKey.objects.filter(reduce(or_, (end.waiting(days, now) for days in THRESHOLDS))).count()
        for end in (EXPIRY, TRADE)
    )


def _tell(end: End, key: ApiKey, days: int, now: datetime) -> bool:
    date: datetime | None = getattr(key, end.date)
    if date is None:
        return False
    with transaction.atomic():
        # One conditional write decides who tells, and only of the date that the event will hold.
        still = ApiKey.objects.filter(end.waiting(days, now), Q((end.date, date)), pk=key.pk)
        if not still.update(**{end.told: days}):
            return False
        audit.record(
            end.event, None, customer=key.owner, target=str(key.pk), label=key.label,
            days=-((now - date) // DAY), date=date.isoformat(),
        )  # fmt: skip
    return True


def register() -> None:
    """Add `announce` to the chores of ``manage.py send_notices``. Called by `ApiKeysConfig.ready()`."""
    chores.CHORES.register({"keys that expire soon": (announce, 600)})
