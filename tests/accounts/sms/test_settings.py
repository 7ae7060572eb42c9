"""Settings of SMS providers, and the masking of numbers."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from accounts.sms import numbers
from hitobit_portal.config import env

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
def test_address_of_a_provider_is_https_or_this_machine(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PORTAL_KAVENEGAR_URL", value)
    with pytest.raises(ImproperlyConfigured, match="PORTAL_KAVENEGAR_URL"):
        env.provider_url("PORTAL_KAVENEGAR_URL", "")
    monkeypatch.setenv("PORTAL_KAVENEGAR_URL", "http://127.0.0.1:8000/")
    assert env.provider_url("PORTAL_KAVENEGAR_URL", "") == "http://127.0.0.1:8000"


def test_address_with_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_SMS_HTTP_URL", "https://bot:Kn4ri3nv0gel@sms.example.com")
    with pytest.raises(ImproperlyConfigured) as refused:
        env.provider_url("PORTAL_SMS_HTTP_URL", "")
    assert "Kn4ri3nv0gel" not in str(refused.value)
