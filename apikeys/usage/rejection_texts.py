"""Why a request was refused, in words for the key's owner, and the one thing that mends it."""

import enum
from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apikeys.models import ApiKey, Refusal
from apikeys.policy.choices import IpPolicy, State
from apikeys.usage.recorder import LARGEST_SKEW_MS
from apikeys.verification.networks import NetworkMatcher, address_number
from apikeys.verification.outcomes import Outcome


class Remedy(enum.Enum):
    """What mends a refusal: one button each, or none."""

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
class Words:
    """``title``: the reason in a few words; ``hint``: what it means for the program's owner."""

    title: Promise
    hint: Promise
    remedy: Remedy


@dataclass(frozen=True)
class Button:
    """A link, or with ``posts`` a small form."""

    label: Promise
    url: str
    posts: bool = False


WORDS: dict[Outcome, Words] = {
    Outcome.KEY_MALFORMED: Words(
        _("The API key is misspelt"),
        _("An API key has 64 letters and digits. Copy it again from this page."),
        Remedy.DEBUGGER,
    ),
    Outcome.KEY_UNKNOWN: Words(
        _("There is no such API key"), _("Copy the API key again from this page."), Remedy.NONE
    ),
    Outcome.KEY_INACTIVE: Words(
        _("The key was paused or deleted"),
        _("A paused key works again when you resume it; a deleted one never does."),
        Remedy.STATE,
    ),
    Outcome.KEY_EXPIRED: Words(
        _("The key has expired"), _("A later expiry makes it work again."), Remedy.EXPIRY
    ),
    Outcome.KEY_DEGRADED: Words(
        _("The key has expired and only reads"),
        _("Trading and withdrawing ended with the expiry; reading ends a week later."),
        Remedy.EXPIRY,
    ),
    Outcome.OWNER_INACTIVE: Words(_("The account is closed"), _("Ask Hitobit's support why."), Remedy.NONE),
    Outcome.OWNER_FROZEN: Words(
        _("The account was frozen"), _("Thaw it, and the key works again."), Remedy.FREEZE
    ),
    Outcome.ADDRESS_REFUSED: Words(
        _("This IP is not in the key's list"),
        _("The request was signed with this key's secret. Add the IP if it is your program's."),
        Remedy.ADD_ADDRESS,
    ),
    Outcome.PARAMETER_MISSING: Words(
        _("A parameter is missing or cannot be read"),
        _("Each signed request needs timestamp and signature; and a name or value may be spelt wrongly."),
        Remedy.DEBUGGER,
    ),
    Outcome.PARAMETER_DUPLICATE: Words(
        _("A parameter was sent twice"), _("Send each name once."), Remedy.DEBUGGER
    ),
    Outcome.RECV_WINDOW: Words(
        _("recvWindow is too large"), _("It is at most 60000 milliseconds."), Remedy.DEBUGGER
    ),
    Outcome.STALE: Words(
        _("The request came too late"),
        _("Its time is further back than its recvWindow allows: the clock is slow, or the network is."),
        Remedy.CLOCK,
    ),
    Outcome.AHEAD: Words(
        _("The request came from the future"),
        _("Its time is a second or more ahead of ours: the clock of the program's computer is fast."),
        Remedy.CLOCK,
    ),
    Outcome.SIGNATURE: Words(
        _("The signature does not match"),
        _("A wrong secret, or other bytes signed than sent. If it is not your program, a stranger tries it."),
        Remedy.DEBUGGER,
    ),
    Outcome.PERMISSION: Words(
        _("The key lacks this permission"),
        _("Give it only if the program needs it."),
        Remedy.GRANT,
    ),
    Outcome.TRADE_LAPSED: Words(
        _("Trading from any IP ended after 90 days"),
        _("Renew it, or restrict the key to trusted IPs."),
        Remedy.RENEW,
    ),
    Outcome.QUARANTINE: Words(
        _("The account's keys are in quarantine"),
        _("Password, phone or authenticator was just replaced: until it ends, keys only read."),
        Remedy.QUARANTINE,
    ),
    Outcome.REPLAYED: Words(
        _("This very request passed before"),
        _(
            "Each request is accepted once. A program that repeats one has to sign it anew, with the time of now."
        ),
        Remedy.NONE,
    ),
    Outcome.RATE_LIMITED: Words(
        _("Too many requests"), _("Send fewer, or wait as long as the answer says."), Remedy.NONE
    ),
}
UNKNOWN = Words(_("Refused"), _("The reason has no name any more."), Remedy.NONE)
#: Of an address that is not listed when the request was not signed rightly either.
UNSIGNED_ADDRESS = Words(
    _("This IP is not in the key's list"),
    _("Nor was it signed with this key's secret: add the IP only if you know it. It may be a stranger's."),
    Remedy.NETWORKS,
)
_BY_VALUE = {outcome.value: words for outcome, words in WORDS.items()}
A_DAY_OFF = _("The timestamp is a day or more off: it counts milliseconds since 1970 in UTC, not seconds.")

LABELS: dict[Remedy, Promise] = {
    Remedy.ADD_ADDRESS: _("Add this IP"),
    Remedy.NETWORKS: _("See the list of IPs"),
    Remedy.RENEW: _("Renew for 90 days"),
    Remedy.PERMISSIONS: _("Edit permissions"),
    Remedy.GRANT: _("Give this permission"),
    Remedy.CLOCK: _("Set the clock"),
    Remedy.DEBUGGER: _("Open the debugger"),
    Remedy.STATE: _("See the key's state"),
    Remedy.EXPIRY: _("Move the expiry"),
    Remedy.QUARANTINE: _("End the quarantine"),
    Remedy.FREEZE: _("Thaw the account"),
}
ANCHORS = {
    Remedy.NETWORKS: "#ip",
    Remedy.PERMISSIONS: "#settings",
    Remedy.CLOCK: "#clock",
    Remedy.STATE: "#state",
    Remedy.EXPIRY: "#expires",
}
PAGES = {Remedy.DEBUGGER: "debugger", Remedy.QUARANTINE: "quarantine", Remedy.FREEZE: "freeze"}
#: What stands in the settings, which only an active key shows.
IN_SETTINGS = frozenset({Remedy.NETWORKS, Remedy.PERMISSIONS, Remedy.EXPIRY})
#: One click that leads to both codes.
GIVE = {Remedy.ADD_ADDRESS: "key_add_address", Remedy.GRANT: "key_grant_permission"}


def words_of(outcome: str) -> Words:
    """The words of a stored outcome, also of one that the portal has dropped since."""
    return _BY_VALUE.get(outcome, UNKNOWN)


def words(refusal: Refusal) -> Words:
    """The words of one refusal: some depend on whether it was signed, and on how far the clock was off."""
    found = words_of(refusal.outcome)
    if found.remedy is Remedy.ADD_ADDRESS and refusal.skew_ms is None:
        return UNSIGNED_ADDRESS
    if found.remedy is Remedy.CLOCK and abs(refusal.skew_ms or 0) >= LARGEST_SKEW_MS:
        return Words(found.title, A_DAY_OFF, Remedy.DEBUGGER)
    return found


def button(key: ApiKey, refusal: Refusal, listed: NetworkMatcher) -> Button | None:
    """What mends ``refusal``; None when nothing does, or it is mended. ``listed``: the key's IPs."""
    remedy = words(refusal).remedy
    if remedy is Remedy.NONE or key.state == State.REVOKED or _is_mended(key, refusal, remedy, listed):
        return None
    if remedy is Remedy.ADD_ADDRESS and address_number(refusal.address) is None:
        return None  # what a gateway said may be anything
    if key.state != State.ACTIVE and remedy in IN_SETTINGS | GIVE.keys():
        return Button(LABELS[Remedy.STATE], ANCHORS[Remedy.STATE])
    if remedy is Remedy.GRANT and refusal.permission == "withdraw" and key.ip_policy != IpPolicy.TRUSTED:
        remedy = Remedy.PERMISSIONS  # it needs trusted IPs first, which only the settings take
    if remedy in GIVE:
        return Button(LABELS[remedy], reverse(GIVE[remedy], args=[key.pk, refusal.pk]), posts=True)
    if remedy in ANCHORS:
        return Button(LABELS[remedy], ANCHORS[remedy])
    url = address_of_page("key_renew", key.pk) if remedy is Remedy.RENEW else address_of_page(PAGES[remedy])
    return Button(LABELS[remedy], url) if url else None


def _is_mended(key: ApiKey, refusal: Refusal, remedy: Remedy, listed: NetworkMatcher) -> bool:
    """Whether the same request would no longer be refused for this reason."""
    if remedy in (Remedy.ADD_ADDRESS, Remedy.NETWORKS):
        return key.ip_policy != IpPolicy.TRUSTED or listed.contains(refusal.address)
    return {
        Remedy.RENEW: not key.trade_has_ended,
        Remedy.GRANT: refusal.permission in key.permissions,
        Remedy.STATE: key.state == State.ACTIVE,
        Remedy.EXPIRY: key.shown_state not in ("degraded", "expired"),
        Remedy.QUARANTINE: not key.owner.in_quarantine,
        Remedy.FREEZE: key.owner.frozen_at is None,
    }.get(remedy, False)


def address_of_page(name: str, *arguments: object) -> str:
    """The address of a page by its URL name; "" for a page that this portal does not have."""
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""
