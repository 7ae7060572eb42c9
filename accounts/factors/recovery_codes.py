"""Recovery codes: ten, shown once, stored as keyed digests."""

import base64
import secrets
from collections.abc import Callable
from urllib.parse import quote

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import RecoveryCode, RecoveryDevice, User
from hitobit_portal.security import crypto

CODE_COUNT = 10
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without i, l, o, 0, 1: people copy them by hand
CODE_LENGTH = 8


def generate(
    request: HttpRequest | None, user: User, *, renew: bool, only_if: Callable[[], bool] | None = None
) -> list[str]:
    """Ten new codes; [] when the person has some and ``renew`` is off. Renewing voids the old ones, and is always told.

    ``only_if`` is asked under the lock; [] when it says no.
    """
    # SECURITY: decided under the lock, so that of many parallel requests one shows the codes.
    with transaction.atomic(durable=True):
        verification.lock(user)
        if only_if is not None and not only_if():
            return []
        device, created = RecoveryDevice.objects.get_or_create(user=user, defaults={"name": "recovery"})
        if not created and not renew:
            return []
        device.codes.all().delete()
        device.confirmed, device.confirmed_at = True, timezone.now()
        device.save()
        plain = [_generate_code() for _n in range(CODE_COUNT)]
        digests = (crypto.digest("recovery-code", str(user.pk), code.replace("-", "")) for code in plain)
        RecoveryCode.objects.bulk_create([RecoveryCode(device=device, digest=digest) for digest in digests])
        audit.record(Event.RECOVERY_MADE if created else Event.RECOVERY_RENEWED, request, customer=user)
        return plain


def _generate_code() -> str:
    """``k7pm-2xq9``: 8 of 31 characters, 39.6 bits; guessing is counted with all other codes."""
    text = "".join(secrets.choice(ALPHABET) for _n in range(CODE_LENGTH))
    return f"{text[:4]}-{text[4:]}"


def download_uri(codes: list[str]) -> str:
    """The codes as a ``data:`` URI of a text file, a code a line; "" without codes."""
    if not codes:
        return ""
    encoded = quote(base64.b64encode("\r\n".join(codes).encode()).decode())
    return f"data:text/plain;charset=utf-8;base64,{encoded}"
