"""Confirm the first authenticator, and the provisioning data (URI, QR code) that apps scan.

Until its first code was entered, a seed belongs to the login that shows it (`accounts.access.logins.derive_seed`) and
is not stored.
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
    """Confirm the authenticator whose first code `verification.verify` has just accepted, within a half-finished
    login.
    """
    TotpDevice.objects.filter(user=user).update(confirmed=True, confirmed_at=timezone.now())
    pending_login.end_other_logins(request, user)
    audit.record(Event.TOTP_CONFIRMED, request, customer=user)


def qr_context(user: User, seed: str) -> dict[str, object]:
    """Return the template context for a seed: ``secret``, ``uri``, ``qr_path``, ``qr_size``, ``account_name``."""
    uri = provisioning_uri(user, seed)
    path, size = qr_path(uri)
    return {
        "secret": seed,
        "uri": uri,
        "qr_path": path,
        "qr_size": size,
        "account_name": f"{ISSUER}: {user.phone}",
    }


def provisioning_uri(user: User, seed: str) -> str:
    """Return the ``otpauth://`` URI for authenticator apps (Key URI Format)."""
    return pyotp.TOTP(seed).provisioning_uri(name=user.phone, issuer_name=ISSUER)


def qr_path(text: str) -> tuple[str, int]:
    """Return the QR code as one SVG path (``d``) of unit squares, and the side of its view box with a quiet zone of
    4.
    """
    code = qrcode.QRCode(border=4, error_correction=qrcode.constants.ERROR_CORRECT_M)
    code.add_data(text)
    rows = code.get_matrix()
    path = io.StringIO()
    for y, row in enumerate(rows):
        for x, dark in enumerate(row):
            if dark:
                path.write(f"M{x} {y}h1v1h-1z")
    return path.getvalue(), len(rows)
