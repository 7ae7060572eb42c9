"""Every named rate of the portal, in one table, counted by django-ratelimit in the shared cache.

django-ratelimit reads ``5/H`` as 5 a second, does not normalise its keys and gives no time to wait; so periods are
written in seconds here, and values are normalised before they are counted.
"""

import contextlib
import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    """One member a rate: at most ``count`` in ``seconds`` for each value."""

    # Who has no login yet. A browser in which the account logged in before counts by LOGIN_BROWSER, FORGOT_BROWSER and,
    # for codes, by a count of the account's own instead, so that strangers don't lock its owner out (`known_browsers`).
    LOGIN_ADDRESS = Limit(30, 5 * MINUTE, "password guessing from one address over many accounts")
    LOGIN_PHONE_ADDRESS = Limit(
        10, 5 * MINUTE, "password guessing on one account; others are not locked out by it"
    )
    # A quarter of an hour: whoever uses this up on somebody's number must not keep the owner out for longer.
    LOGIN_PHONE = Limit(25, 15 * MINUTE, "password guessing on one account from many addresses")
    LOGIN_BROWSER = Limit(
        10, 5 * MINUTE, "password guessing in a browser in which the account logged in before"
    )
    LOGIN_LIMITED_EVENT = Limit(1, 5 * MINUTE, "filling of the audit trail by logins that are refused anyway")
    DRAFT_ADDRESS = Limit(30, 5 * MINUTE, "filling of the session table by visitors without a login")
    SIGNUP_ADDRESS = Limit(30, HOUR, "SMS to strangers by one address; many customers share theirs")
    FORGOT_ADDRESS = Limit(30, HOUR, "the same, for forgotten passwords")
    FORGOT_BROWSER = Limit(30, HOUR, "the same, in a browser in which the account logged in before")
    NOTICE_LINK_ADDRESS = Limit(
        30, 5 * MINUTE, "guessing of the links in notices; right ones are never refused"
    )
    PASSWORD_STRENGTH_ADDRESS = Limit(60, MINUTE, "processor time: a long password takes 0.1 s to judge")
    NEW_PASSWORD_ADDRESS = Limit(30, 5 * MINUTE, "processor time: argon2 and the judging of strength")
    PASSWORD_CHECK = Limit(
        5, 5 * MINUTE, "guessing of the current password by somebody who has session and codes"
    )
    RECOVERY_RENEWED = Limit(
        5, HOUR, "burying of an owner in notices by renewing recovery codes in enrolment"
    )
    FACTOR_ADDRESS = Limit(10, 5 * MINUTE, "guessing of codes from one address over many accounts")
    FACTOR_OUTSIDE_ADDRESS = Limit(
        10, 5 * MINUTE, "the same before any password: at sign-up, for a forgotten one"
    )
    # Wrong codes from there are counted by the account's guard alone; more than these don't even wait for its lock.
    FACTOR_BROWSER = Limit(120, 5 * MINUTE, "requests that wait for one account's lock, from known browsers")
    # SMS of people without a login have a budget of their own, each purpose apart. They touch no cap below it.
    SMS_OUTSIDE_PHONE = Limit(6, 3 * HOUR, "flooding of a phone by people who have no login")
    SMS_OUTSIDE_ADDRESS = Limit(30, HOUR, "SMS pumping from one address without a login")
    SMS_OUTSIDE_PREFIX = Limit(300, HOUR, "SMS pumping of a range of numbers without a login")
    SMS_OUTSIDE_DAY = Limit(5000, DAY, "SMS cost of all people without a login together")
    # SMS of accounts: after the password, or in a browser in which the account logged in before.
    SMS_PHONE = Limit(20, 10 * MINUTE, "flooding of somebody's phone")
    SMS_ACCOUNT = Limit(100, DAY, "SMS cost by one account")
    # Ten accounts together could use up SMS_PREFIX for everybody's login codes.
    SMS_NEW_NUMBER = Limit(10, DAY, "SMS pumping by an account, to numbers that are not its own")
    SMS_ADDRESS = Limit(100, HOUR, "SMS pumping from one address")
    SMS_PREFIX = Limit(1000, HOUR, "SMS pumping of a range of numbers that the attacker is paid for")
    SMS_CAPPED_EVENT = Limit(1, HOUR, "filling of the audit trail by SMS that are refused anyway")
    # Only of notices that a thief can bring about by the dozen; those of stolen factors are never held back.
    NOTICE_ACCOUNT = Limit(
        60, DAY, "burying of an owner in notices, so that the one that matters is overlooked"
    )
    STAFF_VIEWED_EVENT = Limit(1, MINUTE, "filling of the audit trail by staff who reload a page")
    EXPORT_ACCOUNT = Limit(20, HOUR, "filling of the audit trail; an export reads up to 10 000 rows")
    DEBUGGER = Limit(60, 5 * MINUTE, "processor time: one diagnosis tries up to thousands of signatures")
    SMS_DAY = Limit(50_000, DAY, "SMS cost of all accounts together")


#: How many times a rate's count the prefixes of an IPv6 address have: a customer is given a /64, a /56 or a /48.
WIDTHS = ((64, 1), (56, 2), (48, 4))


class Slot(NamedTuple):
    """What one attempt takes of a rate: a value that may have ``times`` the rate's count."""

    rate: Rate
    value: str
    times: int = 1


def address_slots(rate: Rate, address: str, of: str = "") -> list[Slot]:
    """What an attempt from ``address`` takes: of IPv4 the address itself, of IPv6 its /64, /56 and /48, in this order.

    ``of``: counted for this alone, e.g. one phone number or one purpose.

    SECURITY: with the /64 alone, whoever is given a /48 has 65536 counters.
    """
    ip = ipaddress.ip_address(address)
    buckets = [(str(ip), 1)]
    if isinstance(ip, ipaddress.IPv6Address):
        buckets = [(str(ipaddress.ip_network((ip, width), strict=False)), times) for width, times in WIDTHS]
    return [Slot(rate, f"{of}|{bucket}" if of else bucket, times) for bucket, times in buckets]


def widest_bucket(address: str) -> str:
    """The whole that one customer may have: an IPv4 address, the /48 of an IPv6 address."""
    return address_slots(Rate.LOGIN_ADDRESS, address)[-1].value


def take(rate: Rate, value: str, *, times: int = 1) -> int | None:
    """Counts one for ``value``; None when it may go on, else the seconds to wait. It may ``times`` the rate's count.

    Raises the cache's own error when the cache is down: the caller fails closed (503).
    """
    limit = rate.value
    usage = get_usage(
        HttpRequest(),
        group=rate.name,
        key=lambda group, request: value,
        rate=_spelled(limit, times),
        increment=True,
    )
    if usage is None or usage["should_limit"]:
        return max(1, usage["time_left"]) if usage else limit.seconds
    return None


def give_back(rate: Rate, value: str, *, times: int = 1) -> None:
    """Takes back one count of `take`, for attempts that turned out to be right."""
    spelled = _spelled(rate.value, times)
    key = _make_cache_key(rate.name, _get_window(value, rate.value.seconds), spelled, value, ALL)
    with contextlib.suppress(ValueError):  # the window has passed meanwhile, and its count with it
        cache.decr(key)


class Full(NamedTuple):
    """The slot that had no room, and the seconds until it has."""

    slot: Slot
    wait: int


def first_full(slots: Sequence[Slot]) -> Full | None:
    """Takes all slots in their order; None, or the first that is full, and then none of them is counted.

    SECURITY: what a full /64 is refused must not fill the /48 of its neighbours, nor the cap of a day.
    """
    for number, slot in enumerate(slots):
        wait = take(slot.rate, slot.value, times=slot.times)
        if wait is not None:
            give_back_all(slots[:number])
            return Full(slot, wait)
    return None


def take_all(slots: Sequence[Slot]) -> int | None:
    """`first_full`, as the seconds to wait."""
    full = first_full(slots)
    return full.wait if full else None


def give_back_all(slots: Sequence[Slot]) -> None:
    """Takes back what `take_all` counted."""
    for slot in slots:
        give_back(slot.rate, slot.value, times=slot.times)


def take_address(rate: Rate, address: str) -> int | None:
    """`take` for an address, with all the prefixes that it counts for."""
    return take_all(address_slots(rate, address))


def _spelled(limit: Limit, times: int) -> str:
    return f"{limit.count * times}/{limit.seconds}s"
