"""The one owner of "is this person verified, for what": checks codes, counts failures, uses each code once.

The order is always: lock the person's `FactorGuard` row, see that the login that asks goes on, look at the count,
compare **every** factor, count or consume, commit, answer. A refusal travels out as a value: an exception would roll
its own count back.
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

from accounts import audit
from accounts.access import known_browsers, logins
from accounts.choices import clock_drift
from accounts.choices.approvals import NEW_AUTHENTICATOR, NEW_NUMBER, OUTSIDE, Approval, Purpose
from accounts.choices.events import Event
from accounts.factors import lockout
from accounts.models import FactorGuard, RecoveryCode, SmsCode, SmsDevice, TotpDevice, User
from hitobit_portal.http.context import address_of
from hitobit_portal.security import crypto, ratelimits
from hitobit_portal.security.ratelimits import Rate, Slot

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
    OVER = "over"  # the login that asks was ended meanwhile; nothing was compared
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
    seed: str = "",
) -> Result:
    """Checks all ``codes`` together for ``approval``; each is used up at most once, even by 1000 requests at once.

    ``effect`` runs in the transaction that uses the codes up: it happens exactly when they are accepted, and when it
    raises, they are not used. ``already_done`` is asked under the lock (a double click finds the first one's work).
    ``seed``: of the authenticator that is turned on (`purposes.NEW_AUTHENTICATOR`), as this login has seen it.
    """
    known = bool(known_browsers.of(request, user))
    slots = _slots(request, user, approval, known)
    # SECURITY: the address's slot is taken before comparing, or parallel guesses over many accounts outrun it.
    wait = ratelimits.acquire_all(slots)
    if wait is not None:
        return Result(Outcome.LOCKED, retry_after=wait)
    try:
        result = _verify_locked(request, user, approval, codes, known, effect, already_done, seed)
    except Exception:
        ratelimits.release_all(slots)  # the codes were right; what they allow failed
        raise
    if result.outcome is not Outcome.REFUSED:
        ratelimits.release_all(slots)
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
    request: HttpRequest,
    user: User,
    approval: Approval,
    codes: Mapping[Factor, str],
    known: bool,
    effect: Callable[[], Any] | None,
    already_done: Callable[[], Any] | None,
    seed: str,
) -> Result:
    with transaction.atomic(durable=True):
        guard = lock(user)
        # SECURITY: read under the lock that also guards its change: number, password and epoch of before may be over.
        person = User.objects.get(pk=user.pk)
        nonce = logins.current(request, person, approval.purpose)
        if not nonce:
            return Result(Outcome.OVER)
        if already_done is not None and (value := already_done()):
            return Result(Outcome.ALREADY_DONE, value=value)
        now = time.time()
        outside = approval.purpose in OUTSIDE
        counted = lockout.which(guard, outside=outside, known=known)
        wait = lockout.waiting_time(guard, now, counted)
        if wait:
            return Result(Outcome.LOCKED, retry_after=wait)
        # SECURITY: a list, not a generator: all factors are evaluated, so time does not tell which one was wrong.
        asked = Asked(person, approval, nonce, seed, now)
        uses = [_match(factor, asked, code) for factor, code in codes.items()]
        if not uses or not all(uses):
            lockout.count_failure(guard, now, counted)
            return Result(Outcome.REFUSED)
        for use in uses:
            if use is not None:
                use()
        lockout.forgive(guard, outside or approval.purpose is Purpose.LOGIN)
        return Result(Outcome.ACCEPTED, value=effect() if effect else None)


def lock(user: User) -> FactorGuard:
    """The person's guard row, locked until the transaction ends. SQLite's transactions are IMMEDIATE: already alone."""
    FactorGuard.objects.get_or_create(user=user)
    return FactorGuard.objects.select_for_update().get(user=user)


@dataclass(frozen=True)
class Asked:
    """What the codes are compared for. ``user``: the row as it is under the lock; ``nonce``: of the login that asks."""

    user: User
    approval: Approval
    nonce: str
    seed: str
    now: float


def _match(factor: Factor, asked: Asked, code: str) -> Callable[[], None] | None:
    """What uses the code up, or None when it is wrong."""
    if factor is Factor.TOTP:
        return _match_totp(asked, code)
    if factor is Factor.SMS:
        return _match_sms(asked, code)
    return _match_recovery(asked.user, code)


def _match_totp(asked: Asked, code: str) -> Callable[[], None] | None:
    user, purpose = asked.user, asked.approval.purpose
    device = TotpDevice.objects.filter(user=user).first()
    seed = _seed(device, asked)
    generator = pyotp.TOTP(seed or crypto.unseal(_nobodys_seed(crypto.current_key_id()), NOBODY).decode())
    step = int(asked.now) // TOTP_PERIOD
    # SECURITY: the step is compared, not the code: A(t), B(t+1), then A again is refused.
    found = [
        candidate
        for candidate in range(step - TOTP_DRIFT_STEPS, step + TOTP_DRIFT_STEPS + 1)
        if hmac.compare_digest(generator.generate_otp(candidate).encode(), code.encode())
    ]
    # A new seed has its own steps; the last step of the old one says nothing about it.
    last = device.last_step if device and purpose not in NEW_AUTHENTICATOR else -1
    found = [candidate for candidate in found if candidate > last]
    if not seed or not found:
        return None
    row = device or TotpDevice(user=user, name="totp", confirmed=False)

    def use() -> None:
        row.last_step = found[0]
        row.last_used_at = timezone.now()
        row.drifts = clock_drift.noted(row.drifts, found[0] - step)
        if purpose is Purpose.ENROL_TOTP:
            # Confirmed by the effect; until then it satisfies nothing.
            row.seed_sealed = crypto.seal(seed.encode(), seal_owner(user))
            row.save()
        else:
            row.save(update_fields=["last_step", "last_used_at", "drifts"])

    return use


def _seed(device: TotpDevice | None, asked: Asked) -> str:
    """The seed that counts for what is asked; "" where there is none (then nobody's costs the same)."""
    purpose, is_confirmed = asked.approval.purpose, device is not None and device.confirmed
    if purpose in NEW_AUTHENTICATOR:
        # SECURITY: once somebody has confirmed the first one, no other half-finished login confirms its own.
        return asked.seed if is_confirmed == (purpose is Purpose.CONFIRM_TOTP) else ""
    # SECURITY: an unconfirmed device satisfies nothing; a posted device id is never looked at.
    if device is None or not is_confirmed:
        return ""
    return crypto.unseal(device.seed_sealed, seal_owner(asked.user)).decode()


@functools.cache
def _nobodys_seed(key_id: str) -> str:
    return crypto.seal(pyotp.random_base32().encode(), NOBODY)


def seal_owner(user: User, which: str = "") -> str:
    """The owner of a sealed seed; ``which`` is "next" for one that the version before sealed until its first code."""
    return f"accounts.totp{'.' + which if which else ''}:{user.pk}"


def sms_parts(user: User, approval: Approval, nonce: str, code: str) -> tuple[str, ...]:
    """What the digest of an SMS code is made of, besides its use.

    SECURITY: all that the code depends on: whose it is, what it approves, the login that asked for it, and the number
    that it went to. If any of them is another one by now, the code is wrong.
    """
    number = approval.to or user.phone
    return str(user.pk), approval.binding, logins.digest(nonce), number, code


def _match_sms(asked: Asked, code: str) -> Callable[[], None] | None:
    user, approval = asked.user, asked.approval
    row = SmsCode.objects.filter(
        user=user, purpose=approval.purpose.value, expires_at__gt=timezone.now()
    ).first()
    digest = row.digest if row else crypto.digest("sms-code", "nobody")
    right = crypto.matches(digest, "sms-code", *sms_parts(user, approval, asked.nonce, code))
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
    counted = lockout.which(guard, outside=approval.purpose in OUTSIDE, known=known)
    locked = lockout.waiting_time(guard, time.time(), counted) > 0
    event = Event.CODE_LOCKED if locked else Event.CODE_REFUSED
    audit.record(event, request, customer=user, succeeded=False, purpose=approval.purpose.value)
    if locked:
        logger.warning("codes locked: user=%s failures_in_a_row=%s", user.pk, guard.in_a_row)


def recovery_left(user: User) -> int:
    return (
        RecoveryCode.objects.filter(device__user=user, used_at=None).aggregate(n=models.Count("pk"))["n"] or 0
    )
