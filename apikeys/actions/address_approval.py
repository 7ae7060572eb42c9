"""IP rescue: a rightly signed request from an address that is not listed waits for its owner's approval.

Home connections change their address, and a bot that stops at night costs money. Never on a wrong signature: anybody
knows a key id, and could fill the owner's phone.
"""

import uuid
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.choices.approvals import Approval
from accounts.models import User
from apikeys.actions import consent
from apikeys.models import ApiKey, RescueRequest
from apikeys.policy import account_freeze
from apikeys.policy.approvals import KeyPurpose
from apikeys.policy.choices import KeyState
from apikeys.policy.events import KeyEvent
from apikeys.policy.power import Codes
from apikeys.verification import networks
from apikeys.verification.decision import Decision
from apikeys.verification.outcomes import Outcome

EVERY = timedelta(hours=1)
#: So long an approval waits, and so long the same address does not ask again.
LIFETIME = timedelta(hours=24)


def ask(key: ApiKey, decision: Decision, address: str) -> RescueRequest | None:
    """Opens an approval for ``address``, at most one a key and hour, and tells the owner; None when it does not."""
    if decision.outcome is not Outcome.ADDRESS_REFUSED or not decision.is_authentic:
        return None
    if networks.address_number(address) is None:  # what a gateway said may be anything
        return None
    with transaction.atomic():
        # The key's row is the lock: of many at once all but one see that it was asked.
        locked = locked_key(key.pk)
        if not locked.asks_for_rescue or _was_asked(locked, address) or _is_listed(locked, address):
            return None
        request = RescueRequest.objects.create(key=locked, address=address)
        audit.record(
            KeyEvent.ADDRESS_REQUESTED,
            None,
            customer=locked.owner,
            target=str(locked.pk),
            label=locked.label,
            changes=[f"+{address}"],
        )
    return request


def locked_key(pk: uuid.UUID) -> ApiKey:
    """The key with its row alone locked: `life.delete_all` holds the owner's row and waits for the keys'."""
    return ApiKey.objects.select_for_update(no_key=True, of=("self",)).select_related("owner").get(pk=pk)


def _was_asked(key: ApiKey, address: str) -> bool:
    now = timezone.now()
    asked = key.rescues.filter(asked_at__gt=now - LIFETIME).values_list("asked_at", "address")
    return any(at > now - EVERY or of == address for at, of in asked)


def _is_listed(key: ApiKey, address: str) -> bool:
    """Whether the owner added the address between the decision and now."""
    return networks.compile_networks(key.networks.values_list("value", flat=True)).contains(address)


def waiting(owner: User) -> QuerySet[RescueRequest]:
    """The approvals that ``owner`` can give now, newest first; none while the account is frozen.

    SECURITY: all of them, not the newest: a thief with the secret must not hide the owner's address behind his own.
    """
    # What the owner has changed since: a key that withdraws, or reads from anywhere, lets no address in like this.
    can_be_let_in = {
        "key__state": KeyState.ACTIVE,
        "key__ip_policy": "trusted",
        "key__can_withdraw": False,
        "key__owner__frozen_at": None,
    }
    since = timezone.now() - LIFETIME
    requests = RescueRequest.objects.filter(
        key__owner=owner, closed_at=None, asked_at__gt=since, **can_be_let_in
    )
    return requests.select_related("key")


def approval(request: RescueRequest, asked: dict[str, Any] | None = None) -> Approval:
    """Bound to key and address: a code for one lets no other in, nor into another key."""
    words = {"address": request.address}
    return consent.key_approval(
        KeyPurpose.APPROVE_ADDRESS, request.key, asked, words, address=request.address
    )


def approve(http: HttpRequest, request: RescueRequest, asked: dict[str, Any] | None = None) -> None:
    """Adds the address to the key's networks; only after both codes, as their effect.

    ``asked``: `consent.state_of` the key when they were asked for. Raises `AccountFrozen`, and `ValidationError` when
    it was answered meanwhile, or when the key no longer takes it.
    """
    with consent.changing(request.key, Codes.BOTH, asked) as key:
        account_freeze.check_not_frozen(
            key.owner
        )  # before `waiting`, which would say that the request was answered
        if not waiting(key.owner).filter(pk=request.pk).exists() or not close(request, approved=True):
            raise ValidationError(
                _("This request no longer waits: it was answered, or the key was changed, meanwhile.")
            )
        listed = [*key.networks.values_list("value", flat=True), request.address]
        key.apply(key.permissions, key.ip_policy, listed)
        for event, detail in (
            (KeyEvent.APPROVED, {"purpose": KeyPurpose.APPROVE_ADDRESS.value}),
            (KeyEvent.CHANGED, {"changes": [f"+{request.address}"]}),
            (KeyEvent.ADDRESS_REQUEST_CLOSED, {"changes": [f"+{request.address}"]}),
        ):
            audit.record(event, http, customer=key.owner, target=str(key.pk), label=key.label, **detail)


def dismiss(http: HttpRequest, request: RescueRequest) -> bool:
    """Answers no, without codes: nothing gets in. Whether it still waited."""
    with transaction.atomic():
        closed = close(request, approved=False)
        if closed:
            key = request.key
            audit.record(
                KeyEvent.ADDRESS_REQUEST_CLOSED,
                http,
                customer=key.owner,
                target=str(key.pk),
                label=key.label,
                changes=[f"-{request.address}"],
            )
    return closed


def close(request: RescueRequest, *, approved: bool) -> bool:
    """Once: of two tabs one decides."""
    open_one = RescueRequest.objects.filter(pk=request.pk, closed_at=None)
    return open_one.update(closed_at=timezone.now(), approved=approved) == 1


def allow(http: HttpRequest, key: ApiKey, *, allowed: bool) -> bool:
    """Turns the asking on or off; whether that changed anything. No codes: asking lets nobody in."""
    with transaction.atomic():
        changed = ApiKey.objects.filter(pk=key.pk, state=KeyState.ACTIVE, allows_rescue=not allowed)
        if not changed.update(allows_rescue=allowed):
            return False
        # Not "+rescue": with a plus begin what adds power, whose notices are never held back.
        codes = [f"rescue:{'on' if allowed else 'off'}"]
        audit.record(
            KeyEvent.CHANGED, http, customer=key.owner, target=str(key.pk), label=key.label, changes=codes
        )
    return True
