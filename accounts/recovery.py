"""Recovery codes: ten, shown once, stored as keyed digests."""

import secrets

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit, otp
from accounts.events import Event
from accounts.models import RecoveryCode, RecoveryDevice, User
from hitobit_portal import crypto

CODES = 10
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without i, l, o, 0, 1: people copy them by hand
LENGTH = 8


def make(request: HttpRequest | None, user: User, *, renew: bool) -> list[str]:
    """Ten new codes; [] when the person has some and ``renew`` is off. Renewing voids the old ones."""
    # SECURITY: decided under the lock, so that of many parallel requests one shows the codes.
    with transaction.atomic(durable=True):
        otp.lock(user)
        device, made = RecoveryDevice.objects.get_or_create(user=user, defaults={"name": "recovery"})
        if not made and not renew:
            return []
        device.codes.all().delete()
        device.confirmed, device.confirmed_at = True, timezone.now()
        device.save()
        plain = [_code() for _n in range(CODES)]
        digests = (crypto.digest("recovery-code", str(user.pk), code.replace("-", "")) for code in plain)
        RecoveryCode.objects.bulk_create([RecoveryCode(device=device, digest=digest) for digest in digests])
        audit.record(Event.RECOVERY_MADE, request, customer=user)
        return plain


def _code() -> str:
    """``k7pm-2xq9``: 8 of 31 characters, 39.6 bits; guessing is counted with all other codes."""
    text = "".join(secrets.choice(ALPHABET) for _n in range(LENGTH))
    return f"{text[:4]}-{text[4:]}"
