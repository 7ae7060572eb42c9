"""What became of a key's requests, for its owner: counts, the last refusals and why, addresses, clock."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from apikeys import rescue, rotation
from apikeys.models import AddressUse, ApiKey, Credential, DailyUse, Refusal
from apikeys.verification import Decision

KEPT_REFUSALS = 50
KEPT_ADDRESSES = 20
KEPT_DAYS = 400
#: "Last used" is written at most this often for one address: one write a minute, not one a request.
GRAIN = timedelta(seconds=60)


def note(key_id: str, decision: Decision, address: str, permission: str) -> None:
    """Records one decision about the key with this public id; nothing for a key that does not exist."""
    key = ApiKey.objects.filter(key_id=key_id).first()
    if key is None:
        return
    with transaction.atomic():
        _count(key, decision, permission)
        if decision.skew_ms is not None:
            ApiKey.objects.filter(pk=key.pk).update(skew_ms=decision.skew_ms)
        if decision.allowed:
            _note_use(key, address, decision.credential_id)
        else:
            _note_refusal(key, decision, address, permission)
    if decision.rightly_signed and not decision.allowed:
        rescue.ask(key, decision, address)


def _count(key: ApiKey, decision: Decision, permission: str) -> None:
    row = {
        "key": key,
        "day": timezone.now().date(),
        "outcome": decision.outcome.value,
        "permission": permission,
    }
    DailyUse.objects.get_or_create(**row, defaults={})
    DailyUse.objects.filter(**row).update(count=F("count") + 1)


def _note_use(key: ApiKey, address: str, credential_id: int | None) -> None:
    now = timezone.now()
    older = Q(last_used_at=None) | Q(last_used_at__lt=now - GRAIN) | ~Q(last_used_ip=address)
    ApiKey.objects.filter(older, pk=key.pk).update(last_used_at=now, last_used_ip=address)
    row, _made = AddressUse.objects.get_or_create(key=key, address=address, defaults={"last_at": now})
    AddressUse.objects.filter(pk=row.pk).update(last_at=now, count=F("count") + 1)
    kept = list(AddressUse.objects.filter(key=key).values_list("pk", flat=True)[:KEPT_ADDRESSES])
    AddressUse.objects.filter(key=key).exclude(pk__in=kept).delete()
    if credential_id is not None:
        rotation.note_first_use(credential_id, now)
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - GRAIN)
        Credential.objects.filter(stale, pk=credential_id).update(last_used_at=now)


def _note_refusal(key: ApiKey, decision: Decision, address: str, permission: str) -> None:
    Refusal.objects.create(
        key=key,
        outcome=decision.outcome.value,
        address=address,
        permission=permission,
        skew_ms=decision.skew_ms,
    )
    newest = Refusal.objects.filter(key=key).values_list("pk", flat=True)[KEPT_REFUSALS - 1 : KEPT_REFUSALS]
    for last in newest:
        Refusal.objects.filter(key=key, pk__lt=last).delete()
