"""Rotation without downtime: a second credential under the same key id; the old one ends after the new one's first use.

The clock starts at the first use and not at the rotation: a program that is changed next week is not cut off today.
"""

import uuid
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from apikeys.models import ApiKey, Credential
from apikeys.policy.choices import KeyState
from apikeys.policy.public_keys import PublicKey
from apikeys.verification.signature_check import MAX_LIVE_CREDENTIALS

#: What the old credential may live on after the first use of the new one, seconds.
GRACES = (0, 3600, 86_400, 7 * 86_400)
MOST = MAX_LIVE_CREDENTIALS


class CannotRotate(Exception):
    """The key is not active, or two of its credentials live already."""


def live(key: ApiKey, now: datetime | None = None) -> list[Credential]:
    """The credentials that sign at ``now``, oldest first."""
    now = now or timezone.now()
    return list(key.credentials.filter(Q(retires_at=None) | Q(retires_at__gt=now)).order_by("pk"))


def rotate(key: ApiKey, public: PublicKey | None, grace_seconds: int, wizard: uuid.UUID) -> Credential:
    """A second credential: ``public`` or a new secret. ``wizard`` is its serial: a repeated submission finds it.

    Raises `CannotRotate`, and `ValueError` for a grace that is not offered.
    """
    if grace_seconds not in GRACES:
        raise ValueError("this grace is not offered")
    with transaction.atomic():
        # The key's row is the lock: of two rotations at once one has to see the other's credential.
        locked = ApiKey.objects.select_for_update().get(pk=key.pk)
        if locked.state != KeyState.ACTIVE or len(live(locked)) >= MOST:
            raise CannotRotate
        credential = Credential.new(locked, public, serial=wizard)
        credential.grace_seconds = grace_seconds
        credential.save()
    return credential


def note_first_use(credential_id: int, now: datetime) -> None:
    """After an allowed request. The first one of a new credential sets the end of the older ones; one write decides."""
    first = Credential.objects.filter(pk=credential_id, first_used_at=None)
    if not first.update(first_used_at=now):
        return
    used = Credential.objects.get(pk=credential_id)
    if used.grace_seconds is not None:
        ends = now + timedelta(seconds=used.grace_seconds)
        older = Credential.objects.filter(key=used.key_id, pk__lt=used.pk)
        older.filter(Q(retires_at=None) | Q(retires_at__gt=ends)).update(retires_at=ends)


def end(key: ApiKey, credential: Credential) -> bool:
    """Ends one of two credentials at once; never the only one: that is what pausing and deleting the key are for.

    SECURITY: the other one keeps the end that it has: prolonging its life would add power without a code.
    """
    with transaction.atomic():
        locked = ApiKey.objects.select_for_update().get(pk=key.pk)
        others = [other for other in live(locked) if other.pk != credential.pk]
        if not others or locked.state == KeyState.REVOKED:
            return False
        now = timezone.now()
        mine = locked.credentials.filter(Q(retires_at=None) | Q(retires_at__gt=now), pk=credential.pk)
        return mine.update(retires_at=now) == 1
