"""Create sample customers with both factors, keys, networks and some usage, in batches. Not for production."""

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta

import pyotp
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone

from accounts.factors import verification
from accounts.models import SmsDevice, TotpDevice, User
from apikeys.models import AddressUse, AllowedNetwork, ApiKey, Credential, DailyUse
from apikeys.policy.choices import UNRESTRICTED_TRADE, IpPolicy, Permission
from apikeys.usage import recorder
from apikeys.verification.outcomes import Outcome
from hitobit_portal.security import crypto

#: No operator in Iran has numbers that begin with 0970, so that notices are never sent to a real person.
PREFIX = "+98970"
MAX_CUSTOMERS = 10**7
BATCH = 500
DAYS = 3
#: Labels of a customer's keys; every customer has one to three of them.
LABELS = ("bot", "reports", "trading")


def first_free() -> int:
    """Return the number of the next sample customer; existing ones are not changed."""
    last = User.objects.filter(phone__startswith=PREFIX).order_by("-phone").first()
    return int(last.phone.removeprefix(PREFIX)) + 1 if last is not None else 0


def load(count: int, password: str, progress: Callable[[int, int], None]) -> dict[str, int]:
    """Create ``count`` customers with the same ``password``, one transaction per batch. Return the numbers of rows.

    Raises `ValueError` if the range of phone numbers is exhausted.
    """
    start = first_free()
    if start + count > MAX_CUSTOMERS:
        raise ValueError("the range of phone numbers for sample data is used up")
    digest = make_password(
        password
    )  # one digest for all: argon2 takes 50 ms, so 10,000 digests take eight minutes
    made = {"customers": 0, "keys": 0}
    for at in range(0, count, BATCH):
        numbers = range(start + at, start + min(at + BATCH, count))
        with transaction.atomic():
            made["keys"] += _batch(numbers, digest)
        made["customers"] += len(numbers)
        progress(made["customers"], count)
    return made


def _batch(numbers: range, digest: str) -> int:
    now = timezone.now()
    users = User.objects.bulk_create(
        User(phone=f"{PREFIX}{n:07d}", name=f"Trial {n}", password=digest, joined_at=now) for n in numbers
    )
    confirmed = {"confirmed": True, "confirmed_at": now}
    SmsDevice.objects.bulk_create(SmsDevice(user=u, name="sms", number=u.phone, **confirmed) for u in users)
    TotpDevice.objects.bulk_create(
        TotpDevice(user=u, name="totp", seed_sealed=_seed(u), **confirmed) for u in users
    )
    keys = [key for n, user in zip(numbers, users, strict=True) for key in _keys(n, user)]
    ApiKey.objects.bulk_create(keys)
    Credential.objects.bulk_create([Credential.new(key, None) for key in keys])
    trusted = [key for key in keys if key.ip_policy == IpPolicy.TRUSTED]
    AllowedNetwork.objects.bulk_create(
        AllowedNetwork(key=key, value=value)
        for key in trusted
        for value in (_address(key), "198.51.100.0/24")
    )
    DailyUse.objects.bulk_create(day for key in keys for day in _days(key))
    AddressUse.objects.bulk_create(
        AddressUse(key=key, address=_address(key), last_at=now, count=DAYS) for key in keys
    )
    return len(keys)


def _seed(user: User) -> str:
    return crypto.seal(pyotp.random_base32().encode(), verification.seal_owner(user))


def _keys(number: int, owner: User) -> Iterator[ApiKey]:
    """Yield one to three keys: reading from any address, reading from listed addresses, trading from either."""
    now = timezone.now()
    for n, label in enumerate(LABELS[: number % len(LABELS) + 1]):
        key = ApiKey(owner=owner, label=label, label_folded=label, key_id=_key_id(), last_used_at=now)
        key.created_at = now - timedelta(days=number % 365)
        if n != 0:
            key.ip_policy = IpPolicy.TRUSTED if number % 2 else IpPolicy.UNRESTRICTED
        if n == 2:
            key.can_trade = True
            key.trade_until = now + UNRESTRICTED_TRADE if key.ip_policy == IpPolicy.UNRESTRICTED else None
        yield key


def _key_id() -> str:
    """Return 64 hexadecimal digits: sufficient for a public id, in a fiftieth of the time of `random_text`."""
    return secrets.token_hex(32)


def _address(key: ApiKey) -> str:
    """Return an address of the range of RFC 2544, a different one for most keys."""
    return f"198.18.{key.id.int >> 8 & 255}.{key.id.int & 255}"


def _days(key: ApiKey) -> Iterator[DailyUse]:
    for ago in range(DAYS):
        day = recorder.today() - timedelta(days=ago)
        yield DailyUse(
            key=key, day=day, outcome=Outcome.ALLOWED.value, permission=Permission.READ.value,
            count=1 + key.id.int % 5000,
        )  # fmt: skip
    if key.id.int % 10 == 0:
        yield DailyUse(key=key, day=recorder.today(), outcome=Outcome.SIGNATURE.value, count=3)
