"""The one owner of "is this person verified, for what": checks codes, counts failures, uses each code once.

The order is always: lock the person's `FactorGuard` row, look at the count, compare **every** factor, count or consume,
commit, answer. A refusal travels out as a value: an exception would roll its own count back.
"""

import enum
import functools
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyotp
from django.db import models, transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit, drift, guessing, known_browsers
from accounts.events import Event
from accounts.models import FactorGuard, RecoveryCode, SmsCode, SmsDevice, TotpDevice, User
from accounts.purposes import NEW_NUMBER, OUTSIDE, Approval, Purpose
from hitobit_portal import crypto, ratelimits
from hitobit_portal.context import address_of
from hitobit_portal.ratelimits import Rate, Slot

logger = logging.getLogger("portal.otp")

TOTP_PERIOD = 30
TOTP_DRIFT_STEPS = 1  # RFC 6238 section 5.2: one step either way for the network and slow typists
SMS_LIFETIME = timedelta(minutes=2)
NOBODY = "accounts.totp:nobody"


class Factor(enum.Enum):
    TOTP = "totp"
    SMS = "sms"
    RECOVERY = "recovery"


class Outcome(enum.Enum):
    ACCEPTED = "accepted"
    REFUSED = "refused"  # at least one factor was wrong; which one is not said
    LOCKED = "locked"  # too many failures; nothing was compared
    ALREADY_DONE = "already done"  # what the codes would approve exists; nothing was compared


@dataclass(frozen=True)
class Result:
    outcome: Outcome
    retry_after: int = 0
    value: Any = None

    @property
    def accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED


def verify(
    request: HttpRequest,
    user: User,
    approval: Approval,
    codes: Mapping[Factor, str],
    *,
    effect: Callable[[], Any] | None = None,
    already_done: Callable[[], Any] | None = None,
) -> Result:
    """Checks all ``codes`` together for ``approval``; each is used up at most once, even by 1000 requests at once.

    ``effect`` runs in the transaction that uses the codes up: it happens exactly when they are accepted, and when it
    raises, they are not used. ``already_done`` is asked under the lock (a double click finds the first one's work).
    """
    known = bool(known_browsers.of(request, user))
    slots = _slots(request, user, approval, known)
    # SECURITY: the address's slot is taken before comparing, or parallel guesses over many accounts outrun it.
    wait = ratelimits.take_all(slots)
    if wait is not None:
        return Result(Outcome.LOCKED, retry_after=wait)
    try:
        result = _verify_locked(user, approval, codes, known, effect, already_done)
    except Exception:
        ratelimits.give_back_all(slots)  # the codes were right; what they allow failed
        raise
    if result.outcome is not Outcome.REFUSED:
        ratelimits.give_back_all(slots)
    if result.outcome is Outcome.REFUSED:
        _tell_refusal(request, user, approval, known)
    return result


def _slots(request: HttpRequest, user: User, approval: Approval, known: bool) -> list[Slot]:
    """Where a wrong code counts besides the account's guard.

    SECURITY: known browsers apart from the address, and codes before any password apart from the others, or a visitor
    who types wrong ones at sign-up locks every customer behind the same address.
    """
    if known:
        return [Slot(Rate.FACTOR_BROWSER, str(user.pk))]
    rate = Rate.FACTOR_OUTSIDE_ADDRESS if approval.purpose in OUTSIDE else Rate.FACTOR_ADDRESS
    return ratelimits.address_slots(rate, address_of(request))


def _verify_locked(
    user: User,
    approval: Approval,
    codes: Mapping[Factor, str],
    known: bool,
    effect: Callable[[], Any] | None,
    already_done: Callable[[], Any] | None,
) -> Result:
    with transaction.atomic(durable=True):
        guard = lock(user)
        if already_done is not None and (value := already_done()):
            return Result(Outcome.ALREADY_DONE, value=value)
        now = time.time()
        outside = approval.purpose in OUTSIDE
        counted = guessing.which(guard, outside=outside, known=known)
        wait = guessing.waiting_time(guard, now, counted)
        if wait:
            return Result(Outcome.LOCKED, retry_after=wait)
        # SECURITY: a list, not a generator: all factors are evaluated, so time does not tell which one was wrong.
        uses = [_match(factor, user, approval, code, now) for factor, code in codes.items()]
        if not uses or not all(uses):
            guessing.count_failure(guard, now, counted)
            return Result(Outcome.REFUSED)
        for use in uses:
            if use is not None:
                use()
        guessing.forgive(guard, outside or approval.purpose is Purpose.LOGIN)
        return Result(Outcome.ACCEPTED, value=effect() if effect else None)


def lock(user: User) -> FactorGuard:
    """The person's guard row, locked until the transaction ends. SQLite's transactions are IMMEDIATE: already alone."""
    FactorGuard.objects.get_or_create(user=user)
    return FactorGuard.objects.select_for_update().get(user=user)


def _match(
    factor: Factor, user: User, approval: Approval, code: str, now: float
) -> Callable[[], None] | None:
    """What uses the code up, or None when it is wrong."""
    if factor is Factor.TOTP:
        return _match_totp(user, approval, code, now)
    if factor is Factor.SMS:
        return _match_sms(user, approval, code)
    return _match_recovery(user, code)


def _match_totp(user: User, approval: Approval, code: str, now: float) -> Callable[[], None] | None:
    device = TotpDevice.objects.filter(user=user).first()
    sealed, owner = _sealed_seed(device, user, approval.purpose)
    generator = pyotp.TOTP(crypto.unseal(sealed, owner).decode())
    step = int(now) // TOTP_PERIOD
    # SECURITY: the step is compared, not the code: A(t), B(t+1), then A again is refused.
    found = [
        candidate
        for candidate in range(step - TOTP_DRIFT_STEPS, step + TOTP_DRIFT_STEPS + 1)
        if hmac.compare_digest(generator.generate_otp(candidate).encode(), code.encode())
    ]
    # A new seed has its own steps; the last step of the old one says nothing about it.
    last = device.last_step if device and approval.purpose is not Purpose.CONFIRM_TOTP else -1
    found = [candidate for candidate in found if candidate > last]
    if device is None or owner == NOBODY or not found:
        return None

    def use() -> None:
        device.last_step = found[0]
        device.last_used_at = timezone.now()
        device.drifts = drift.noted(device.drifts, found[0] - step)
        device.save(update_fields=["last_step", "last_used_at", "drifts"])

    return use


def _sealed_seed(device: TotpDevice | None, user: User, purpose: Purpose) -> tuple[str, str]:
    """The seed that counts for ``purpose`` and its owner; nobody's where there is none, so that it costs the same."""
    if device is not None and purpose is Purpose.CONFIRM_TOTP and device.next_seed_sealed:
        return device.next_seed_sealed, seal_owner(user, "next")
    # SECURITY: an unconfirmed device satisfies nothing but its own enrolment; a posted device id is never looked at.
    usable = device is not None and (device.confirmed or purpose is Purpose.ENROL_TOTP)
    if device is not None and usable and purpose is not Purpose.CONFIRM_TOTP:
        return device.seed_sealed, seal_owner(user)
    return _nobodys_seed(crypto.current_key_id()), NOBODY


@functools.cache
def _nobodys_seed(key_id: str) -> str:
    return crypto.seal(pyotp.random_base32().encode(), NOBODY)


def seal_owner(user: User, which: str = "") -> str:
    """The owner of a sealed seed; ``which`` is "next" for the one that waits for its first code."""
    return f"accounts.totp{'.' + which if which else ''}:{user.pk}"


def _match_sms(user: User, approval: Approval, code: str) -> Callable[[], None] | None:
    row = SmsCode.objects.filter(
        user=user, purpose=approval.purpose.value, expires_at__gt=timezone.now()
    ).first()
    digest = row.digest if row else crypto.digest("sms-code", "nobody")
    right = crypto.matches(digest, "sms-code", str(user.pk), approval.binding, code)
    if row is None or not right or not hmac.compare_digest(row.binding, approval.binding):
        return None
    # SECURITY: a phone that was never confirmed proves nothing, except in its own enrolment.
    confirmed = SmsDevice.objects.filter(user=user, confirmed=True, number=user.phone).exists()
    if not confirmed and approval.purpose not in NEW_NUMBER:
        return None

    def use() -> None:
        row.delete()
        SmsDevice.objects.filter(user=user).update(last_used_at=timezone.now())

    return use


def _match_recovery(user: User, code: str) -> Callable[[], None] | None:
    codes = RecoveryCode.objects.filter(device__user=user, device__confirmed=True, used_at=None)
    found = [row for row in codes if crypto.matches(row.digest, "recovery-code", str(user.pk), code)]
    if not found:
        return None

    def use() -> None:
        found[0].used_at = timezone.now()
        found[0].save(update_fields=["used_at"])

    return use


def _tell_refusal(request: HttpRequest, user: User, approval: Approval, known: bool) -> None:
    guard = FactorGuard.objects.get(user=user)
    counted = guessing.which(guard, outside=approval.purpose in OUTSIDE, known=known)
    locked = guessing.waiting_time(guard, time.time(), counted) > 0
    event = Event.CODE_LOCKED if locked else Event.CODE_REFUSED
    audit.record(event, request, customer=user, succeeded=False, purpose=approval.purpose.value)
    if locked:
        logger.warning("codes locked: user=%s failures_in_a_row=%s", user.pk, guard.in_a_row)


def recovery_left(user: User) -> int:
    return (
        RecoveryCode.objects.filter(device__user=user, used_at=None).aggregate(n=models.Count("pk"))["n"] or 0
    )
