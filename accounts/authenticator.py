"""Seeds of the authenticator: the first one, the one that takes its place, and the picture that apps scan."""

import io

import pyotp
import qrcode
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit, emergency, otp, sessions
from accounts.events import Event
from accounts.models import TotpDevice, User
from hitobit_portal import crypto

ISSUER = "Hitobit"


def first_seed(user: User) -> str:
    """The seed (base32) that waits for its first code; made on the first visit, the same after a refresh."""
    with transaction.atomic(durable=True):
        otp.lock(user)
        device = TotpDevice.objects.filter(user=user).first()
        if device is None:
            device = TotpDevice(user=user, confirmed=False, name="totp")
            device.seed_sealed = crypto.seal(pyotp.random_base32().encode(), otp.seal_owner(user))
            device.save()
        return crypto.unseal(device.seed_sealed, otp.seal_owner(user)).decode()


def confirm_first(request: HttpRequest, user: User) -> None:
    """The effect of the first seed's first code."""
    TotpDevice.objects.filter(user=user).update(confirmed=True, confirmed_at=timezone.now())
    audit.record(Event.TOTP_CONFIRMED, request, customer=user)


def new_seed(user: User) -> None:
    """Makes the seed that is to take the confirmed one's place; one that was shown before confirms nothing any more."""
    sealed = crypto.seal(pyotp.random_base32().encode(), otp.seal_owner(user, "next"))
    TotpDevice.objects.filter(user=user, confirmed=True).update(next_seed_sealed=sealed)


def next_seed(user: User) -> str:
    """The seed (base32) that `new_seed` made, the same after a refresh; "" when there is none."""
    sealed = TotpDevice.objects.filter(user=user).values_list("next_seed_sealed", flat=True).first()
    return crypto.unseal(sealed, otp.seal_owner(user, "next")).decode() if sealed else ""


def replace(request: HttpRequest, user: User, *, keep: bool) -> None:
    """The effect of the next seed's first code: the old one is over. ``keep``: the session of ``request`` goes on."""
    device = TotpDevice.objects.get(user=user)
    seed = crypto.unseal(device.next_seed_sealed, otp.seal_owner(user, "next"))
    device.seed_sealed = crypto.seal(seed, otp.seal_owner(user))
    device.next_seed_sealed = ""
    device.confirmed_at = timezone.now()
    device.drifts = device.drifts[
        -1:
    ]  # what was measured of the other authenticator says nothing about this one
    # Not last_step: `otp.verify` has just written the step that was used, and it stays used.
    device.save(update_fields=["seed_sealed", "next_seed_sealed", "confirmed_at", "drifts"])
    emergency.quarantine(user)
    sessions.end_all(user, keep=request if keep else None)
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
