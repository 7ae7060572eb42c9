"""Words for what audit events hold in their details. Pure: details are stored as codes and read in any language."""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_network

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.choices.approvals import Purpose
from hitobit_portal.i18n import free_text
from hitobit_portal.i18n.jalali import date_local, digits


def isolated(text: str) -> str:
    """``text`` as an island in right-to-left plain text: ``2001:db8::/48`` stays readable (isolates, UAX #9)."""
    return f"\u2066{text}\u2069"


def method_text(value: str) -> str:
    """How a login was completed."""
    words = {
        "totp": _("by authenticator"),
        "sms": _("by SMS"),
        "recovery": _("by recovery code"),
        "enrolment": _("after enrolment"),
        "trusted": _("on a trusted device, without a code"),
    }
    return words.get(value, "")


def purpose_text(value: str) -> str:
    """What a code was for; ``value`` is a `Purpose`'s."""
    words = {
        Purpose.LOGIN.value: _("for login"),
        Purpose.ENROL_SMS.value: _("for confirming the phone"),
        Purpose.ENROL_TOTP.value: _("for turning the authenticator on"),
        Purpose.CREATE_KEY.value: _("for creating an API"),
        Purpose.CHANGE_KEY.value: _("for changing an API"),
        Purpose.ROTATE_KEY.value: _("for a new credential of an API"),
        Purpose.RESCUE_KEY.value: _("for letting a new IP use an API"),
        Purpose.THAW_KEY.value: _("for resuming an API"),
        Purpose.RENEW_KEY.value: _("for 90 more days of trading"),
        Purpose.SIGN_UP.value: _("for opening the account"),
        Purpose.FORGOT.value: _("for replacing a forgotten password"),
        Purpose.CHANGE_PASSWORD.value: _("for changing the password"),
        Purpose.CHANGE_PHONE.value: _("for changing the mobile number"),
        Purpose.LOST_PHONE.value: _("for replacing a lost mobile number"),
        Purpose.CONFIRM_PHONE.value: _("for confirming the new mobile number"),
        Purpose.CHANGE_TOTP.value: _("for setting up another authenticator"),
        Purpose.CONFIRM_TOTP.value: _("for turning the new authenticator on"),
        Purpose.CHANGE_EMAIL.value: _("for changing the e-mail"),
        Purpose.RENEW_RECOVERY.value: _("for making new recovery codes"),
        Purpose.THAW.value: _("for thawing the account"),
        Purpose.LIFT_QUARANTINE.value: _("for ending the quarantine"),
        Purpose.END_SESSIONS.value: _("for ending other sessions"),
    }
    return words.get(value, "")


def change_text(code: str) -> str:
    """One change of a key: ``"+trade"``, ``"-read"``, ``"ip:trusted"``, ``"trade:lasting"``, ``"+203.0.113.0/24"``,
    ``"expires:a>b"``."""
    names = {"read": _("Read"), "trade": _("Trade"), "withdraw": _("Withdraw")}
    if code.startswith("ip:"):
        return (
            _("IP: trusted → unrestricted") if code == "ip:unrestricted" else _("IP: unrestricted → trusted")
        )
    if code == "trade:lasting":
        return _("Trading: for 90 days at a time → without an end")
    if code.startswith("expires:"):
        before, _arrow, after = code.removeprefix("expires:").partition(">")
        return _("Expiry: %(before)s → %(after)s") % {"before": _expiry(before), "after": _expiry(after)}
    if code.startswith("rescue:"):
        return _("New IPs ask: off → on") if code == "rescue:on" else _("New IPs ask: on → off")
    sign, what = code[:1], code[1:]
    if what in names:
        return (_("%(what)s: off → on") if sign == "+" else _("%(what)s: on → off")) % {"what": names[what]}
    return isolated(f"{sign} {what if is_network(what) else free_text.plain(what)}")


def is_network(text: str) -> bool:
    """Whether ``text`` is an IP address or a network, and nothing else."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text  # a zone (fe80::1%anything) is free text


def kept_networks_text(values: Sequence[str], *, short: bool) -> str:
    """From where a key works already. ``short``: how many, if they are more than three."""
    if short and len(values) > 3:
        # SECURITY: not the first three: whoever listed an address of their own would put it behind them.
        return _("It works from %(n)s IPs, which the page of this code lists") % {"n": digits(len(values))}
    networks = pgettext("list separator", ", ").join(isolated(value) for value in values)
    return _("It works from %(networks)s") % {"networks": networks}


def replaced_text(before: str, after: str) -> str:
    """What stands in another's place: a mobile number (masked), ``before → after``."""
    return f"{isolated(before)} → {isolated(after)}"


def _expiry(iso: str) -> str:
    return date_local(datetime.fromisoformat(iso)) if iso else pgettext("expiry", "Never")
