"""Rotate credentials without downtime: add a second one to the key; the old one ends after the new one's first use.

The grace period starts at the first use, not at the rotation, so that a program may be changed a week later.
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

#: How long the old credential stays valid after the first use of the new one, in seconds.
GRACE_PERIODS = (0, 3600, 86_400, 7 * 86_400)


class CannotRotate(Exception):
    """The key is not active, or already has two live credentials."""


def live_credentials(key: ApiKey, now: datetime | None = None) -> list[Credential]:
    """Return the credentials that are valid at ``now``, oldest first."""
    now = now or timezone.now()
    return list(key.credentials.filter(Q(retires_at=None) | Q(retires_at__gt=now)).order_by("pk"))


def rotate(key: ApiKey, public: PublicKey | None, grace_seconds: int, wizard: uuid.UUID) -> Credential:
    """Add a second credential: ``public`` or a new secret. ``wizard`` is its serial: a repeated submission finds it.

    Raises `CannotRotate`, and `ValueError` for a grace period that is not in GRACE_PERIODS.
    """
    if grace_seconds not in GRACE_PERIODS:
        raise ValueError("invalid grace period")
    with transaction.atomic():
        # The key's row is the lock: of two concurrent rotations one has to see the other's credential.
        locked = ApiKey.objects.select_for_update().get(pk=key.pk)
        if locked.state != KeyState.ACTIVE or len(live_credentials(locked)) >= MAX_LIVE_CREDENTIALS:
            raise CannotRotate
        credential = Credential.new(locked, public, serial=wizard)
        credential.grace_seconds = grace_seconds
        credential.save()
    return credential


def record_first_use(credential_id: int, now: datetime) -> None:
    """Record an allowed request. The first one of a new credential sets the end of the older ones.

    One conditional write decides which request is the first.
    """
    first = Credential.objects.filter(pk=credential_id, first_used_at=None)
    if not first.update(first_used_at=now):
        return
    used = Credential.objects.get(pk=credential_id)
    if used.grace_seconds is not None:
        ends = now + timedelta(seconds=used.grace_seconds)
        older = Credential.objects.filter(key=used.key_id, pk__lt=used.pk)
        older.filter(Q(retires_at=None) | Q(retires_at__gt=ends)).update(retires_at=ends)


def end(key: ApiKey, credential: Credential) -> bool:
    """End one of two live credentials at once; never the only one: for this, the key is paused or deleted.

    SECURITY: the other one keeps its end: to postpone it would add power without a code.
    """
    with transaction.atomic():
        locked = ApiKey.objects.select_for_update().get(pk=key.pk)
        others = [other for other in live_credentials(locked) if other.pk != credential.pk]
        if not others or locked.state == KeyState.REVOKED:
            return False
        now = timezone.now()
        ended = locked.credentials.filter(Q(retires_at=None) | Q(retires_at__gt=now), pk=credential.pk)
        return ended.update(retires_at=now) == 1
