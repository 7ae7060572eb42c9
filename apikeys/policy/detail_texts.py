"""Texts for the details of key events: the changes of a key's settings."""

from collections.abc import Sequence
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.audit import detail_texts
from apikeys.policy.events import KeyEvent
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.jalali import date_local, digits


def change_text(code: str) -> str:
    """Return the text of one change code: ``"+trade"``, ``"-read"``, ``"ip:trusted"``, ``"trade:lasting"``,
    ``"+203.0.113.0/24"``, ``"expires:a>b"``."""
    names = {"read": _("Read"), "trade": _("Trade"), "withdraw": _("Withdraw")}
    if code.startswith("ip:"):
        return (
            _("IP: trusted → unrestricted") if code == "ip:unrestricted" else _("IP: unrestricted → trusted")
        )
    if code == "trade:lasting":
        return _("Trading: 90 days at a time → no end")
    if code.startswith("expires:"):
        before, _arrow, after = code.removeprefix("expires:").partition(">")
        return _("Expiry: %(before)s → %(after)s") % {"before": _expiry(before), "after": _expiry(after)}
    if code.startswith("rescue:"):
        return _("New IPs ask: off → on") if code == "rescue:on" else _("New IPs ask: on → off")
    sign, value = code[:1], code[1:]
    if value in names:
        return (_("%(what)s: off → on") if sign == "+" else _("%(what)s: on → off")) % {"what": names[value]}
    return detail_texts.isolated(
        f"{sign} {value if detail_texts.is_network(value) else free_text.plain(value)}"
    )


def kept_networks_text(values: Sequence[str], *, short: bool) -> str:
    """Return the text of the networks that a key already has. ``short``: only their number, if more than three."""
    if short and len(values) > 3:
        # SECURITY: not the first three of them: an attacker would place an address of their own after these.
        return _("It works from %(n)s IPs, listed on the page that asks for this code") % {
            "n": digits(len(values))
        }
    networks = pgettext("list separator", ", ").join(detail_texts.isolated(value) for value in values)
    return _("It works from %(networks)s") % {"networks": networks}


def _expiry(iso: str) -> str:
    return date_local(datetime.fromisoformat(iso)) if iso else pgettext("expiry", "Never")


def register() -> None:
    """Register the texts with `accounts.audit.detail_texts`. Called by `ApiKeysConfig.ready()`."""
    detail_texts.CHANGES.register(dict.fromkeys(KeyEvent, change_text))
