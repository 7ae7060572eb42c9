"""Parsers and validators of settings that are more than a number or a word. Pure.

A parser takes the text of a variable. Parsers and validators raise `environs.ValidationError` with a sentence that does
not repeat the value.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
import dj_email_url
import phonenumbers
from environs import ValidationError

from hitobit_portal.http import client_ip, destinations

MASTER_KEY_BYTES = 32  # AES-256
KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
LEAST_SECRET_KEY = 50  # characters
#: What a contact of security.txt may be (RFC 9116, 2.5.3).
CONTACT_SCHEMES = ("mailto", "https", "tel")
LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_PRINTABLE = re.compile(r"[!-~]+")


def master_keys(text: str) -> dict[str, bytes]:
    """``"id:base64,id:base64"`` as ``{id: 32 bytes}``. The first key encrypts; all keys decrypt.

    An error names the entry by its position.
    """
    ring: dict[str, bytes] = {}
    entries = filter(None, (part.strip() for part in re.split(r"[,\s]+", text)))
    for position, entry in enumerate(entries, start=1):
        key_id, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not KEY_ID.fullmatch(key_id) or len(key) != MASTER_KEY_BYTES or key_id in ring:
            raise ValidationError(
                f"Its entry {position} is not 'id:base64 of {MASTER_KEY_BYTES} random bytes', or its id is there twice."
            )
        ring[key_id] = key
    if not ring:
        raise ValidationError("It is empty; it needs at least one 'id:base64' entry.")
    return ring


def are_long(secret_keys: list[str]) -> None:
    if any(len(key) < LEAST_SECRET_KEY for key in secret_keys):
        raise ValidationError(f"It has a key that is shorter than {LEAST_SECRET_KEY} characters.")


def base_url(text: str) -> str:
    """The portal's own address: scheme and host, without a path."""
    text = text.rstrip("/")
    try:
        address = urlsplit(text)
        _port = address.port
        valid = address.scheme in ("http", "https") and bool(address.hostname) and not address.path
    except ValueError:
        valid = False
    if not valid:
        raise ValidationError("It is not an address such as https://keys.example.com.")
    return text


def are_named(hosts: list[str]) -> None:
    if any(host.strip() in ("*", ".") for host in hosts):
        raise ValidationError("It contains '*' or '.', which allows forged Host headers; name the hosts.")


def trusted_proxies(text: str) -> list[client_ip.Network]:
    """Networks, comma-separated, or ``none``."""
    try:
        return client_ip.parse_trusted([] if text == "none" else [part.strip() for part in text.split(",")])
    except ValueError:
        raise ValidationError(
            "It is not 'none' or networks such as 10.0.0.0/8; /0 would trust every address."
        ) from None


def webhook_networks(text: str) -> list[destinations.Network]:
    """Networks, comma-separated; none if it is empty."""
    try:
        return destinations.parse_networks([part.strip() for part in text.split(",") if part.strip()])
    except ValueError:
        raise ValidationError(
            "It is not networks such as 10.1.2.0/24; /0 would allow every address of the own network."
        ) from None


def countries(text: str) -> frozenset[str]:
    """Codes of countries (ISO 3166-1 alpha-2) in any case, comma-separated; at least one."""
    codes = frozenset(part.strip().upper() for part in text.split(",") if part.strip())
    if not codes or codes - phonenumbers.SUPPORTED_REGIONS:
        raise ValidationError("It is not a list of country codes (ISO 3166-1) such as IR or IR,DE.")
    return codes


def security_types(text: str) -> frozenset[str]:
    """Security types of the authorization API, comma-separated; ``signed`` always is one."""
    names = frozenset(part.strip() for part in text.split(",") if part.strip())
    if "signed" not in names or names - {"signed", "key", "none"}:
        raise ValidationError("It is not signed, or signed with key and none, separated by commas.")
    return names


def provider_url(text: str) -> str:
    """An address that gets keys and codes, without a slash at its end: https, or http on this machine only."""
    text = text.rstrip("/")
    try:
        address = urlsplit(text)
        _port = address.port
        safe = address.scheme == "https" or (address.scheme == "http" and address.hostname == "127.0.0.1")
        valid = not text or (safe and bool(address.hostname) and "@" not in address.netloc)
    except ValueError:
        valid = False
    if not valid:
        raise ValidationError(
            "It is not an address such as https://sms.example.com; http is for 127.0.0.1 only, and a key or password "
            "has a setting of its own."
        )
    return text


def is_protected(address: str) -> bool:
    """Return whether ``address`` is https, or http on this machine only, without a user or a fragment."""
    try:
        parts = urlsplit(address)
        _port = parts.port
    except ValueError:
        return False
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")
    return (
        safe
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and not parts.fragment
        and bool(_PRINTABLE.fullmatch(address))
    )


def issuer(text: str) -> str:
    """The issuer of an OpenID provider, unchanged: tokens repeat it to the letter, a slash at its end included."""
    if text and (not is_protected(text) or "?" in text):
        raise ValidationError(
            "It is not an address such as https://accounts.example.com; http is for 127.0.0.1 only."
        )
    return text


def email_url(text: str) -> dict[str, object]:
    """``smtp+tls://user:password@host:587/`` as Django's mail settings; none if it is empty."""
    if not text:
        return {}
    try:
        parsed: dict[str, object] = dict(dj_email_url.parse(text))
    except (KeyError, ValueError):
        parsed = {}
    # The library takes an unknown scheme without a word: notices would go into files.
    if not parsed.get("EMAIL_BACKEND"):
        raise ValidationError("It is not an address such as smtp+tls://user:password@host:587/.")
    names = ("BACKEND", "HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL", "FILE_PATH")
    return {f"EMAIL_{name}": parsed[f"EMAIL_{name}"] for name in names if parsed.get(f"EMAIL_{name}")}


def database_url(text: str) -> dict[str, Any]:
    """One entry of Django's ``DATABASES``, of PostgreSQL or SQLite."""
    try:
        database = dict(dj_database_url.parse(text, conn_max_age=0))
    except ValueError as error:
        raise ValidationError(f"It is not understood ({type(error).__name__}).") from None
    if database["ENGINE"] not in ("django.db.backends.sqlite3", "django.db.backends.postgresql"):
        raise ValidationError("It is neither sqlite:/// nor postgresql://.")
    return database


def pooler_url(text: str) -> dict[str, Any]:
    """The same of PostgreSQL alone; empty if there is no pooler."""
    database = database_url(text) if text else {}
    if database.get("ENGINE") == "django.db.backends.sqlite3":
        raise ValidationError("It is not postgresql://.")
    return database


@dataclass(frozen=True)
class SentinelAddress:
    """A ``redis+sentinel://`` address. ``password``: of the master and of the Sentinels; "" if there is none."""

    sentinels: list[tuple[str, int]]
    service: str
    database: int
    password: str


def sentinel_address(text: str) -> SentinelAddress | None:
    """``redis+sentinel://:password@host:26379,host:26379/service/0``; None for an address of another kind.

    ``service``: what the Sentinels call the master (``sentinel monitor service ...``).
    """
    scheme, _, rest = text.partition("://")
    if scheme != "redis+sentinel":
        return None
    credentials, _, location = rest.rpartition("@")
    hosts, _, path = location.partition("/")
    service, _, database = path.partition("/")
    sentinels = [_host_and_port(part) for part in hosts.split(",")]
    if not service or not (database or "0").isdecimal() or (credentials and credentials[0] != ":"):
        raise ValidationError("It is not redis+sentinel://:password@host:26379,host:26379/service/0.")
    return SentinelAddress(sentinels, service, int(database or "0"), unquote(credentials[1:]))


def _host_and_port(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or 26379
    except ValueError:
        host, port = None, 0
    if not host:
        raise ValidationError("It has a Sentinel that is not host:port.")
    return host, port


def is_redis_address(text: str) -> None:
    if not text.startswith(("redis://", "rediss://", "unix://", "redis+sentinel://")) and text:
        raise ValidationError("It does not begin with redis://, rediss://, unix:// or redis+sentinel://.")
    sentinel_address(text)


def contacts(text: str) -> list[str]:
    """Addresses (URIs) to which vulnerabilities are reported, comma-separated, the preferred one first."""
    addresses = [part.strip() for part in text.split(",") if part.strip()]
    for address in addresses:
        # SECURITY: each becomes a line of security.txt; a line feed in it would be a line of its own.
        if not _PRINTABLE.fullmatch(address) or address.partition(":")[0].lower() not in CONTACT_SCHEMES:
            raise ValidationError(
                "It is not a list of addresses such as mailto:security@example.com or https://..."
            )
    return addresses


def is_https(text: str) -> None:
    if text and not (_PRINTABLE.fullmatch(text) and text.startswith("https://")):
        raise ValidationError("It is not an address that begins with https://.")


def are_language_tags(tags: list[str]) -> None:
    if not all(map(LANGUAGE_TAG.fullmatch, tags)):
        raise ValidationError("It is not a list of language tags such as fa,en.")
