"""What the pages show of keys beside their fields: credentials, first steps, health, waiting addresses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from apikeys.actions import rotation
from apikeys.models import ApiKey, Credential
from apikeys.pages import first_use
from apikeys.policy.choices import IpPolicy, KeyState
from apikeys.usage import key_health, queries, rejection_texts
from apikeys.usage.key_health import HealthCheck, RequestCounts
from apikeys.verification.signature_check import MAX_LIVE_CREDENTIALS
from apikeys.verification.signing import Kind

#: Deleted keys that the list shows. Their pages stay for good.
MAX_DELETED = 100
#: Networks that the overview of a key names.
OVERVIEW_NETWORKS = 4


@dataclass(frozen=True)
class CredentialLine:
    """A live credential; ``in_use``: it signed the last request; ``is_new``: it replaces the other one."""

    credential: Credential
    in_use: bool
    is_new: bool


def credentials(key: ApiKey) -> dict[str, Any]:
    """``lines``, oldest first, and ``can_rotate``: whether there is room for another one."""
    live = rotation.live_credentials(key)
    used = [credential for credential in live if credential.last_used_at is not None]
    # Times are written once a minute: of two with nearly the same the newer one is what programs move to.
    latest = max(used, key=lambda credential: (credential.last_used_at, credential.pk), default=None)
    lines = [
        CredentialLine(credential, credential == latest, len(live) > 1 and credential == live[-1])
        for credential in live
    ]
    return {"lines": lines, "can_rotate": len(live) < MAX_LIVE_CREDENTIALS}


def kinds(key: ApiKey) -> list[str]:
    """Return the kinds of the live credentials; if there are none, the kind of the last one."""
    made = sorted(key.credentials.all(), key=lambda credential: credential.pk)
    live = [credential for credential in made if credential.is_live()] or made[-1:]
    return list(dict.fromkeys(credential.get_kind_display() for credential in live))


def shown_networks(key: ApiKey) -> dict[str, Any]:
    """The first ``listed`` networks of the allow-list, and how many ``more`` there are."""
    values = [network.value for network in key.networks.all()] if key.ip_policy == IpPolicy.TRUSTED else []
    return {"listed": values[:OVERVIEW_NETWORKS], "more": len(values[OVERVIEW_NETWORKS:])}


def first_steps(key: ApiKey, rotated: Credential | None = None) -> dict[str, Any]:
    """``credential`` (the newest), ``snippets`` for its kind, ``state`` and ``url`` of the waiting line.

    ``rotated``: the new credential on its own page, whose first use is waited for instead of the key's. {}: none signs.
    """
    live = [rotated] if rotated else [one for one in key.credentials.all() if one.is_live()]
    if not live:
        return {}
    credential = max(live, key=lambda one: one.pk)
    page, names = (
        ("key_credential_first_use", [key.pk, credential.serial]) if rotated else ("key_first_use", [key.pk])
    )
    return {
        "credential": credential,
        "snippets": first_use.snippets(key, Kind(credential.kind), settings.BASE_URL),
        "state": first_use.state(key, rotated),
        "url": reverse(page, args=names),
    }


@dataclass(frozen=True)
class Fix:
    """A check that failed."""

    key: ApiKey
    check: HealthCheck

    @cached_property
    def url(self) -> str:
        """Where the button leads, "" for none. A paused key's settings can't be changed: it has fewer of them."""
        key, check = self.key, self.check
        if check.drop:
            is_active = key.state == KeyState.ACTIVE
            return rejection_texts.page_url("key_drop_permissions", key.pk) if is_active else ""
        if key.state != KeyState.ACTIVE and check.place.startswith("key_settings"):
            return ""
        return rejection_texts.page_url(check.place, key.pk)


@dataclass(frozen=True)
class Health:
    key: ApiKey
    counts: RequestCounts
    fixes: list[Fix]
    passed: list[HealthCheck]

    @property
    def petals(self) -> int:
        return len(self.passed)

    @property
    def tone(self) -> str:
        """Green when all is well, the house's colour for a little less, a warning below; none while nothing works."""
        if self.key.shown_state in ("account_frozen", "frozen", "expired"):
            return "none"
        return "ok" if not self.fixes else "brand" if len(self.fixes) <= 2 else "warn"

    @property
    def worst(self) -> Fix | None:
        return self.fixes[0] if self.fixes else None


def health(key: ApiKey, counts: RequestCounts) -> Health:
    """The health of one key."""
    checks = key_health.checks(key, counts, timezone.now())
    fixes = [Fix(key, check) for check in checks if not check.passed]
    return Health(key, counts, fixes, [check for check in checks if check.passed])


def healths(keys: list[ApiKey]) -> list[Health]:
    """The health of each of ``keys`` (`ApiKeyManager.listed`), in the same order."""
    counts = queries.counts_of(keys)
    return [health(key, counts[key.pk]) for key in keys]


def deleted_keys(user: User) -> Sequence[Mapping[str, object]]:
    """What the list shows of the customer's deleted keys, the last 100, newest first. Their pages stay for good."""
    deleted = ApiKey.objects.filter(owner=user, state=KeyState.REVOKED).order_by("-revoked_at")
    return list(deleted.values("pk", "label", "key_id", "revoked_at")[:MAX_DELETED])
