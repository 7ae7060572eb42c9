"""Every named rate of the portal, in one table, counted by django-ratelimit in the shared cache.

django-ratelimit reads ``5/H`` as 5 a second, does not normalise its keys and gives no time to wait; so periods are
written in seconds here, and values are normalised before they are counted.
"""

import contextlib
import enum
import ipaddress
from dataclasses import dataclass

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

    LOGIN_ADDRESS = Limit(30, 5 * MINUTE, "password guessing from one address over many accounts")
    LOGIN_PHONE_ADDRESS = Limit(
        10, 5 * MINUTE, "password guessing on one account; others are not locked out by it"
    )
    # A quarter of an hour: whoever uses this up on somebody's number must not keep the owner out for longer.
    LOGIN_PHONE = Limit(25, 15 * MINUTE, "password guessing on one account from many addresses")
    LOGIN_LIMITED_EVENT = Limit(1, 5 * MINUTE, "filling of the audit trail by logins that are refused anyway")
    DRAFT_ADDRESS = Limit(30, 5 * MINUTE, "filling of the session table by visitors without a login")
    SIGNUP_ADDRESS = Limit(30, HOUR, "SMS to strangers by one address; many customers share theirs")
    FORGOT_ADDRESS = Limit(30, HOUR, "the same, for forgotten passwords")
    NOTICE_LINK_ADDRESS = Limit(30, 5 * MINUTE, "guessing of the links in notices; right ones don't count")
    PASSWORD_STRENGTH_ADDRESS = Limit(60, MINUTE, "processor time: a long password takes 0.1 s to judge")
    NEW_PASSWORD_ADDRESS = Limit(30, 5 * MINUTE, "processor time: argon2 and the judging of strength")
    PASSWORD_CHECK = Limit(
        5, 5 * MINUTE, "guessing of the current password by somebody who has session and codes"
    )
    RECOVERY_RENEWED = Limit(
        5, HOUR, "burying of an owner in notices by renewing recovery codes in enrolment"
    )
    FACTOR_ADDRESS = Limit(10, 5 * MINUTE, "guessing of codes from one address over many accounts")
    SMS_PHONE = Limit(20, 10 * MINUTE, "flooding of somebody's phone")
    # 48 a day: whoever types another's number must leave the owner half of SMS_ACCOUNT.
    SMS_OUTSIDE_PHONE = Limit(6, 3 * HOUR, "flooding of a phone by people who have no login")
    SMS_ACCOUNT = Limit(100, DAY, "SMS cost by one account")
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


def address_bucket(address: str) -> str:
    """An IPv4 address itself; of an IPv6 address its /64, which is what one customer is given."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def take(rate: Rate, value: str) -> int | None:
    """Counts one for ``value``; None when it may go on, else the seconds to wait.

    Raises the cache's own error when the cache is down: the caller fails closed (503).
    """
    limit = rate.value
    usage = get_usage(
        HttpRequest(), group=rate.name, key=lambda group, request: value, rate=_spelled(limit), increment=True
    )
    if usage is None or usage["should_limit"]:
        return max(1, usage["time_left"]) if usage else limit.seconds
    return None


def give_back(rate: Rate, value: str) -> None:
    """Takes back one count of `take`, for attempts that turned out to be right."""
    spelled = _spelled(rate.value)
    key = _make_cache_key(rate.name, _get_window(value, rate.value.seconds), spelled, value, ALL)
    with contextlib.suppress(ValueError):  # the window has passed meanwhile, and its count with it
        cache.decr(key)


def _spelled(limit: Limit) -> str:
    return f"{limit.count}/{limit.seconds}s"
