"""How healthy a key is: eight checks, each with the one thing to do about it. Pure over a key and its counts.

The key's `credentials` are read, and its owner is not: whoever judges many keys prefetches them.
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
from apikeys.usage.clock_skew import Clock
from hitobit_portal.i18n.jalali import digits

UNUSED = timedelta(days=90)
POWER_DAYS = 30
REFUSED_DAYS = 7
#: Fewer requests than these tell nothing: one of ten is 10 %.
ENOUGH_REQUESTS = 50
MOST_REFUSED_PERCENT = 2
EXPIRES_SOON = timedelta(days=14)
#: Half a year: long enough to forget on which computers a secret lies.
OLD_SECRET = timedelta(days=180)


class Name(enum.Enum):
    """The checks, the gravest first."""

    UNRESTRICTED = "unrestricted"
    POWER = "power"
    UNUSED = "unused"
    EXPIRING = "expiring"
    SKEW = "skew"
    REFUSED = "refused"
    NEVER_EXPIRES = "never_expires"
    OLD_SECRET = "old_secret"  # nosec B105


@dataclass(frozen=True)
class Counts:
    """``used``: permissions of which a request passed within POWER_DAYS; the rest: requests within REFUSED_DAYS."""

    used: frozenset[str] = frozenset()
    allowed: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Check:
    """``place``: an anchor of the key's page ("#ip"), or the name of a page of this key; "" for what a button does.

    ``drop``: permissions that a button takes away at once.
    """

    name: Name
    passed: bool
    text: str
    label: str = ""
    place: str = ""
    drop: tuple[str, ...] = ()


def checks(key: ApiKey, counts: Counts, now: datetime) -> list[Check]:
    """All eight, in the order of `Name`."""
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


def unused_permissions(key: ApiKey, counts: Counts, now: datetime) -> tuple[str, ...]:
    """What the key may do and did not in POWER_DAYS; never all of it. Nothing while the key is younger than that."""
    if key.created_at > now - timedelta(days=POWER_DAYS):
        return ()
    kept = (key.permissions & counts.used) or {min(key.permissions, key=list(Permission.values).index)}
    return tuple(value for value in Permission.values if value in key.permissions - kept)


def _restricted(key: ApiKey) -> Check:
    if key.ip_policy == IpPolicy.TRUSTED:
        return Check(Name.UNRESTRICTED, True, _("Restricted to trusted IPs"))
    return Check(Name.UNRESTRICTED, False, _("Works from any IP"), _("Restrict"), "#ip")


def _power(key: ApiKey, counts: Counts, now: datetime) -> Check:
    unused = unused_permissions(key, counts, now)
    if not unused:
        return Check(Name.POWER, True, _("No permission lies unused"))
    labels: Iterable[str] = (str(Permission(value).label) for value in unused)
    words = {"permissions": pgettext("list separator", ", ").join(labels), "n": digits(POWER_DAYS)}
    text = _("Not used in %(n)s days: %(permissions)s") % words
    return Check(Name.POWER, False, text, _("Take away"), drop=unused)


def _used(key: ApiKey, now: datetime) -> Check:
    if (key.last_used_at or key.created_at) > now - UNUSED:
        return Check(Name.UNUSED, True, _("In use, or new"))
    text = _("Not used for %(n)s days") % {"n": digits(UNUSED.days)}
    return Check(Name.UNUSED, False, text, _("Delete"), "key_delete")


def _expiring(key: ApiKey, now: datetime) -> Check:
    if key.expires_at is None or key.expires_at > now + EXPIRES_SOON:
        return Check(Name.EXPIRING, True, _("Does not expire soon"))
    text = _("Expires soon") if key.expires_at > now else _("Has expired")
    return Check(Name.EXPIRING, False, text, _("Move the expiry"), "#expires")


def _clock(key: ApiKey) -> Check:
    found = clock_skew.judge(key.skew_ms)
    if found in (Clock.RIGHT, Clock.UNKNOWN):
        return Check(Name.SKEW, True, _("The clock is right, or was not measured yet"))
    text = _("The program's clock is fast") if found is Clock.FAST else _("The program's clock is slow")
    return Check(Name.SKEW, False, text, _("Set the clock"), "#clock")


def _refused(counts: Counts) -> Check:
    total = counts.allowed + counts.refused
    words = {"n": digits(MOST_REFUSED_PERCENT)}
    if total < ENOUGH_REQUESTS or counts.refused * 100 <= total * MOST_REFUSED_PERCENT:
        return Check(Name.REFUSED, True, _("Few requests are refused"))
    text = _("More than %(n)s percent refused in a week") % words
    return Check(Name.REFUSED, False, text, _("See why"), "#refusals")


def _expires(key: ApiKey) -> Check:
    if key.expires_at is not None:
        return Check(Name.NEVER_EXPIRES, True, _("Has an expiry"))
    return Check(Name.NEVER_EXPIRES, False, _("Never expires"), _("Set an expiry"), "#expires")


def _secret(key: ApiKey, now: datetime) -> Check:
    newest = max((credential.created_at for credential in key.credentials.all()), default=key.created_at)
    if newest > now - OLD_SECRET:
        return Check(Name.OLD_SECRET, True, _("What it signs with is fresh"))
    text = _("What it signs with is more than %(n)s days old") % {"n": digits(OLD_SECRET.days)}
    return Check(Name.OLD_SECRET, False, text, _("Rotate"), "key_rotate")
