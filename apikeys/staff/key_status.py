"""Why a key is refused now, whatever the request: the answer that support gives first."""

from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _

from apikeys.models import ApiKey
from apikeys.policy.choices import IpPolicy, KeyState
from hitobit_portal.i18n.jalali import date_local


@dataclass(frozen=True)
class Reason:
    """``tone``: "danger" when every request is refused, "warn" when some are."""

    text: str
    tone: str = "danger"


def reasons(key: ApiKey) -> list[Reason]:
    """All that stands in the way of requests, what stops most first; [] when nothing does."""
    return [*_of_account(key), *_of_key(key)]


def _of_account(key: ApiKey) -> list[Reason]:
    owner, found = key.owner, []
    if not owner.is_active:
        found.append(Reason(_("The account is closed: every request is refused.")))
    if owner.frozen_at is not None:
        when = date_local(owner.frozen_at)
        found.append(
            Reason(_("The account is frozen since %(when)s: every request is refused.") % {"when": when})
        )
    if owner.in_quarantine:
        until = date_local(owner.quarantined_until)
        text = _("The account's keys are in quarantine until %(until)s: they only read.") % {"until": until}
        found.append(Reason(text, "warn"))
    return found


def _of_key(key: ApiKey) -> list[Reason]:
    found = []
    if key.state == KeyState.REVOKED:
        when = date_local(key.revoked_at)
        found.append(Reason(_("The key was deleted on %(when)s, for good.") % {"when": when}))
    elif key.state == KeyState.FROZEN:
        found.append(Reason(_("The key is paused: every request is refused until it is resumed.")))
    if key.expires_at is not None and key.expires_at <= timezone.now():
        when = date_local(key.expires_at)
        if timezone.now() < key.reads_until:
            found.append(Reason(_("The key expired on %(when)s and only reads.") % {"when": when}, "warn"))
        else:
            found.append(Reason(_("The key expired on %(when)s: every request is refused.") % {"when": when}))
    if key.trade_has_ended:
        when = date_local(key.trade_until)
        found.append(
            Reason(_("Trading from any IP ended on %(when)s; it was not renewed.") % {"when": when}, "warn")
        )
    if key.ip_policy == IpPolicy.TRUSTED:
        text = _("Only requests from the listed IPs pass.")
        found.append(Reason(text, "info"))
    return found
