"""What about a key its owner should look at first: how grave it is, since or until when, and what to do about it.

The list and the dashboard order keys by it. Pure over keys whose owner is loaded, and over their health.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apikeys.models import ApiKey
from apikeys.pages.presenters import Health
from apikeys.policy import names
from apikeys.policy.choices import KeyState
from apikeys.usage import rejection_texts
from hitobit_portal.i18n.bidi import fill
from hitobit_portal.i18n.jalali import digits

ENDS_SOON = timedelta(days=7)
#: A key that fails this many checks of its health needs attention for them alone.
MANY_FAULTS = 3


class Gravity(enum.IntEnum):
    """The gravest first."""

    STOPPED = 0
    REDUCED = 1
    ENDS_SOON = 2
    UNSAVED = 3
    WEAK = 4
    MINOR = 5
    NONE = 6


@dataclass(frozen=True)
class Attention:
    """``order``: seconds; of two keys that are equally grave the smaller one comes first. ``label`` and
    ``place`` (the URL name of a page of the key, with or without an anchor): of the button, "" for none."""

    gravity: Gravity
    order: float
    text: str
    label: str = ""
    place: str = ""

    @property
    def is_needed(self) -> bool:
        return self.gravity <= Gravity.WEAK

    @property
    def tone(self) -> str:
        return "danger" if self.gravity is Gravity.STOPPED else "warn"


@dataclass(frozen=True)
class KeyRow:
    """A key as a list shows it."""

    key: ApiKey
    health: Health
    attention: Attention
    state: str

    @cached_property
    def button_url(self) -> str:
        """Where the attention's button leads, "" for none."""
        place = self.attention.place
        return rejection_texts.page_url(place, self.key.pk) if place else ""

    @property
    def works(self) -> bool:
        """Whether everything works that the settings allow."""
        return self.state == "active"

    @property
    def is_unsaved(self) -> bool:
        """Whether the first settings were never saved, so that the key reads from any IP."""
        return self.attention.gravity is Gravity.UNSAVED

    @property
    def is_short_lived(self) -> bool:
        return self.attention.gravity is Gravity.ENDS_SOON


def rows(healths: Iterable[Health]) -> list[KeyRow]:
    now = timezone.now()
    result = []
    for health in healths:
        state = health.key.shown_state
        result.append(KeyRow(health.key, health, _attention(health, state, now), state))
    return result


def by_gravity(listed: Iterable[KeyRow]) -> list[KeyRow]:
    return sorted(listed, key=lambda row: (row.attention.gravity, row.attention.order))


def _attention(health: Health, state: str, now: datetime) -> Attention:
    key = health.key
    if state in ("expired", "degraded") and key.expires_at is not None:
        gravity = Gravity.STOPPED if state == "expired" else Gravity.REDUCED
        place = "key_settings#expires"
        text = _("Expired") if state == "expired" else _("Expired, read-only")
        # What ended last is what somebody is looking for.
        return Attention(gravity, (now - key.expires_at).total_seconds(), text, _("Change the expiry"), place)
    if state == "lapsed" and key.trade_until is not None:
        place = "key_renew"
        order = (now - key.trade_until).total_seconds()
        # The renewal of ended trading begins with an SMS, which its own page sends.
        return Attention(Gravity.REDUCED, order, _("Trading ended"), _("Renew for 90 days"), place)
    if state == "active":
        return _running(health, now)
    return Attention(Gravity.NONE, 0, "")


def _running(health: Health, now: datetime) -> Attention:
    key = health.key
    trade_ends = key.trade_until if key.can_trade else None
    if _is_near(key.expires_at, now) and not (trade_ends and key.expires_at and trade_ends < key.expires_at):
        place = "key_settings#expires"
        return _ending(key.expires_at, now, _expires_in(key.expires_at, now), _("Change the expiry"), place)
    if _is_near(trade_ends, now):
        place = "key_renew"
        return _ending(trade_ends, now, _trading_ends_in(trade_ends, now), _("Renew for 90 days"), place)
    if key.first_settings_at is None:
        place = "key_settings"
        return Attention(
            Gravity.UNSAVED,
            (now - key.created_at).total_seconds(),
            _("Settings not saved: read-only, from any IP"),
            _("Choose the settings"),
            place,
        )
    worst = health.worst
    if worst is None:
        return Attention(Gravity.NONE, 0, _("All checks passed"))
    gravity = Gravity.WEAK if len(health.fixes) >= MANY_FAULTS else Gravity.MINOR
    return Attention(gravity, health.petals, worst.check.text)


def _is_near(end: datetime | None, now: datetime) -> bool:
    return end is not None and now <= end <= now + ENDS_SOON


def _ending(end: datetime | None, now: datetime, text: str, label: str, place: str) -> Attention:
    return Attention(Gravity.ENDS_SOON, (end - now).total_seconds() if end else 0, text, label, place)


def _expires_in(end: datetime | None, now: datetime) -> str:
    days = (end - now).days if end else 0
    if not days:
        return _("Expires within a day")
    return fill(ngettext("Expires in %(n)s day", "Expires in %(n)s days", days), n=digits(days))


def _trading_ends_in(end: datetime | None, now: datetime) -> str:
    days = (end - now).days if end else 0
    if not days:
        return _("Trading ends within a day")
    return fill(ngettext("Trading ends in %(n)s day", "Trading ends in %(n)s days", days), n=digits(days))


FILTERS = ("all", "attention", "paused", "expired")


def filtered(listed: Sequence[KeyRow], which: str) -> list[KeyRow]:
    """Return the rows of one of FILTERS."""
    if which == "attention":
        return [row for row in listed if row.attention.is_needed]
    if which == "paused":
        return [row for row in listed if row.key.state == KeyState.FROZEN]
    if which == "expired":
        return [row for row in listed if row.state in ("expired", "degraded")]
    return list(listed)


def matching(listed: Iterable[KeyRow], text: str) -> list[KeyRow]:
    """Return the rows whose name or API key contains ``text``; invisible differences and case are ignored."""
    wanted = names.fold(names.tidy(text))
    return [row for row in listed if wanted in row.key.label_folded or text.strip() in row.key.key_id]


SORTS = ("newest", "gravity", "name", "used", "expiry")


def ordered(listed: Iterable[KeyRow], by: str) -> list[KeyRow]:
    """Return the rows, newest first as given, in one of SORTS."""
    if by == "gravity":
        return by_gravity(listed)
    if by == "name":
        return sorted(listed, key=lambda row: row.key.label_folded)
    if by == "used":
        used = sorted(listed, key=lambda row: row.key.last_used_at or row.key.created_at, reverse=True)
        return sorted(used, key=lambda row: row.key.last_used_at is None)
    if by == "expiry":
        return sorted(
            listed, key=lambda row: (row.key.expires_at is None, row.key.expires_at or row.key.created_at)
        )
    return list(listed)
