"""Record a key's requests for its owner: counts, latest rejections with their reasons, addresses, clock skew.

Anybody who knows a key id can send requests that are rejected. All rejections are counted, but their rows are limited
in number and per minute, and a rejection that was not signed with the key's secret never replaces one that was.
"""

import uuid
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from apikeys.actions import address_approval, new_networks, rotation
from apikeys.models import AddressUse, ApiKey, Credential, DailyUse, Refusal
from apikeys.usage.request_line import NO_LINE, RequestLine, clean_parameter
from apikeys.verification.decision import Decision
from hitobit_portal.i18n.jalali import TEHRAN

KEPT_REJECTIONS = 50
#: Minimum number of rows reserved for signed and for unsigned rejections each.
RESERVED_REJECTIONS = KEPT_REJECTIONS // 2
#: Maximum number of rows per minute, for signed and unsigned rejections each: ten rows show a problem as well as ten
#: thousand.
REJECTIONS_A_MINUTE = 10
KEPT_ADDRESSES = 20
KEPT_DAYS = 400
#: Minimum interval between two writes of "last used" for one address: one write per minute instead of one per request.
LAST_USED_INTERVAL = timedelta(seconds=60)
#: Larger measurements are stored as one day: a timestamp in seconds instead of milliseconds is 56 years late.
MAX_SKEW_MS = 86_400_000
#: Minimum change of the clock skew that is written; network latency alone varies by less.
MIN_SKEW_CHANGE_MS = 50


def today() -> date:
    """Return the current date in Tehran, as used in `DailyUse`."""
    return timezone.localdate(timezone=TEHRAN)


def record(
    key_id: str, decision: Decision, address: str, permission: str, line: RequestLine = NO_LINE
) -> None:
    """Record one decision about the key with this public id; do nothing if the key does not exist."""
    with transaction.atomic():
        # The key's row is the lock for its counts; SELECTs and foreign keys do not wait for it.
        key = ApiKey.objects.select_for_update(no_key=True).filter(key_id=key_id).first()
        if key is None:
            return
        _count(key, decision, permission)
        skew_ms = bounded_skew(decision.skew_ms)
        if skew_ms is not None and has_moved(key.skew_ms, skew_ms):
            ApiKey.objects.filter(pk=key.pk).update(skew_ms=skew_ms)
        if decision.allowed:
            _record_use(key, address, decision.credential_id)
        else:
            record_rejection(key, decision, address, permission, line)
    if decision.allowed and decision.credential_id is not None:
        new_networks.record_use(key.pk, address)
    if decision.is_authentic and not decision.allowed:
        address_approval.request_approval(key, decision, address)


def bounded_skew(skew_ms: int | None) -> int | None:
    """Return ``skew_ms`` limited to one day in either direction."""
    if skew_ms is None:
        return None
    return max(-MAX_SKEW_MS, min(MAX_SKEW_MS, skew_ms))


def has_moved(before: int | None, now: int) -> bool:
    """Return whether a clock skew changed enough to be written."""
    return before is None or abs(now - before) >= MIN_SKEW_CHANGE_MS


def _count(key: ApiKey, decision: Decision, permission: str) -> None:
    row = {"key": key, "day": today(), "outcome": decision.outcome.value, "permission": permission}
    counted = DailyUse.objects.filter(**row)
    if counted.update(count=F("count") + 1):
        return
    _row, made = DailyUse.objects.get_or_create(**row, defaults={"count": 1})
    if made:
        DailyUse.objects.filter(key=key, day__lt=today() - timedelta(days=KEPT_DAYS)).delete()
    else:
        counted.update(count=F("count") + 1)


def _record_use(key: ApiKey, address: str, credential_id: int | None) -> None:
    now = timezone.now()
    older = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_INTERVAL) | ~Q(last_used_ip=address)
    ApiKey.objects.filter(older, pk=key.pk).update(last_used_at=now, last_used_ip=address)
    used = AddressUse.objects.filter(key=key, address=address)
    if not used.update(last_at=now, count=F("count") + 1):
        AddressUse.objects.create(key=key, address=address, last_at=now, count=1)
        forget_old_addresses(key.pk)
    if credential_id is not None:
        rotation.record_first_use(credential_id, now)
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_INTERVAL)
        Credential.objects.filter(stale, pk=credential_id).update(last_used_at=now)


def forget_old_addresses(key: uuid.UUID) -> None:
    """Delete all but the most recently used addresses."""
    kept = list(AddressUse.objects.filter(key=key).values_list("pk", flat=True)[:KEPT_ADDRESSES])
    AddressUse.objects.filter(key=key).exclude(pk__in=kept).delete()


def record_rejection(
    key: ApiKey,
    decision: Decision,
    address: str,
    permission: str,
    line: RequestLine,
    at: datetime | None = None,
) -> None:
    """Record one rejection for the key's owner; ``at``: when, if not now. Must be called in a transaction.

    Write a row unless this minute has enough rows of its kind (signed or unsigned); delete the oldest row of the more
    frequent kind."""
    signed = decision.skew_ms is not None
    rows = list(Refusal.objects.filter(key=key).values_list("pk", "at", "skew_ms")[:KEPT_REJECTIONS])
    alike = [(pk, at) for pk, at, skew_ms in rows if (skew_ms is not None) == signed]
    minute_ago = timezone.now() - timedelta(minutes=1)
    if sum(at > minute_ago for _pk, at in alike) >= REJECTIONS_A_MINUTE:
        return
    if len(rows) >= KEPT_REJECTIONS:
        # SECURITY: requests with wrong signatures need no secret: fifty of them must not replace the rejections of the
        # owner's own program.
        others = [pk for pk, _at, skew_ms in rows if (skew_ms is not None) != signed]
        replaced = others[-1] if len(others) > RESERVED_REJECTIONS else alike[-1][0]
        Refusal.objects.filter(pk=replaced).delete()
    line = line.cleaned()
    Refusal.objects.create(
        key=key,
        at=at or timezone.now(),
        outcome=decision.outcome.value,
        address=address,
        permission=permission,
        skew_ms=bounded_skew(decision.skew_ms),
        offset_ms=bounded_skew(decision.offset_ms),
        method=line.method,
        path=line.path,
        parameter=clean_parameter(decision.parameter),
    )
