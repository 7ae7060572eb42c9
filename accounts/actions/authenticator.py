"""Replace the authenticator of an account."""

from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.access import pending_login
from accounts.actions import freeze
from accounts.choices.events import Event
from accounts.factors import verification
from accounts.models import TotpDevice, User
from hitobit_portal.security import crypto


def replace(request: HttpRequest, user: User, seed: str) -> None:
    """Activate ``seed``, as the effect of its first code. The old seed and every login except that of ``request``
    end.
    """
    device = TotpDevice.objects.get(user=user)
    device.seed_sealed = crypto.seal(seed.encode(), verification.seal_owner(user))
    device.next_seed_sealed = ""
    device.confirmed_at = timezone.now()
    # The clock drift of the old authenticator does not apply to the new one.
    device.drifts = device.drifts[-1:]
    # Not last_step: `verification.verify` has just stored the step that was used, and it stays used.
    device.save(update_fields=["seed_sealed", "next_seed_sealed", "confirmed_at", "drifts"])
    freeze.quarantine(user)
    pending_login.end_other_logins(request, user)
    audit.record(Event.TOTP_CHANGED, request, customer=user)
