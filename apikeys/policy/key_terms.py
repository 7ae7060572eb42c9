"""What a key could do, in plain words, for a customer who has not seen its settings before. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.choices.approvals import Change
from apikeys.policy.detail_texts import expiry_text, kept_networks_text, permission_names
from apikeys.policy.settings_change import ORDER, Settings
from hitobit_portal.i18n.bidi import fill, isolated


@dataclass(frozen=True)
class Term:
    """One part of what a key could do. ``lines``: a line each; ``is_address``: they run left to right.

    ``warning``: what the customer risks by it, "" for nothing special.
    """

    name: str
    lines: Sequence[str]
    is_address: bool = False
    warning: str = ""


def terms(settings: Settings) -> list[Term]:
    """Return all that a key with ``settings`` could do."""
    return [
        Term(_("Permissions"), _permission_lines(settings), warning=_permission_warning(settings)),
        _addresses(settings),
        Term(_("Expiry"), [expiry_text(settings.expires_at)]),
    ]


def _permission_lines(settings: Settings) -> list[str]:
    effects = {
        "read": _("Balances, orders and history"),
        "trade": _("Place and cancel orders: anyone who has the key can trade"),
        "withdraw": _("Move assets out; only with trusted IPs"),
    }
    names = permission_names()
    return [
        fill(_("%(permission)s: %(effect)s"), permission=names[value], effect=effects[value])
        for value in ORDER
        if value in settings.permissions
    ]


def _permission_warning(settings: Settings) -> str:
    if "withdraw" not in settings.permissions:
        return ""
    return _("This key can move your assets out of Hitobit. Confirm it only if you know who will use it.")


def _addresses(settings: Settings) -> Term:
    if settings.ip_policy != "unrestricted":
        return Term(_("Trusted IPs"), settings.networks, is_address=True)
    warning = _("This key works from any IP: whoever gets hold of it can use it.")
    if "trade" in settings.permissions:
        warning += " " + _("Trading ends after 90 days unless you renew it.")
    return Term(_("Trusted IPs"), [_("Any IP")], warning=warning)


def short(settings: Settings) -> str:
    """Return the same for an SMS, which the customer reads before typing its code."""
    names = permission_names()
    separator = pgettext("list separator", ", ")
    parts = [
        separator.join(names[value] for value in ORDER if value in settings.permissions),
        _("works from any IP")
        if settings.ip_policy == "unrestricted"
        else kept_networks_text(settings.networks, short=True),
        fill(_("expiry: %(day)s"), day=expiry_text(settings.expires_at)),
    ]
    return _("; ").join(isolated(part) for part in parts)


def changes(settings: Settings) -> list[Change]:
    """Return the same for the page of the codes, a part each."""
    separator = pgettext("list separator", ", ")
    parts = []
    for term in terms(settings):
        text = fill(_("%(name)s: %(value)s"), name=term.name, value=separator.join(map(isolated, term.lines)))
        parts.append(Change(text, "warn" if term.warning else ""))
    return parts
