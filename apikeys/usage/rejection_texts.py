"""Texts for the key's owner: why a request was rejected, and the one action that fixes it."""

import enum
from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.models import ApiKey, Refusal
from apikeys.policy.choices import IpPolicy, KeyState
from apikeys.usage.recorder import MAX_SKEW_MS
from apikeys.verification.networks import NetworkMatcher, address_number
from apikeys.verification.outcomes import Outcome


class Remedy(enum.Enum):
    """The action that fixes a rejection: one button each, or none."""

    ADD_ADDRESS = "add_address"
    NETWORKS = "networks"
    RENEW = "renew"
    PERMISSIONS = "permissions"
    GRANT = "grant"
    CLOCK = "clock"
    DEBUGGER = "debugger"
    STATE = "state"
    EXPIRY = "expiry"
    QUARANTINE = "quarantine"
    FREEZE = "freeze"
    NONE = "none"


@dataclass(frozen=True)
class RejectionText:
    """``title``: the reason in short; ``hint``: what it means for the program's owner."""

    title: Promise
    hint: Promise
    remedy: Remedy


@dataclass(frozen=True)
class Button:
    """A link, or with ``posts`` a form with one button."""

    label: Promise
    url: str
    posts: bool = False


TEXTS: dict[Outcome, RejectionText] = {
    Outcome.KEY_MALFORMED: RejectionText(
        _("The API key is misspelt"),
        _("An API key has 64 letters and digits. Copy it again from this page."),
        Remedy.DEBUGGER,
    ),
    Outcome.KEY_UNKNOWN: RejectionText(
        _("There is no such API key"), _("Copy the API key again from this page."), Remedy.NONE
    ),
    Outcome.KEY_INACTIVE: RejectionText(
        _("The key was paused or deleted"),
        _("A paused key works again when you resume it. A deleted key never does."),
        Remedy.STATE,
    ),
    Outcome.KEY_EXPIRED: RejectionText(
        _("The key has expired"), _("A later expiry makes it work again."), Remedy.EXPIRY
    ),
    Outcome.KEY_DEGRADED: RejectionText(
        _("The key has expired and is read-only"),
        _("Trading and withdrawing ended with the expiry; reading ends a week later."),
        Remedy.EXPIRY,
    ),
    Outcome.OWNER_INACTIVE: RejectionText(
        _("The account is closed"), _("Ask Hitobit support for the reason."), Remedy.NONE
    ),
    Outcome.OWNER_FROZEN: RejectionText(
        _("The account was frozen"), _("Unfreeze it, and the key works again."), Remedy.FREEZE
    ),
    Outcome.ADDRESS_REFUSED: RejectionText(
        _("This IP is not in the key's list"),
        _("The request was signed with this key's secret. If it is your program's IP, add it."),
        Remedy.ADD_ADDRESS,
    ),
    Outcome.PARAMETER_MISSING: RejectionText(
        _("A parameter is missing or cannot be read"),
        _("Each signed request needs timestamp and signature. A name or value may also be misspelt."),
        Remedy.DEBUGGER,
    ),
    Outcome.PARAMETER_DUPLICATE: RejectionText(
        _("A parameter was sent twice"), _("Send each name once."), Remedy.DEBUGGER
    ),
    Outcome.RECV_WINDOW: RejectionText(
        _("recvWindow is too large"), _("It is at most 60000 milliseconds."), Remedy.DEBUGGER
    ),
    Outcome.STALE: RejectionText(
        _("The request came too late"),
        _("Its timestamp is older than its recvWindow allows: the clock is behind, or the network is slow."),
        Remedy.CLOCK,
    ),
    Outcome.AHEAD: RejectionText(
        _("The request's timestamp is in the future"),
        _(
            "Its timestamp is a second or more ahead of our clock: the clock of the program's computer is fast."
        ),
        Remedy.CLOCK,
    ),
    Outcome.SIGNATURE: RejectionText(
        _("The signature does not match"),
        _(
            "The secret is wrong, or what was signed is not what was sent. If it is not your program, "
            "somebody else is trying the key."
        ),
        Remedy.DEBUGGER,
    ),
    Outcome.PERMISSION: RejectionText(
        _("The key does not have this permission"),
        _("Give it only if the program needs it."),
        Remedy.GRANT,
    ),
    Outcome.TRADE_LAPSED: RejectionText(
        _("Trading from any IP ended after 90 days"),
        _("Renew it, or restrict the key to trusted IPs."),
        Remedy.RENEW,
    ),
    Outcome.QUARANTINE: RejectionText(
        _("The account's keys are in quarantine"),
        _(
            "The password, phone or authenticator was just replaced. Until the quarantine ends, keys "
            "are read-only."
        ),
        Remedy.QUARANTINE,
    ),
    Outcome.REPLAYED: RejectionText(
        _("This request was already used"),
        _("Each request is accepted once. Sign it again with a current timestamp."),
        Remedy.NONE,
    ),
    Outcome.RATE_LIMITED: RejectionText(
        _("Too many requests"), _("Send fewer requests, or wait as long as the response says."), Remedy.NONE
    ),
}
UNKNOWN = RejectionText(_("Refused"), _("This reason is no longer known."), Remedy.NONE)
#: For an address that is not listed, if the signature was not valid either.
UNSIGNED_ADDRESS = RejectionText(
    _("This IP is not in the key's list"),
    _(
        "It was not signed with this key's secret either. Add the IP only if you know it: it may be "
        "a stranger's."
    ),
    Remedy.NETWORKS,
)
_BY_VALUE = {outcome.value: text_of for outcome, text_of in TEXTS.items()}
TIMESTAMP_A_DAY_OFF = _(
    "The timestamp is a day or more off: it counts milliseconds since 1970 in UTC, not seconds."
)

LABELS: dict[Remedy, Promise] = {
    Remedy.ADD_ADDRESS: _("Add this IP"),
    Remedy.NETWORKS: _("See the list of IPs"),
    Remedy.RENEW: _("Renew for 90 days"),
    Remedy.PERMISSIONS: _("Edit permissions"),
    Remedy.GRANT: _("Give this permission"),
    Remedy.CLOCK: _("Set the clock"),
    Remedy.DEBUGGER: _("Open in the debugger"),
    Remedy.STATE: _("See the key's state"),
    Remedy.EXPIRY: _("Change the expiry"),
    Remedy.QUARANTINE: _("End the quarantine"),
    Remedy.FREEZE: _("Unfreeze the account"),
}
#: Pages of the key, and parts of them.
KEY_PAGES = {
    Remedy.NETWORKS: "key_settings#ip",
    Remedy.PERMISSIONS: "key_settings",
    Remedy.CLOCK: "key_usage#clock",
    Remedy.STATE: "key_detail#state",
    Remedy.EXPIRY: "key_settings#expires",
    Remedy.RENEW: "key_renew",
}
PAGES = {Remedy.DEBUGGER: "debugger", Remedy.QUARANTINE: "quarantine", Remedy.FREEZE: "freeze"}
#: Parts of the settings, which an active key only has a page for.
IN_SETTINGS = frozenset({Remedy.NETWORKS, Remedy.PERMISSIONS, Remedy.EXPIRY})
#: URL names of actions with one click, which are confirmed with both codes.
POST_URLS = {Remedy.ADD_ADDRESS: "key_add_address", Remedy.GRANT: "key_grant_permission"}


def text_of_outcome(outcome: str) -> RejectionText:
    """Return the text of a stored outcome, also for outcomes that no longer exist."""
    return _BY_VALUE.get(outcome, UNKNOWN)


def text_of(rejection: Refusal) -> RejectionText:
    """Return the text of a rejection, which may depend on whether it was signed and on the clock skew."""
    text = text_of_outcome(rejection.outcome)
    if text.remedy is Remedy.ADD_ADDRESS and rejection.skew_ms is None:
        return UNSIGNED_ADDRESS
    if text.remedy is Remedy.CLOCK and abs(timestamp_error_ms(rejection) or 0) >= MAX_SKEW_MS:
        return RejectionText(text.title, TIMESTAMP_A_DAY_OFF, Remedy.DEBUGGER)
    return text


def timestamp_error_ms(rejection: Refusal) -> int | None:
    """Return how far the timestamp of a request that came too late or too early was ahead of the portal's clock."""
    if text_of_outcome(rejection.outcome).remedy is not Remedy.CLOCK:
        return None
    return rejection.offset_ms if rejection.skew_ms is None else rejection.skew_ms


def debugger_url(rejection: Refusal) -> str:
    """Return the URL of the debugger with what is known of the request filled in; "" if this portal has none."""
    url = page_url(PAGES[Remedy.DEBUGGER])
    return f"{url}?refusal={rejection.pk}" if url else ""


def button(key: ApiKey, rejection: Refusal, listed: NetworkMatcher) -> Button | None:
    """Return the button that fixes a rejection; None if there is none, or it is fixed already.

    ``listed``: the key's allow-list.
    """
    remedy = text_of(rejection).remedy
    if remedy is Remedy.NONE or key.state == KeyState.REVOKED or _is_fixed(key, rejection, remedy, listed):
        return None
    if remedy is Remedy.ADD_ADDRESS and address_number(rejection.address) is None:
        return None  # the gateway's client may send any text as an address
    if key.state != KeyState.ACTIVE and remedy in IN_SETTINGS | POST_URLS.keys():
        remedy = Remedy.STATE
    if remedy is Remedy.GRANT and rejection.permission == "withdraw" and key.ip_policy != IpPolicy.TRUSTED:
        remedy = Remedy.PERMISSIONS  # "withdraw" needs trusted IPs first, which are added in the settings
    if remedy in POST_URLS:
        return Button(LABELS[remedy], reverse(POST_URLS[remedy], args=[key.pk, rejection.pk]), posts=True)
    if remedy is Remedy.DEBUGGER:
        url = debugger_url(rejection)
    else:
        url = page_url(KEY_PAGES[remedy], key.pk) if remedy in KEY_PAGES else page_url(PAGES[remedy])
    return Button(LABELS[remedy], url) if url else None


def _is_fixed(key: ApiKey, rejection: Refusal, remedy: Remedy, listed: NetworkMatcher) -> bool:
    """Return whether the same request would no longer be rejected for this reason."""
    if remedy in (Remedy.ADD_ADDRESS, Remedy.NETWORKS):
        return key.ip_policy != IpPolicy.TRUSTED or listed.contains(rejection.address)
    return {
        Remedy.RENEW: not key.trade_has_ended,
        Remedy.GRANT: rejection.permission in key.permissions,
        Remedy.STATE: key.state == KeyState.ACTIVE,
        Remedy.EXPIRY: key.shown_state not in ("degraded", "expired"),
        Remedy.QUARANTINE: not key.owner.in_quarantine,
        Remedy.FREEZE: key.owner.frozen_at is None,
    }.get(remedy, False)


def page_url(name: str, *arguments: object) -> str:
    """Return the URL of a page by its URL name, which may have an anchor; "" if this portal does not have the page."""
    page, sign, anchor = name.partition("#")
    try:
        return f"{reverse(page, args=arguments)}{sign}{anchor}"
    except NoReverseMatch:
        return ""
