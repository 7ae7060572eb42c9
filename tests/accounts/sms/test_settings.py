"""Settings of SMS providers, and the masking of numbers."""

from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from environs import ValidationError

from accounts.sms import numbers
from hitobit_portal.config import parsers

PHONE = "+989121234567"


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        (PHONE, "+98912•••4567"),
        ("+12345678", "+123•••78"),
        ("+123456789012345", "+12345•••2345"),
        ("", "•••"),
    ],
)
def test_mask_hides_at_least_three_digits(phone: str, masked: str) -> None:
    assert numbers.masked(phone) == masked


@pytest.mark.parametrize(
    ("backend", "missing"),
    [("kavenegar", ["KAVENEGAR_API_KEY"]), ("smsir", ["SMSIR_API_KEY", "SMSIR_LINE"]),
     ("http", ["SMS_HTTP_URL", "SMS_HTTP_TOKEN"])],
)  # fmt: skip
def test_check_names_the_settings_that_a_provider_lacks(
    settings: Any, backend: str, missing: list[str]
) -> None:
    settings.SMS_BACKENDS = [f"accounts.sms.{backend}"]
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert str(refused.value).count("portal.E008") == len(missing)
    for name in missing:
        assert f"PORTAL_{name} " in str(refused.value)
        setattr(settings, name, "1")
    call_command("check")


@pytest.mark.parametrize(
    "value", ["http://sms.example.com", "ftp://127.0.0.1", "sms.example.com", "https://", "https://a:b@c.example",
              "https://c.example:x", "http://127.0.0.1.example.com", "http://127.0.0.1@example.com"],
)  # fmt: skip
def test_address_of_a_provider_is_https_or_this_machine(value: str) -> None:
    with pytest.raises(ValidationError, match=r"https://sms\.example\.com"):
        parsers.provider_url(value)
    assert parsers.provider_url("http://127.0.0.1:8000/") == "http://127.0.0.1:8000"


def test_address_with_a_password_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as refused:
        parsers.provider_url("https://bot:Kn4ri3nv0gel@sms.example.com")
    assert "Kn4ri3nv0gel" not in str(refused.value)
