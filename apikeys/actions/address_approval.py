"""Approval of new addresses: a correctly signed request from an unlisted address waits for the owner's approval.

Home connections change their address, and a bot that stops at night costs money. A request with a wrong signature never
asks: key ids are public, and anybody could send SMS to the owner.
"""

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
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

MIN_INTERVAL = timedelta(hours=1)
#: How long a request for approval stays open, and how long the same address cannot request again.
LIFETIME = timedelta(hours=24)


def request_approval(key: ApiKey, decision: Decision, address: str) -> RescueRequest | None:
    """Open a request for ``address``, at most one per key and hour, and notify the owner; None if none is opened."""
    if decision.outcome is not Outcome.ADDRESS_REFUSED or not decision.is_authentic:
        return None
    if networks.address_number(address) is None:  # the gateway's client may send any text
        return None
    with transaction.atomic():
        # The key's row is the lock: of concurrent requests only one does not see an earlier one.
        locked = locked_key(key.pk)
        if not locked.asks_for_rescue or _was_requested(locked, address) or _is_listed(locked, address):
            return None
        request = RescueRequest.objects.create(key=locked, address=address)
        audit.record(
            KeyEvent.ADDRESS_REQUESTED,
            None,
            customer=locked.owner,
            target=str(locked.pk),
            label=locked.label,
            changes=[f"+{address}"],
            approval=request.pk,  # for the link in the notice
        )
    return request


def locked_key(pk: uuid.UUID) -> ApiKey:
    """Return the key with only its own row locked: `lifecycle.delete_all` holds the owner's row and waits for keys."""
    return ApiKey.objects.select_for_update(no_key=True, of=("self",)).select_related("owner").get(pk=pk)


def _was_requested(key: ApiKey, address: str) -> bool:
    now = timezone.now()
    requests = key.rescues.filter(asked_at__gt=now - LIFETIME).values_list("asked_at", "address")
    return any(at > now - MIN_INTERVAL or requested == address for at, requested in requests)


def _is_listed(key: ApiKey, address: str) -> bool:
    """Return whether the address is in the allow-list: the owner may have added it after the decision."""
    return networks.compile_networks(key.networks.values_list("value", flat=True)).contains(address)


def open_requests(owner: User) -> QuerySet[RescueRequest]:
    """Return the requests that ``owner`` can approve now, newest first; none while the account is frozen.

    SECURITY: all of them, not only the newest: a thief with the secret must not hide the owner's address behind their
    own.
    """
    # The owner may have changed the key since: no approval for keys that can withdraw or are unrestricted.
    approvable = {
        "key__state": KeyState.ACTIVE,
        "key__ip_policy": "trusted",
        "key__can_withdraw": False,
        "key__owner__frozen_at": None,
    }
    since = timezone.now() - LIFETIME
    requests = RescueRequest.objects.filter(
        key__owner=owner, closed_at=None, asked_at__gt=since, **approvable
    )
    return requests.select_related("key")


def marked(keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Return ``keys`` with ``has_open_request``, which saves `open_requests_of` its statement where there is none."""
    return keys.annotate(
        has_open_request=Exists(RescueRequest.objects.filter(key=OuterRef("pk"), closed_at=None))
    )


def open_requests_of(keys: Iterable[ApiKey]) -> list[RescueRequest]:
    """Return the `open_requests` about ``keys``, which one customer has just loaded; no SQL if none can have any."""
    approvable = {
        key.pk: key
        for key in keys
        if getattr(key, "has_open_request", True) and key.takes_addresses and key.owner.frozen_at is None
    }
    if not approvable:
        return []
    since = timezone.now() - LIFETIME
    requests = RescueRequest.objects.filter(key__in=list(approvable), closed_at=None, asked_at__gt=since)
    for request in requests:
        request.key = approvable[request.key_id]
    return list(requests)


def approval(request: RescueRequest, approved_state: dict[str, Any] | None = None) -> Approval:
    """Return an approval bound to key and address: its codes approve no other address and no other key."""
    words = {"address": request.address}
    return consent.key_approval(
        KeyPurpose.APPROVE_ADDRESS, request.key, approved_state, words, address=request.address
    )


def approve(http: HttpRequest, request: RescueRequest, approved_state: dict[str, Any] | None = None) -> None:
    """Add the address to the key's networks, as the effect of both codes.

    ``approved_state``: `consent.state_of` the key when the codes were requested. Raises `AccountFrozen`, and
    `ValidationError` if the request was answered meanwhile or the key no longer accepts the address.
    """
    with consent.changing(request.key, Codes.BOTH, approved_state) as key:
        # Before `open_requests`, whose error is that the request was answered.
        account_freeze.check_not_frozen(key.owner)
        if not open_requests(key.owner).filter(pk=request.pk).exists() or not close(request, approved=True):
            raise ValidationError(
                _("This request is no longer pending: it was answered, or the key was changed meanwhile.")
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
    """Reject the request, without codes, because no power is added. Return whether it was still open."""
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
    """Close the request. Return whether this call closed it: of two tabs only one does."""
    open_one = RescueRequest.objects.filter(pk=request.pk, closed_at=None)
    return open_one.update(closed_at=timezone.now(), approved=approved) == 1


def set_requests_allowed(http: HttpRequest, key: ApiKey, *, allowed: bool) -> bool:
    """Turn requests for new addresses on or off, without codes, because no power is added.

    Return whether that changed anything.
    """
    with transaction.atomic():
        changed = ApiKey.objects.filter(pk=key.pk, state=KeyState.ACTIVE, allows_rescue=not allowed)
        if not changed.update(allows_rescue=allowed):
            return False
        # Not "+rescue": codes with a plus add power, and their notices are never held back.
        codes = [f"rescue:{'on' if allowed else 'off'}"]
        audit.record(
            KeyEvent.CHANGED, http, customer=key.owner, target=str(key.pk), label=key.label, changes=codes
        )
    return True
