"""Check the health of a key: eight checks, each with one action that fixes it. Pure over a key and its counts.

The checks do not read the key's owner. Callers that check many keys load them by `ApiKeyManager.listed`.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from apikeys.models import ApiKey
from apikeys.policy.choices import IpPolicy, Permission
from apikeys.usage import clock_skew
from apikeys.usage.clock_skew import ClockState
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import digits

UNUSED = timedelta(days=90)
POWER_DAYS = 30
REJECTION_DAYS = 7
#: Minimum number of requests for a rejection rate: one of ten would be 10 %.
ENOUGH_REQUESTS = 50
MAX_REJECTED_PERCENT = 2
EXPIRES_SOON = timedelta(days=14)
#: After half a year an owner may have forgotten which computers have a copy of the secret.
OLD_SECRET = timedelta(days=180)


class CheckName(enum.Enum):
    """The checks, most severe first."""

    UNRESTRICTED = "unrestricted"
    POWER = "power"
    UNUSED = "unused"
    EXPIRING = "expiring"
    SKEW = "skew"
    REFUSED = "refused"
    NEVER_EXPIRES = "never_expires"
    OLD_SECRET = "old_secret"  # nosec B105


@dataclass(frozen=True)
class RequestCounts:
    """Counts of a key's requests.

    Attributes:
        used: permissions of requests that were allowed within POWER_DAYS.
        allowed: number of allowed requests within REJECTION_DAYS.
        refused: number of rejected requests within REJECTION_DAYS.
        today, yesterday: numbers of all requests of these days in Tehran.
        month_allowed, month_refused: the same as ``allowed`` and ``refused``, within POWER_DAYS.
    """

    used: frozenset[str] = frozenset()
    allowed: int = 0
    refused: int = 0
    today: int = 0
    yesterday: int = 0
    month_allowed: int = 0
    month_refused: int = 0


@dataclass(frozen=True)
class HealthCheck:
    """The result of one check.

    Attributes:
        label: text of the link or button that fixes the problem.
        place: the URL name of a page of this key, with or without an anchor ("key_settings#ip"); "" for a button.
        drop: permissions that the button removes.
    """

    name: CheckName
    passed: bool
    text: str
    label: str = ""
    place: str = ""
    drop: tuple[str, ...] = ()


def checks(key: ApiKey, counts: RequestCounts, now: datetime) -> list[HealthCheck]:
    """Return the results of all eight checks, in the order of `CheckName`."""
    return [
        _restricted(key),
        _power(key, counts, now),
        _used(key, now),
        _expiring(key, now),
        _clock(key),
        _refused(counts),
        _expires(key),
        _secret(key, now),
    ]


def unused_permissions(key: ApiKey, counts: RequestCounts, now: datetime) -> tuple[str, ...]:
    """Return permissions not used within POWER_DAYS; never all permissions, and none for a key that is younger."""
    if key.created_at > now - timedelta(days=POWER_DAYS):
        return ()
    kept = (key.permissions & counts.used) or {min(key.permissions, key=list(Permission.values).index)}
    return tuple(value for value in Permission.values if value in key.permissions - kept)


def _restricted(key: ApiKey) -> HealthCheck:
    if key.ip_policy == IpPolicy.TRUSTED:
        return HealthCheck(CheckName.UNRESTRICTED, True, _("Restricted to trusted IPs"))
    return HealthCheck(
        CheckName.UNRESTRICTED, False, _("Works from any IP"), _("Restrict"), "key_settings#ip"
    )


def _power(key: ApiKey, counts: RequestCounts, now: datetime) -> HealthCheck:
    unused = unused_permissions(key, counts, now)
    if not unused:
        return HealthCheck(CheckName.POWER, True, _("No unused permissions"))
    labels: Iterable[str] = (str(Permission(value).label) for value in unused)
    listed = pgettext("list separator", ", ").join(labels)
    text = fill(_("Not used in %(n)s days: %(permissions)s"), n=digits(POWER_DAYS), permissions=listed)
    return HealthCheck(CheckName.POWER, False, text, _("Remove them"), drop=unused)


def _used(key: ApiKey, now: datetime) -> HealthCheck:
    if (key.last_used_at or key.created_at) > now - UNUSED:
        return HealthCheck(CheckName.UNUSED, True, _("In use, or new"))
    text = fill(_("Not used for %(n)s days"), n=digits(UNUSED.days))
    return HealthCheck(CheckName.UNUSED, False, text, _("Delete"), "key_delete")


def _expiring(key: ApiKey, now: datetime) -> HealthCheck:
    if key.expires_at is None or key.expires_at > now + EXPIRES_SOON:
        return HealthCheck(CheckName.EXPIRING, True, _("Does not expire soon"))
    text = _("Expires soon") if key.expires_at > now else _("Has expired")
    return HealthCheck(CheckName.EXPIRING, False, text, _("Change the expiry"), "key_settings#expires")


def _clock(key: ApiKey) -> HealthCheck:
    state = clock_skew.clock_state(key.skew_ms)
    if state in (ClockState.RIGHT, ClockState.UNKNOWN):
        return HealthCheck(CheckName.SKEW, True, _("The clock is right, or not measured yet"))
    text = _("The program's clock is fast") if state is ClockState.FAST else _("The program's clock is slow")
    return HealthCheck(CheckName.SKEW, False, text, _("Set the clock"), "key_usage#clock")


def _refused(counts: RequestCounts) -> HealthCheck:
    total = counts.allowed + counts.refused
    if total < ENOUGH_REQUESTS or counts.refused * 100 <= total * MAX_REJECTED_PERCENT:
        return HealthCheck(CheckName.REFUSED, True, _("Few requests are refused"))
    text = fill(_("More than %(n)s percent refused in a week"), n=digits(MAX_REJECTED_PERCENT))
    return HealthCheck(CheckName.REFUSED, False, text, _("See why"), "key_usage#refusals")


def _expires(key: ApiKey) -> HealthCheck:
    if key.expires_at is not None:
        return HealthCheck(CheckName.NEVER_EXPIRES, True, _("Has an expiry"))
    return HealthCheck(
        CheckName.NEVER_EXPIRES, False, _("Never expires"), _("Set an expiry"), "key_settings#expires"
    )


def _secret(key: ApiKey, now: datetime) -> HealthCheck:
    if _newest_credential_at(key) > now - OLD_SECRET:
        return HealthCheck(CheckName.OLD_SECRET, True, _("The credential is recent"))
    text = fill(_("The credential is more than %(n)s days old"), n=digits(OLD_SECRET.days))
    return HealthCheck(CheckName.OLD_SECRET, False, text, _("Rotate"), "key_rotate")


def _newest_credential_at(key: ApiKey) -> datetime:
    newest: datetime | None = getattr(key, "newest_credential_at", None)  # by `ApiKeyManager.listed`
    return newest or max(
        (credential.created_at for credential in key.credentials.all()), default=key.created_at
    )
