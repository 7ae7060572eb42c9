"""Explain to staff why all or some requests of a key are rejected now, independent of the request."""

from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _

from apikeys.models import ApiKey
from apikeys.policy.choices import IpPolicy, KeyState
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import date_local


@dataclass(frozen=True)
class BlockingReason:
    """``tone``: "danger" if all requests are rejected, "warn" if some are."""

    text: str
    tone: str = "danger"


def reasons(key: ApiKey) -> list[BlockingReason]:
    """Return all reasons for rejections, those that reject most first; [] if there are none."""
    return [*_of_account(key), *_of_key(key)]


def _of_account(key: ApiKey) -> list[BlockingReason]:
    owner, reasons = key.owner, []
    if not owner.is_active:
        reasons.append(BlockingReason(_("The account is closed: every request is refused.")))
    if owner.frozen_at is not None:
        when = date_local(owner.frozen_at)
        reasons.append(
            BlockingReason(
                fill(_("The account has been frozen since %(when)s: every request is refused."), when=when)
            )
        )
    if owner.in_quarantine:
        until = date_local(owner.quarantined_until)
        text = fill(
            _("The account's keys are in quarantine until %(until)s: they are read-only."), until=until
        )
        reasons.append(BlockingReason(text, "warn"))
    return reasons


def _of_key(key: ApiKey) -> list[BlockingReason]:
    reasons = []
    if key.state == KeyState.REVOKED:
        when = date_local(key.revoked_at)
        reasons.append(BlockingReason(fill(_("The key was deleted on %(when)s, for good."), when=when)))
    elif key.state == KeyState.FROZEN:
        reasons.append(BlockingReason(_("The key is paused: every request is refused until it is resumed.")))
    if key.expires_at is not None and key.expires_at <= timezone.now():
        when = date_local(key.expires_at)
        if timezone.now() < key.reads_until:
            reasons.append(
                BlockingReason(fill(_("The key expired on %(when)s and is read-only."), when=when), "warn")
            )
        else:
            reasons.append(
                BlockingReason(fill(_("The key expired on %(when)s: every request is refused."), when=when))
            )
    if key.trade_has_ended:
        when = date_local(key.trade_until)
        reasons.append(
            BlockingReason(
                fill(_("Trading from any IP ended on %(when)s; it was not renewed."), when=when), "warn"
            )
        )
    if key.ip_policy == IpPolicy.TRUSTED:
        text = _("Only requests from the listed IPs are allowed.")
        reasons.append(BlockingReason(text, "info"))
    return reasons
