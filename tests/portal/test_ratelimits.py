"""Named rates: how many, for whom, for how long."""

import time
from collections.abc import Iterable
from typing import Any
from unittest import mock

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.test import override_settings
from redis.exceptions import RedisError

from accounts.factors import lockout
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate, Slot

SMALL = Rate.FACTOR_ADDRESS


def exhaust(rate: Rate, value: str) -> None:
    for _n in range(rate.value.count):
        assert ratelimits.acquire(rate, value) is None


@pytest.mark.parametrize(
    "rate", [rate for rate in Rate if rate.value.count <= 100], ids=lambda rate: rate.name
)
def test_exactly_the_count_passes_and_then_there_is_a_time_to_wait(rate: Rate) -> None:
    exhaust(rate, "value")
    for _n in range(3):
        wait = ratelimits.acquire(rate, "value")
        assert wait is not None
        assert 1 <= wait <= rate.value.seconds


def test_one_value_does_not_use_up_another() -> None:
    exhaust(SMALL, "198.51.100.1")
    assert ratelimits.acquire(SMALL, "198.51.100.2") is None


def test_one_rate_does_not_use_up_another() -> None:
    exhaust(SMALL, "value")
    assert ratelimits.acquire(Rate.LOGIN_ADDRESS, "value") is None


def test_after_its_window_a_value_passes_again() -> None:
    exhaust(SMALL, "value")
    assert ratelimits.acquire(SMALL, "value") is not None
    with mock.patch("time.time", return_value=time.time() + SMALL.value.seconds):
        assert ratelimits.acquire(SMALL, "value") is None


def test_wait_that_is_told_is_long_enough() -> None:
    exhaust(SMALL, "value")
    wait = ratelimits.acquire(SMALL, "value")
    assert wait is not None
    with mock.patch("time.time", return_value=time.time() + wait + 1):
        assert ratelimits.acquire(SMALL, "value") is None


def test_given_back_slot_can_be_taken_again() -> None:
    exhaust(SMALL, "value")
    ratelimits.release(SMALL, "value")
    assert ratelimits.acquire(SMALL, "value") is None
    assert ratelimits.acquire(SMALL, "value") is not None


def test_giving_back_after_the_window_is_harmless() -> None:
    ratelimits.acquire(SMALL, "value")
    cache.clear()
    ratelimits.release(SMALL, "value")
    exhaust(SMALL, "value")


def test_odd_values_are_counted_like_others() -> None:
    for value in ("+989121234567|2001:db8::/64", "x" * 1000, "ربات", " ", ""):
        exhaust(SMALL, value)
        assert ratelimits.acquire(SMALL, value) is not None


@pytest.mark.parametrize(
    ("address", "buckets"),
    [
        ("198.51.100.7", [("198.51.100.7", 1)]),
        ("2001:db8:1:2:3:4:5:6", [("2001:db8:1:2::/64", 1), ("2001:db8:1::/56", 2), ("2001:db8:1::/48", 4)]),
        (
            "2001:DB8:1:200::",
            [("2001:db8:1:200::/64", 1), ("2001:db8:1:200::/56", 2), ("2001:db8:1::/48", 4)],
        ),
    ],
)
def test_ipv6_counts_by_each_prefix_that_one_customer_may_have(
    address: str, buckets: list[tuple[str, int]]
) -> None:
    assert ratelimits.address_slots(SMALL, address) == [(SMALL, *bucket) for bucket in buckets]
    assert ratelimits.widest_bucket(address) == buckets[-1][0]


def test_address_that_is_none_gets_no_bucket() -> None:
    with pytest.raises(ValueError, match="IP"):
        ratelimits.address_slots(SMALL, "")


def passing(addresses: Iterable[str]) -> int:
    return sum(ratelimits.acquire_address(SMALL, address) is None for address in addresses)


def test_whoever_has_a_wide_ipv6_prefix_gets_a_few_times_the_count_and_not_thousands() -> None:
    count = SMALL.value.count
    assert passing(f"2001:db8:1:2::{n:x}" for n in range(100)) == count
    assert passing(f"2001:db8:1:{n:x}::1" for n in range(3, 100)) == count, "the rest of the /56"
    assert passing(f"2001:db8:1:{n:x}00::1" for n in range(1, 100)) == 2 * count, "the rest of the /48"
    assert passing(f"2001:db8:{n:x}::1" for n in range(2, 100)) == 98, "other people's"


def test_what_a_full_prefix_is_refused_uses_up_nothing_of_its_neighbours() -> None:
    passing("2001:db8:1:2::1" for _n in range(100))
    assert passing(f"2001:db8:1:{n:x}::1" for n in range(3, 100)) == SMALL.value.count


def test_what_one_rate_refuses_counts_against_no_other() -> None:
    exhaust(SMALL, "full")
    slots = [Slot(Rate.PASSWORD_CHECK, "mine"), Slot(SMALL, "full"), Slot(Rate.SMS_PHONE, "mine")]
    for _n in range(30):
        full = ratelimits.first_full(slots)
        assert full is not None
        assert full.slot == slots[1]
    exhaust(Rate.PASSWORD_CHECK, "mine")
    exhaust(Rate.SMS_PHONE, "mine")


def test_an_address_gets_back_what_it_did_not_use() -> None:
    for _n in range(100):
        assert ratelimits.acquire_address(SMALL, "2001:db8::1") is None
        ratelimits.release_all(ratelimits.address_slots(SMALL, "2001:db8::1"))


def test_unreachable_cache_lets_nobody_through() -> None:
    """SECURITY: a limiter that fails open is switched off by whoever overloads its cache."""
    closed = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    with (
        override_settings(CACHES={**django_settings.CACHES, "default": closed}),
        pytest.raises(RedisError),
    ):
        ratelimits.acquire(SMALL, "value")


def test_periods_are_what_they_say() -> None:
    """django-ratelimit reads some spellings ("5/H") as seconds: the period in force is measured, not read."""
    for rate in (Rate.SMS_PHONE, Rate.LOGIN_PHONE):
        cache.clear()
        exhaust(rate, "value")
        wait = ratelimits.acquire(rate, "value")
        assert wait is not None
        with mock.patch("time.time", return_value=time.time() + wait - 2):
            assert ratelimits.acquire(rate, "value") is not None or wait <= 2


#: Written down a second time on purpose: a number that is changed in the table alone is a change that nobody meant.
RATES = {
    "CALLER_ADDRESS": (60, 60),
    "KEY_REQUEST_CUSTOMER": (10, 86400),
    "THAW_REQUEST_CUSTOMER": (3, 86400),
    "LOGIN_ADDRESS": (30, 300),
    "LOGIN_PHONE_ADDRESS": (10, 300),
    "LOGIN_PHONE": (25, 900),
    "LOGIN_BROWSER": (10, 300),
    "LOGIN_LIMITED_EVENT": (1, 300),
    "EXCHANGE_LOGIN_ADDRESS": (60, 300),
    "EXCHANGE_ANSWER_ADDRESS": (30, 300),
    "EXCHANGE_LOGOUT_ADDRESS": (60, 300),
    "EXCHANGE_KEYS_ADDRESS": (5, 300),
    "DRAFT_ADDRESS": (30, 300),
    "SIGNUP_ADDRESS": (30, 3600),
    "FORGOT_ADDRESS": (30, 3600),
    "FORGOT_BROWSER": (30, 3600),
    "NOTICE_LINK_ADDRESS": (30, 300),
    "PASSWORD_STRENGTH_ADDRESS": (60, 60),
    "NEW_PASSWORD_ADDRESS": (30, 300),
    "PASSWORD_CHECK": (5, 300),
    "FACTOR_ADDRESS": (10, 300),
    "FACTOR_OUTSIDE_ADDRESS": (10, 300),
    "FACTOR_BROWSER": (120, 300),
    "SMS_OUTSIDE_PHONE": (6, 10_800),
    "SMS_OUTSIDE_ADDRESS": (30, 3600),
    "SMS_OUTSIDE_PREFIX": (300, 3600),
    "SMS_OUTSIDE_DAY": (5000, 86_400),
    "SMS_PHONE": (20, 600),
    "SMS_ACCOUNT": (100, 86_400),
    "SMS_NEW_NUMBER": (10, 86_400),
    "SMS_ADDRESS": (100, 3600),
    "SMS_PREFIX": (1000, 3600),
    "SMS_CAPPED_EVENT": (1, 3600),
    "NOTICE_ACCOUNT": (60, 86_400),
    "STAFF_VIEWED_EVENT": (1, 60),
    "EXPORT_ACCOUNT": (20, 3600),
    "DEBUGGER": (60, 300),
    "MANAGEMENT_TOKEN": (600, 60),
    "MANAGEMENT_POLL_EVENT": (1, 60),
    "SMS_DAY": (50_000, 86_400),
    "RECOVERY_RENEWED": (5, 3600),
}


def test_every_rate_is_what_it_was_decided_to_be() -> None:
    assert {rate.name: (rate.value.count, rate.value.seconds) for rate in Rate} == RATES
    assert ratelimits.WIDTHS == ((64, 1), (56, 2), (48, 4))


def test_the_counts_of_wrong_codes_are_what_they_were_decided_to_be() -> None:
    assert lockout.FAILURE_WINDOWS == ((5, 300), (20, 3600), (50, 86_400))
    assert (lockout.MAX_WAIT, lockout.MAX_CONSECUTIVE, lockout.MAX_CONSECUTIVE_KNOWN) == (900, 100, 10)


@pytest.mark.django_db
def test_caps_of_sms_are_settings(settings: Any) -> None:
    settings.SMS_DAY = 2
    assert [ratelimits.acquire(Rate.SMS_DAY, "all") is None for _n in range(3)] == [True, True, False]
    assert ratelimits.peak(Rate.SMS_DAY) == 1
    settings.SMS_PREFIX_HOUR = 1
    assert [ratelimits.acquire(Rate.SMS_PREFIX, "+989121") is None for _n in range(2)] == [True, False]
