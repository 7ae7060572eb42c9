"""Turning an authenticator on: the first one, the one that takes its place, and the picture that apps scan.

Until its first code was typed a seed belongs to the login that shows it (`accounts.access.logins.derive_seed`) and is stored nowhere.
"""

import io

import pyotp
import qrcode
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import pending_login
from accounts.choices.events import Event
from accounts.models import TotpDevice, User

ISSUER = "Hitobit"


def confirm_first(request: HttpRequest, user: User) -> None:
    """The effect of the first seed's first code, which `verification.verify` has just stored; within a half-finished login."""
    TotpDevice.objects.filter(user=user).update(confirmed=True, confirmed_at=timezone.now())
    pending_login.end_other_logins(request, user)
    audit.record(Event.TOTP_CONFIRMED, request, customer=user)


def qr_context(user: User, seed: str) -> dict[str, object]:
    """What the templates that show a seed need: ``secret``, ``qr_path``, ``qr_size``, ``account_name``."""
    path, size = qr_path(provisioning_uri(user, seed))
    return {
        "secret": seed,
        "qr_path": path,
        "qr_size": size,
        "account_name": f"{ISSUER}: {user.phone}",
    }


def provisioning_uri(user: User, seed: str) -> str:
    """``otpauth://`` of the authenticator apps (Key URI Format)."""
    return pyotp.TOTP(seed).provisioning_uri(name=user.phone, issuer_name=ISSUER)


def qr_path(text: str) -> tuple[str, int]:
    """The QR code as one SVG path (``d``) of unit squares, and the side of its view box with the quiet zone of 4."""
    code = qrcode.QRCode(border=4, error_correction=qrcode.constants.ERROR_CORRECT_M)
    code.add_data(text)
    rows = code.get_matrix()
    path = io.StringIO()
    for y, row in enumerate(rows):
        for x, dark in enumerate(row):
            if dark:
                path.write(f"M{x} {y}h1v1h-1z")
    return path.getvalue(), len(rows)
