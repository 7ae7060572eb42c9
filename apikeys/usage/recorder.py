"""What became of a key's requests, for its owner: counts, the last refusals and why, addresses, clock.

Anybody who knows a key id can be refused with it. So refusals are counted always, but their rows are bounded: in
number, by the minute, and what was not signed with the key's secret never drives out what was.
"""

import uuid
from datetime import date, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from apikeys.actions import address_approval, rotation
from apikeys.models import AddressUse, ApiKey, Credential, DailyUse, Refusal
from apikeys.verification.decision import Decision
from hitobit_portal.i18n.jalali import TEHRAN

KEPT_REFUSALS = 50
#: Of signed and of unsigned refusals each, as many are sure of their place.
SURE_REFUSALS = KEPT_REFUSALS // 2
#: Rows a minute, of signed and of unsigned refusals each: ten show what is wrong as well as ten thousand.
REFUSALS_A_MINUTE = 10
KEPT_ADDRESSES = 20
KEPT_DAYS = 400
#: "Last used" is written at most this often for one address: one write a minute, not one a request.
GRAIN = timedelta(seconds=60)
#: A request signed with "now" in seconds is 56 years late: beyond a day the measure says no more than "a day".
LARGEST_SKEW_MS = 86_400_000
#: A measured clock is written again when it moved by so much: the way through the network alone differs by less.
SKEW_GRAIN_MS = 50


def today() -> date:
    """The day on Tehran's clock: the days of `DailyUse`."""
    return timezone.localdate(timezone=TEHRAN)


def note(key_id: str, decision: Decision, address: str, permission: str) -> None:
    """Records one decision about the key with this public id; nothing for a key that does not exist."""
    with transaction.atomic():
        # The key's row is the lock of all that is counted for it; SELECTs and foreign keys do not wait for it.
        key = ApiKey.objects.select_for_update(no_key=True).filter(key_id=key_id).first()
        if key is None:
            return
        _count(key, decision, permission)
        skew_ms = bounded_skew(decision.skew_ms)
        if skew_ms is not None and has_moved(key.skew_ms, skew_ms):
            ApiKey.objects.filter(pk=key.pk).update(skew_ms=skew_ms)
        if decision.allowed:
            _note_use(key, address, decision.credential_id)
        else:
            note_refusal(key, decision, address, permission)
    if decision.is_authentic and not decision.allowed:
        address_approval.ask(key, decision, address)


def bounded_skew(skew_ms: int | None) -> int | None:
    """``skew_ms`` within a day either way."""
    if skew_ms is None:
        return None
    return max(-LARGEST_SKEW_MS, min(LARGEST_SKEW_MS, skew_ms))


def has_moved(before: int | None, now: int) -> bool:
    """Whether a clock is so much off from before that it is worth a write."""
    return before is None or abs(now - before) >= SKEW_GRAIN_MS


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


def _note_use(key: ApiKey, address: str, credential_id: int | None) -> None:
    now = timezone.now()
    older = Q(last_used_at=None) | Q(last_used_at__lt=now - GRAIN) | ~Q(last_used_ip=address)
    ApiKey.objects.filter(older, pk=key.pk).update(last_used_at=now, last_used_ip=address)
    used = AddressUse.objects.filter(key=key, address=address)
    if not used.update(last_at=now, count=F("count") + 1):
        AddressUse.objects.create(key=key, address=address, last_at=now, count=1)
        forget_old_addresses(key.pk)
    if credential_id is not None:
        rotation.note_first_use(credential_id, now)
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - GRAIN)
        Credential.objects.filter(stale, pk=credential_id).update(last_used_at=now)


def forget_old_addresses(key: uuid.UUID) -> None:
    """Keeps the addresses that were used last."""
    kept = list(AddressUse.objects.filter(key=key).values_list("pk", flat=True)[:KEPT_ADDRESSES])
    AddressUse.objects.filter(key=key).exclude(pk__in=kept).delete()


def note_refusal(key: ApiKey, decision: Decision, address: str, permission: str) -> None:
    """One refusal for the key's owner. Called in a transaction.

    Writes a row unless this minute has enough of its kind, and drives out the oldest of the larger kind."""
    signed = decision.skew_ms is not None
    rows = list(Refusal.objects.filter(key=key).values_list("pk", "at", "skew_ms")[:KEPT_REFUSALS])
    alike = [(pk, at) for pk, at, skew_ms in rows if (skew_ms is not None) == signed]
    minute_ago = timezone.now() - timedelta(minutes=1)
    if sum(at > minute_ago for _pk, at in alike) >= REFUSALS_A_MINUTE:
        return
    if len(rows) >= KEPT_REFUSALS:
        # SECURITY: wrong signatures need no secret: fifty of them must not hide what the owner's program was told.
        others = [pk for pk, _at, skew_ms in rows if (skew_ms is not None) != signed]
        goes = others[-1] if len(others) > SURE_REFUSALS else alike[-1][0]
        Refusal.objects.filter(pk=goes).delete()
    Refusal.objects.create(
        key=key,
        outcome=decision.outcome.value,
        address=address,
        permission=permission,
        skew_ms=bounded_skew(decision.skew_ms),
    )
