"""Recovery codes: ten for each user, shown once, stored as keyed digests."""

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
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without i, l, o, 0, 1, because people copy the codes by hand
CODE_LENGTH = 8


def generate(
    request: HttpRequest | None, user: User, *, renew: bool, only_if: Callable[[], bool] | None = None
) -> list[str]:
    """Return ten new codes; [] if the user has codes and ``renew`` is False. Renewing makes the old codes void and
    notifies the user.

    ``only_if`` is called under the lock; if it returns False, the result is [].
    """
    # SECURITY: decided under the lock, so only one of many parallel requests shows codes.
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
    """Return a code such as ``k7pm-2xq9``: 8 of 31 characters, 39.6 bits. Wrong guesses count like all other codes."""
    text = "".join(secrets.choice(ALPHABET) for _n in range(CODE_LENGTH))
    return f"{text[:4]}-{text[4:]}"


def download_uri(codes: list[str]) -> str:
    """Return the codes as a ``data:`` URI of a text file, one code a line; "" if there are none."""
    if not codes:
        return ""
    encoded = quote(base64.b64encode("\r\n".join(codes).encode()).decode())
    return f"data:text/plain;charset=utf-8;base64,{encoded}"
