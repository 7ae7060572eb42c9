"""Texts for the details of key events: the changes of a key's settings."""

from collections.abc import Sequence
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.audit import detail_texts
from apikeys.policy.events import KeyEvent
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.bidi import fill, isolated, verbatim
from hitobit_portal.i18n.jalali import date_local, digits


def change_text(code: str) -> str:
    """Return the text of one change code: ``"+trade"``, ``"-read"``, ``"ip:trusted"``, ``"trade:lasting"``,
    ``"+203.0.113.0/24"``, ``"expires:a>b"``."""
    if code.startswith("ip:"):
        return (
            _("Remove the IP restriction: the key works from any IP")
            if code == "ip:unrestricted"
            else _("Restrict the key to trusted IPs")
        )
    if code == "trade:lasting":
        return _("Trade without an end, instead of 90 days at a time")
    if code.startswith("expires:"):
        return _expiry_change(*_expiry_of(code))
    if code.startswith("rescue:"):
        return _("Ask about new IPs") if code == "rescue:on" else _("Stop asking about new IPs")
    sign, value = code[:1], code[1:]
    names = permission_names()
    if value in names:
        text = _("Add the permission “%(what)s”") if sign == "+" else _("Remove the permission “%(what)s”")
        return fill(text, what=names[value])
    address = value if detail_texts.is_network(value) else free_text.plain(value)
    # A no-break space: the address stays with its word.
    text = _("Add IP\u00a0%(address)s") if sign == "+" else _("Remove IP\u00a0%(address)s")
    return fill(text, address=address)


def removes_protection(code: str) -> bool:
    """Return whether a change takes away what limits the damage of a stolen key: its IPs, its end."""
    if code.startswith("expires:"):
        before, after = _expiry_of(code)
        return bool(before) and (not after or datetime.fromisoformat(after) > datetime.fromisoformat(before))
    return code == "ip:unrestricted"


def permission_names() -> dict[str, str]:
    return {"read": _("Read"), "trade": _("Trade"), "withdraw": _("Withdraw")}


def _expiry_of(code: str) -> tuple[str, str]:
    before, _arrow, after = code.removeprefix("expires:").partition(">")
    return before, after


def _expiry_change(before: str, after: str) -> str:
    if not after:
        return fill(_("Remove the expiry, which was %(before)s"), before=expiry_text(before))
    if not before:
        return fill(_("Set the expiry to %(after)s"), after=expiry_text(after))
    text = _("Change the expiry from %(before)s to %(after)s")
    return fill(text, before=expiry_text(before), after=expiry_text(after))


def kept_networks_text(values: Sequence[str], *, short: bool) -> str:
    """Return the text of the networks that a key already has. ``short``: only their number, if more than three."""
    if short and len(values) > 3:
        # SECURITY: not the first three of them: an attacker would place an address of their own after these.
        return fill(
            _("It works from %(n)s IPs, listed on the page that asks for this code"), n=digits(len(values))
        )
    networks = pgettext("list separator", ", ").join(isolated(value) for value in values)
    return fill(_("It works from %(networks)s"), networks=verbatim(networks))


def expiry_text(iso: str) -> str:
    return date_local(datetime.fromisoformat(iso)) if iso else pgettext("expiry", "Never")


def register() -> None:
    """Register the texts with `accounts.audit.detail_texts`. Called by `ApiKeysConfig.ready()`."""
    detail_texts.CHANGES.register(dict.fromkeys(KeyEvent, change_text))
    detail_texts.WARNINGS.register(dict.fromkeys(KeyEvent, removes_protection))
