"""Settings from the environment: strict readers and the key ring's format.

Every ``PORTAL_*`` name, ``DATABASE_URL`` and ``REDIS_URL`` may also be given as ``NAME_FILE``, a path to a
file with the value (Docker and systemd secrets). What is not understood raises `ImproperlyConfigured` with a
sentence that names the variable and never repeats its value.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import dj_email_url
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv

from hitobit_portal.config import declarations

T = TypeVar("T")
MASTER_KEY_BYTES = 32  # AES-256
KEY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")

#: Every variable the portal reads. `unknown_names` reports the rest, so that a typing error is not an insecure default.
#: A new one goes into `hitobit_portal.config.declarations`, with its meaning and default.
KNOWN = declarations.NAMES

environment = FileAwareEnv(strip_whitespace=True)


def read(name: str, reader: Callable[..., T], **options: object) -> T:
    """The value of ``name`` by one of ``environment``'s readers, or `ImproperlyConfigured` naming it."""
    if name not in KNOWN:
        raise AssertionError(f"{name} is missing in settings_table.TABLE")
    if name in os.environ and f"{name}_FILE" in os.environ:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set; keep one of them.")
    try:
        return reader(name, **options)
    except EnvError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None
    except ValueError as error:
        # SECURITY: a parser's message may repeat the value, and the value may be a password.
        reason = str(error) if f"{name}_FILE" in os.environ else type(error).__name__
        raise ImproperlyConfigured(f"{name} is not understood ({reason}).") from None


def provider_url(name: str, default: str) -> str:
    """An address that gets keys and codes, without a slash at its end: https, or http on this machine alone."""
    value = read(name, environment.str, default=default).rstrip("/")
    try:
        address = urlsplit(value)
        _port = address.port
        safe = address.scheme == "https" or (address.scheme == "http" and address.hostname == "127.0.0.1")
        good = not value or (safe and bool(address.hostname) and "@" not in address.netloc)
    except ValueError:
        good = False
    if not good:
        raise ImproperlyConfigured(
            f"{name} is not an address such as https://sms.example.com; http is for 127.0.0.1 only, and a key or "
            "password has a setting of its own."
        )
    return value


def unknown_names() -> list[str]:
    """``PORTAL_*`` variables that nothing reads, sorted. ``PORTAL_TEST_*`` belongs to the tests."""
    names = (name.removesuffix("_FILE") for name in os.environ if name.startswith("PORTAL_"))
    return sorted({name for name in names if name not in KNOWN and not name.startswith("PORTAL_TEST")})


def parse_master_keys(text: str) -> dict[str, bytes]:
    """``"id:base64,id:base64"`` as ``{id: 32 bytes}``; the first key seals, all of them open.

    Raises `ImproperlyConfigured`, naming the entry by its position and never by its content.
    """
    ring: dict[str, bytes] = {}
    for position, entry in enumerate(
        filter(None, (part.strip() for part in re.split(r"[,\s]+", text))), start=1
    ):
        name, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not KEY_NAME.fullmatch(name) or len(key) != MASTER_KEY_BYTES or name in ring:
            raise ImproperlyConfigured(
                f"PORTAL_MASTER_KEYS: entry {position} is not 'id:base64 of {MASTER_KEY_BYTES} random bytes', "
                "or its id is there twice."
            )
        ring[name] = key
    if not ring:
        raise ImproperlyConfigured("PORTAL_MASTER_KEYS is empty; it needs at least one 'id:base64' entry.")
    return ring


def parse_email_url(url: str) -> dict[str, object]:
    """``smtp+tls://user:password@host:587/`` as Django's mail settings."""
    try:
        found: dict[str, object] = dict(dj_email_url.parse(url))
    except (KeyError, ValueError):
        raise ImproperlyConfigured("PORTAL_EMAIL_URL is not an address such as smtp+tls://...") from None
    wanted = ("BACKEND", "HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL", "FILE_PATH")
    return {f"EMAIL_{name}": found[f"EMAIL_{name}"] for name in wanted if found.get(f"EMAIL_{name}")}
