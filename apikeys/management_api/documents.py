"""What the management API says of a user, of a key, and of a request for a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet

from accounts.models import User
from apikeys.models import ApiKey, KeyRequest
from apikeys.policy.choices import Permission
from hitobit_portal.i18n.jalali import masked_phone


def customers() -> QuerySet[User]:
    """Return the accounts that the API knows.

    SECURITY: not those of staff: a stolen token must not stop the people who would revoke it.
    """
    people = User.objects.filter(is_staff=False, is_superuser=False).exclude(joined_at=None)
    return people.select_related("totp", "sms")


def keys() -> QuerySet[ApiKey]:
    return (
        ApiKey.objects.filter(owner__is_staff=False, owner__is_superuser=False)
        .select_related("owner")
        .prefetch_related("networks")
    )


def user_document(user: User) -> dict[str, Any]:
    """SECURITY: the phone is masked: a stolen token is no list of all customers' numbers."""
    return {
        "id": user.pk,
        "external_id": user.external_id,
        "phone": masked_phone(user.phone),
        "name": user.name,
        "language": user.language,
        "is_active": user.is_active,
        "has_both_factors": user.has_both_factors,
        "created_at": iso(user.created_at),
        "frozen_at": iso(user.frozen_at),
        "quarantined_until": iso(user.quarantined_until),
    }


def key_document(key: ApiKey) -> dict[str, Any]:
    return {
        "id": str(key.pk),
        "api_key": key.key_id,
        "user": key.owner_id,
        "external_id": key.owner.external_id,
        "name": key.label,
        "state": key.state,
        "permissions": [value for value in Permission.values if value in key.permissions],
        "ip_policy": key.ip_policy,
        "networks": sorted(network.value for network in key.networks.all()),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "trade_until": iso(key.trade_until),
        "revoked_at": iso(key.revoked_at),
    }


def key_request_document(request: KeyRequest) -> dict[str, Any]:
    """SECURITY: of the key that came of it only the id: its API key and its secret are the customer's."""
    settings = request.settings.as_json()
    return {
        "id": request.pk,
        "user": request.owner_id,
        "external_id": request.owner.external_id,
        "state": request.current_state.value,
        "requested_by": request.requested_by,
        "requested_at": iso(request.requested_at),
        "waits_until": iso(request.waits_until),
        "closed_at": iso(request.closed_at),
        "name": request.label,
        "permissions": settings["permissions"],
        "ip_policy": settings["ip_policy"],
        "networks": settings["networks"],
        "expires_at": iso(request.expires_at),
        "key": str(request.key_id) if request.key_id else None,
    }


def iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else None
