"""Turning an authenticator on: the first one, the one that takes its place, and the picture that apps scan.

Until its first code was typed a seed belongs to the login that shows it (`accounts.access.logins.seed`) and is stored nowhere.
"""

import io

import pyotp
import qrcode
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import guard
from accounts.actions import freeze
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import TotpDevice, User
from hitobit_portal.security import crypto

ISSUER = "Hitobit"


def confirm_first(request: HttpRequest, user: User) -> None:
    """The effect of the first seed's first code, which `verification.verify` has just stored; within a half-finished login."""
    TotpDevice.objects.filter(user=user).update(confirmed=True, confirmed_at=timezone.now())
    guard.end_others(request, user)
    audit.record(Event.TOTP_CONFIRMED, request, customer=user)


def replace(request: HttpRequest, user: User, seed: str) -> None:
    """The effect of the first code of ``seed``: the old one is over, and every login but that of ``request``."""
    device = TotpDevice.objects.get(user=user)
    device.seed_sealed = crypto.seal(seed.encode(), verification.seal_owner(user))
    device.next_seed_sealed = ""
    device.confirmed_at = timezone.now()
    device.drifts = device.drifts[
        -1:
    ]  # what was measured of the other authenticator says nothing about this one
    # Not last_step: `verification.verify` has just written the step that was used, and it stays used.
    device.save(update_fields=["seed_sealed", "next_seed_sealed", "confirmed_at", "drifts"])
    freeze.quarantine(user)
    guard.end_others(request, user)
    audit.record(Event.TOTP_CHANGED, request, customer=user)


def picture(user: User, seed: str) -> dict[str, object]:
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
