"""Named rates: how many, for whom, for how long."""

import time
from unittest import mock

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.test import override_settings
from redis.exceptions import RedisError

from hitobit_portal import ratelimits
from hitobit_portal.ratelimits import Rate

SMALL = Rate.FACTOR_ADDRESS


def exhaust(rate: Rate, value: str) -> None:
    for _n in range(rate.value.count):
        assert ratelimits.take(rate, value) is None


@pytest.mark.parametrize(
    "rate", [rate for rate in Rate if rate.value.count <= 100], ids=lambda rate: rate.name
)
def test_exactly_the_count_passes_and_then_there_is_a_time_to_wait(rate: Rate) -> None:
    exhaust(rate, "value")
    for _n in range(3):
        wait = ratelimits.take(rate, "value")
        assert wait is not None
        assert 1 <= wait <= rate.value.seconds


def test_one_value_does_not_use_up_another() -> None:
    exhaust(SMALL, "198.51.100.1")
    assert ratelimits.take(SMALL, "198.51.100.2") is None


def test_one_rate_does_not_use_up_another() -> None:
    exhaust(SMALL, "value")
    assert ratelimits.take(Rate.LOGIN_ADDRESS, "value") is None


def test_after_its_window_a_value_passes_again() -> None:
    exhaust(SMALL, "value")
    assert ratelimits.take(SMALL, "value") is not None
    with mock.patch("time.time", return_value=time.time() + SMALL.value.seconds):
        assert ratelimits.take(SMALL, "value") is None


def test_wait_that_is_told_is_long_enough() -> None:
    exhaust(SMALL, "value")
    wait = ratelimits.take(SMALL, "value")
    assert wait is not None
    with mock.patch("time.time", return_value=time.time() + wait + 1):
        assert ratelimits.take(SMALL, "value") is None


def test_given_back_slot_can_be_taken_again() -> None:
    exhaust(SMALL, "value")
    ratelimits.give_back(SMALL, "value")
    assert ratelimits.take(SMALL, "value") is None
    assert ratelimits.take(SMALL, "value") is not None


def test_giving_back_after_the_window_is_harmless() -> None:
    ratelimits.take(SMALL, "value")
    cache.clear()
    ratelimits.give_back(SMALL, "value")
    exhaust(SMALL, "value")


def test_odd_values_are_counted_like_others() -> None:
    for value in ("+989121234567|2001:db8::/64", "x" * 1000, "ربات", " ", ""):
        exhaust(SMALL, value)
        assert ratelimits.take(SMALL, value) is not None


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
    ],
)
def test_ipv6_customer_is_one_bucket(address: str, bucket: str) -> None:
    assert ratelimits.address_bucket(address) == bucket


def test_address_that_is_none_gets_no_bucket() -> None:
    with pytest.raises(ValueError, match="IP"):
        ratelimits.address_bucket("")


def test_unreachable_cache_lets_nobody_through() -> None:
    """SECURITY: a limiter that fails open is switched off by whoever overloads its cache."""
    closed = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    with (
        override_settings(CACHES={**django_settings.CACHES, "default": closed}),
        pytest.raises(RedisError),
    ):
        ratelimits.take(SMALL, "value")


def test_periods_are_what_they_say() -> None:
    """django-ratelimit reads some spellings ("5/H") as seconds: the period in force is measured, not read."""
    for rate in (Rate.SMS_PHONE, Rate.LOGIN_PHONE):
        cache.clear()
        exhaust(rate, "value")
        wait = ratelimits.take(rate, "value")
        assert wait is not None
        with mock.patch("time.time", return_value=time.time() + wait - 2):
            assert ratelimits.take(rate, "value") is not None or wait <= 2
