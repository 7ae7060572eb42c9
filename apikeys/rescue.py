"""IP rescue: a rightly signed request from an address that is not listed waits for its owner's approval.

Home connections change their address, and a bot that stops at night costs money. Never on a wrong signature: anybody
knows a key id, and could fill the owner's phone.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.events import Event
from apikeys.models import ApiKey, RescueRequest
from apikeys.outcomes import Outcome
from apikeys.verification import Decision

EVERY = timedelta(hours=1)
LIFETIME = timedelta(hours=24)


def ask(key: ApiKey, decision: Decision, address: str) -> RescueRequest | None:
    """Opens an approval for ``address``, at most one a key and hour, and tells the owner; None when it is not asked."""
    if decision.outcome is not Outcome.ADDRESS_REFUSED or not decision.rightly_signed or not address:
        return None
    with transaction.atomic():
        locked = ApiKey.objects.select_for_update().select_related("owner").get(pk=key.pk)
        recent = locked.rescues.filter(asked_at__gt=timezone.now() - EVERY).exists()
        if recent or not locked.asks_for_rescue:
            return None
        request = RescueRequest.objects.create(key=locked, address=address)
        audit.record(
            Event.KEY_RESCUE_ASKED,
            None,
            customer=locked.owner,
            target=str(locked.pk),
            label=locked.label,
            changes=[f"+{address}"],
        )
    return request


def waiting(key: ApiKey) -> RescueRequest | None:
    """The approval that the owner can give now."""
    return key.rescues.filter(closed_at=None, asked_at__gt=timezone.now() - LIFETIME).first()


def close(request: RescueRequest, *, approved: bool) -> bool:
    """Once: of two tabs one decides."""
    open_one = RescueRequest.objects.filter(pk=request.pk, closed_at=None)
    return open_one.update(closed_at=timezone.now(), approved=approved) == 1
