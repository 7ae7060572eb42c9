"""All rate limits of the portal in one table, counted by django-ratelimit in the shared cache.

django-ratelimit parses ``5/H`` as 5 a second, does not normalise its keys, and does not tell how long to wait. So
periods are in seconds here, and callers normalise values before they are counted.
"""

import contextlib
import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django_ratelimit import ALL
from django_ratelimit.core import _get_window, _make_cache_key, get_usage

MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True)
class Limit:
    count: int
    seconds: int
    reason: str


class Rate(enum.Enum):
    """Each rate allows ``count`` in ``seconds`` for each value. `Limit.reason` is the attack that it stops."""

    # Visitors without a login. Browsers in which the account has logged in before are counted by LOGIN_BROWSER,
    # FORGOT_BROWSER and, for codes, by the account's own counter, so that others cannot lock the owner out
    # (`known_browsers`).
    LOGIN_ADDRESS = Limit(30, 5 * MINUTE, "password guessing from one address over many accounts")
    LOGIN_PHONE_ADDRESS = Limit(
        10, 5 * MINUTE, "password guessing on one account; others are not locked out by it"
    )
    # 15 minutes: an attacker who uses up this limit for a number must not lock the owner out for longer.
    LOGIN_PHONE = Limit(25, 15 * MINUTE, "password guessing on one account from many addresses")
    LOGIN_BROWSER = Limit(
        10, 5 * MINUTE, "password guessing in a browser in which the account logged in before"
    )
    LOGIN_LIMITED_EVENT = Limit(
        1, 5 * MINUTE, "filling of the audit trail by logins that are rejected anyway"
    )
    EXCHANGE_LOGIN_ADDRESS = Limit(
        60, 5 * MINUTE, "filling of the session table by logins at the exchange that are begun and left"
    )
    EXCHANGE_ANSWER_ADDRESS = Limit(
        30, 5 * MINUTE, "requests to the exchange with made-up codes; logins that go on do not count"
    )
    EXCHANGE_LOGOUT_ADDRESS = Limit(
        60, 5 * MINUTE, "processor time for forged logout tokens; valid ones do not count"
    )
    EXCHANGE_KEYS_ADDRESS = Limit(
        5,
        5 * MINUTE,
        "requests to the exchange for its keys, by forged logout tokens; valid ones do not count",
    )
    DRAFT_ADDRESS = Limit(30, 5 * MINUTE, "filling of the session table by visitors without a login")
    SIGNUP_ADDRESS = Limit(30, HOUR, "SMS to strangers by one address; many customers share theirs")
    FORGOT_ADDRESS = Limit(30, HOUR, "the same, for forgotten passwords")
    FORGOT_BROWSER = Limit(30, HOUR, "the same, in a browser in which the account logged in before")
    NOTICE_LINK_ADDRESS = Limit(
        30, 5 * MINUTE, "guessing of the links in notices; valid links are never limited"
    )
    PASSWORD_STRENGTH_ADDRESS = Limit(60, MINUTE, "processor time: estimating a long password takes 0.1 s")
    NEW_PASSWORD_ADDRESS = Limit(30, 5 * MINUTE, "processor time: argon2 and the estimate of strength")
    PASSWORD_CHECK = Limit(
        5, 5 * MINUTE, "guessing of the current password by somebody who has session and codes"
    )
    RECOVERY_RENEWED = Limit(
        5, HOUR, "flooding of an owner with notices by renewing recovery codes in enrolment"
    )
    FACTOR_ADDRESS = Limit(10, 5 * MINUTE, "guessing of codes from one address over many accounts")
    FACTOR_OUTSIDE_ADDRESS = Limit(
        10, 5 * MINUTE, "the same before any password: at sign-up, for a forgotten one"
    )
    # Wrong codes from known browsers count for the account only; requests above this limit do not wait for its lock.
    FACTOR_BROWSER = Limit(120, 5 * MINUTE, "requests that wait for one account's lock, from known browsers")
    # SMS for visitors without a login have budgets of their own, one for each purpose, apart from the limits below.
    SMS_OUTSIDE_PHONE = Limit(6, 3 * HOUR, "flooding of a phone by people who have no login")
    SMS_OUTSIDE_ADDRESS = Limit(30, HOUR, "SMS pumping from one address without a login")
    SMS_OUTSIDE_PREFIX = Limit(300, HOUR, "SMS pumping of a range of numbers without a login")
    SMS_OUTSIDE_DAY = Limit(5000, DAY, "SMS cost of all people without a login together")
    # SMS for accounts: after the password, or in a browser in which the account has logged in before.
    SMS_PHONE = Limit(20, 10 * MINUTE, "flooding of somebody's phone")
    SMS_ACCOUNT = Limit(100, DAY, "SMS cost by one account")
    # Without it, ten accounts could use up SMS_PREFIX, and with it everybody's login codes.
    SMS_NEW_NUMBER = Limit(10, DAY, "SMS pumping by an account, to numbers that are not its own")
    SMS_ADDRESS = Limit(100, HOUR, "SMS pumping from one address")
    SMS_PREFIX = Limit(1000, HOUR, "SMS pumping of a range of numbers that the attacker is paid for")
    SMS_CAPPED_EVENT = Limit(1, HOUR, "filling of the audit trail by SMS that are rejected anyway")
    # Only notices that a thief can trigger in large numbers; notices of stolen factors are never limited.
    NOTICE_ACCOUNT = Limit(
        60, DAY, "flooding of an owner with notices, so that the one that matters is overlooked"
    )
    STAFF_VIEWED_EVENT = Limit(1, MINUTE, "filling of the audit trail by staff who reload a page")
    EXPORT_ACCOUNT = Limit(20, HOUR, "filling of the audit trail; an export reads up to 10 000 rows")
    CALLER_ADDRESS = Limit(60, MINUTE, "work for nothing: one address needs its own address rarely")
    DEBUGGER = Limit(60, 5 * MINUTE, "processor time: one diagnosis tries up to thousands of signatures")
    MANAGEMENT_TOKEN = Limit(
        600, MINUTE, "one stolen token that reads everything, or stops everybody, at once"
    )
    KEY_REQUEST_CUSTOMER = Limit(
        10, DAY, "flooding of a customer with requests for keys, by a stolen token of the back office"
    )
    THAW_REQUEST_CUSTOMER = Limit(3, DAY, "the same with requests to unfreeze the account")
    MANAGEMENT_POLL_EVENT = Limit(
        1, MINUTE, "filling of the audit trail by programs that read the audit trail"
    )
    SMS_DAY = Limit(50_000, DAY, "SMS cost of all accounts together")


#: Rates whose highest use is kept for `/metrics`: limits that many customers share.
WATCHED = frozenset((Rate.SMS_DAY, Rate.SMS_PREFIX, Rate.SMS_OUTSIDE_DAY, Rate.SMS_OUTSIDE_PREFIX))
#: Rates whose count is a setting: what is too much depends on the number of customers.
SETTINGS = {Rate.SMS_DAY: "SMS_DAY", Rate.SMS_PREFIX: "SMS_PREFIX_HOUR"}
#: IPv6: (prefix length, factor of the count). Providers give customers a /64, a /56 or a /48.
WIDTHS = ((64, 1), (56, 2), (48, 4))


class Slot(NamedTuple):
    """One count of a rate for a value. The value's limit is ``times`` the rate's count."""

    rate: Rate
    value: str
    times: int = 1


def address_slots(rate: Rate, address: str, of: str = "") -> list[Slot]:
    """Return the slots of an attempt from ``address``: IPv4: the address; IPv6: its /64, /56 and /48, in this order.

    ``of``: makes the count specific, e.g. to one phone number or one purpose.

    SECURITY: with the /64 alone, a customer with a /48 would have 65536 counters.
    """
    ip = ipaddress.ip_address(address)
    buckets = [(str(ip), 1)]
    if isinstance(ip, ipaddress.IPv6Address):
        buckets = [(str(ipaddress.ip_network((ip, width), strict=False)), times) for width, times in WIDTHS]
    return [Slot(rate, f"{of}|{bucket}" if of else bucket, times) for bucket, times in buckets]


def widest_bucket(address: str) -> str:
    """Return the largest network that one customer may have: an IPv4 address, or the /48 of an IPv6 address."""
    return address_slots(Rate.LOGIN_ADDRESS, address)[-1].value


def limit_of(rate: Rate) -> Limit:
    """Return the limit that applies: that of the table, with the count that the installation chose."""
    count = getattr(settings, SETTINGS[rate]) if rate in SETTINGS else None
    return rate.value if count is None else replace(rate.value, count=count)


def acquire(rate: Rate, value: str, *, times: int = 1) -> int | None:
    """Count one attempt for ``value``. Returns None if it is allowed, else the seconds to wait.

    ``times``: factor of the rate's count. Raises the cache's own error if the cache is down; callers fail closed (503).
    """
    limit = limit_of(rate)
    usage = get_usage(
        HttpRequest(),
        group=rate.name,
        key=lambda group, request: value,
        rate=_rate_text(limit, times),
        increment=True,
    )
    if rate in WATCHED and usage is not None:
        _note_peak(rate, min(1.0, usage["count"] / (limit.count * times)), usage["time_left"])
    if usage is None or usage["should_limit"]:
        return max(1, usage["time_left"]) if usage else limit.seconds
    return None


def peak(rate: Rate) -> float:
    """Return the highest used share, 0 to 1, of a `WATCHED` rate among the values whose windows have not ended."""
    return float(cache.get(_peak_key(rate)) or 0.0)


def _note_peak(rate: Rate, share: float, seconds: int) -> None:
    # The counters of single values cannot be listed, so the highest is kept beside them. Of two writes at once one may
    # be lost; the next attempt writes it again.
    if share >= peak(rate):
        cache.set(_peak_key(rate), share, max(1, seconds))


def _peak_key(rate: Rate) -> str:
    return f"ratelimit-peak:{rate.name}"


def release(rate: Rate, value: str, *, times: int = 1) -> None:
    """Undo one count of `acquire`, for attempts that turned out to be legitimate."""
    rate_text = _rate_text(limit_of(rate), times)
    key = _make_cache_key(rate.name, _get_window(value, rate.value.seconds), rate_text, value, ALL)
    with contextlib.suppress(ValueError):  # the window has ended, and its count with it
        cache.decr(key)


class Full(NamedTuple):
    """The slot whose limit is reached, and the seconds to wait."""

    slot: Slot
    wait: int


def first_full(slots: Sequence[Slot]) -> Full | None:
    """Count all slots in order. Returns None, or the first slot whose limit is reached; then none is counted.

    SECURITY: attempts that a full /64 rejects must not count for the /48 of its neighbours, or for a limit of the day.
    """
    for number, slot in enumerate(slots):
        wait = acquire(slot.rate, slot.value, times=slot.times)
        if wait is not None:
            release_all(slots[:number])
            return Full(slot, wait)
    return None


def acquire_all(slots: Sequence[Slot]) -> int | None:
    """The same as `first_full`, but returns only the seconds to wait."""
    full = first_full(slots)
    return full.wait if full else None


def release_all(slots: Sequence[Slot]) -> None:
    """Undo `acquire_all`."""
    for slot in slots:
        release(slot.rate, slot.value, times=slot.times)


def acquire_address(rate: Rate, address: str) -> int | None:
    """`acquire` for an address: counts for all of its `address_slots`."""
    return acquire_all(address_slots(rate, address))


def _rate_text(limit: Limit, times: int) -> str:
    return f"{limit.count * times}/{limit.seconds}s"
