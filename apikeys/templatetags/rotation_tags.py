"""Template tags: a key's credentials, and the example programs for its first request."""

from dataclasses import dataclass
from typing import Any, Literal

from django import template
from django.conf import settings
from django.urls import reverse

from apikeys.actions import rotation
from apikeys.models import ApiKey, Credential
from apikeys.pages import first_use
from apikeys.policy import public_keys
from apikeys.verification.signature_check import MAX_LIVE_CREDENTIALS
from apikeys.verification.signing import Kind

register = template.Library()


@register.filter
def fingerprint(credential: Credential) -> str:
    """Return the fingerprint of a public key; "" for a secret."""
    return public_keys.fingerprint(credential.public_key) if credential.public_key else ""


@dataclass(frozen=True)
class CredentialLine:
    """A live credential. ``in_use``: it signed the last request; ``is_new``: it replaces the other one."""

    credential: Credential
    in_use: bool
    is_new: bool


@register.simple_tag
def key_credentials(key: ApiKey) -> dict[str, Any]:
    """Return ``lines``, oldest first, and ``can_rotate``: whether another credential may be added."""
    live = rotation.live_credentials(key)
    used = [credential for credential in live if credential.last_used_at is not None]
    # Times are written once a minute: of two credentials with nearly the same time, take the newer one.
    latest = max(used, key=lambda credential: (credential.last_used_at, credential.pk), default=None)
    lines = [
        CredentialLine(credential, credential == latest, len(live) > 1 and credential == live[-1])
        for credential in live
    ]
    return {"lines": lines, "can_rotate": len(live) < MAX_LIVE_CREDENTIALS}


@register.simple_tag
def first_steps(key: ApiKey, rotated: Credential | Literal[""] = "") -> dict[str, Any]:
    """Return ``credential`` (the newest), ``snippets`` for its kind, and ``state`` and ``url`` of the first request.

    ``rotated``: the new credential on its own page. Returns {} if there is no live credential.
    """
    live = [rotated] if rotated else rotation.live_credentials(key)
    if not live:
        return {}
    credential = live[-1]
    page, names = (
        ("key_credential_first_use", [key.pk, credential.serial]) if rotated else ("key_first_use", [key.pk])
    )
    return {
        "credential": credential,
        "snippets": first_use.snippets(key, Kind(credential.kind), settings.BASE_URL),
        "state": first_use.state(key, rotated or None),
        "url": reverse(page, args=names),
    }
