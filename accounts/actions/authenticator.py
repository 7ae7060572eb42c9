"""Replace the authenticator of an account."""

from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import guard
from accounts.actions import freeze
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import TotpDevice, User
from hitobit_portal.security import crypto


def replace(request: HttpRequest, user: User, seed: str) -> None:
    """Put ``seed`` into force: the effect of its first code. Ends the old seed and all other logins."""
    device = TotpDevice.objects.get(user=user)
    device.seed_sealed = crypto.seal(seed.encode(), verification.seal_owner(user))
    device.next_seed_sealed = ""
    device.confirmed_at = timezone.now()
    # Measurements of the old authenticator's clock say nothing about the new one.
    device.drifts = device.drifts[-1:]
    # Not last_step: `verification.verify` has just written the step that was used, and it stays used.
    device.save(update_fields=["seed_sealed", "next_seed_sealed", "confirmed_at", "drifts"])
    freeze.quarantine(user)
    guard.end_others(request, user)
    audit.record(Event.TOTP_CHANGED, request, customer=user)
