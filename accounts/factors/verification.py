"""Verify codes: check them, count failures, and consume each code once. Nothing else in the portal compares codes.

The order is always: lock the user's `FactorGuard` row, check that the login is still valid, check the lockout,
compare **every** factor, record the failure or consume the codes, commit, respond. A rejection is returned as a value:
an exception would roll the recorded failure back.
"""

import enum
import functools
import hmac
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyotp
from django.db import transaction
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
TOTP_DRIFT_STEPS = 1  # RFC 6238 section 5.2: one step either way for network delay and slow typing
SMS_LIFETIME = timedelta(minutes=2)
DUMMY_OWNER = "accounts.totp:nobody"


class Factor(enum.Enum):
    TOTP = "totp"
    SMS = "sms"
    RECOVERY = "recovery"


class VerificationOutcome(enum.Enum):
    ACCEPTED = "accepted"
    REFUSED = "refused"  # at least one factor was wrong; the response does not say which
    LOCKED = "locked"  # too many failures; nothing was compared
    LOGIN_ENDED = "over"  # the login ended meanwhile; nothing was compared
    #: The authenticator's code is the one that was accepted last. Nothing was counted, whatever the other factor was.
    SPENT = "spent"
    ALREADY_DONE = "already done"  # what the codes would approve already exists; nothing was compared


@dataclass(frozen=True)
class VerificationResult:
    """``retry_after``: seconds until codes are compared again (LOCKED), or until the next code can be used (SPENT)."""

    outcome: VerificationOutcome
    retry_after: int = 0
    value: Any = None

    @property
    def accepted(self) -> bool:
        return self.outcome is VerificationOutcome.ACCEPTED


def verify(
    request: HttpRequest,
    user: User,
    approval: Approval,
    codes: Mapping[Factor, str],
    *,
    effect: Callable[[], Any] | None = None,
    already_done: Callable[[], Any] | None = None,
    seed: str = "",
) -> VerificationResult:
    """Check all ``codes`` together for ``approval``. Each code is consumed at most once, even by 1000 parallel
    requests.

    ``effect`` runs in the transaction that consumes the codes: it happens if and only if they are accepted; if it
    raises, they are not consumed. ``already_done`` is called under the lock (a double click finds the result of the
    first request). ``seed``: of the authenticator that is confirmed (`approvals.NEW_AUTHENTICATOR`), as this login
    has shown it.
    """
    is_known_browser = bool(known_browsers.identify(request, user))
    slots = _slots(request, user, approval, is_known_browser)
    # SECURITY: the slot of the address is acquired before comparing, or parallel guesses over many accounts would
    # exceed the limit.
    wait = ratelimits.acquire_all(slots)
    if wait is not None:
        return VerificationResult(VerificationOutcome.LOCKED, retry_after=wait)
    try:
        result = _verify_locked(request, user, approval, codes, is_known_browser, effect, already_done, seed)
    except Exception:
        ratelimits.release_all(slots)  # the codes were right; the effect failed
        raise
    if result.outcome is not VerificationOutcome.REFUSED:
        ratelimits.release_all(slots)
    if result.outcome is VerificationOutcome.REFUSED:
        _record_rejection(request, user, approval, is_known_browser)
    return result


def _slots(request: HttpRequest, user: User, approval: Approval, is_known_browser: bool) -> list[Slot]:
    """Return the rate limits for wrong codes beside the account's guard.

    SECURITY: known browsers do not count against the address, and pre-login codes have separate limits; otherwise
    wrong codes at sign-up would lock every customer behind the same address.
    """
    if is_known_browser:
        return [Slot(Rate.FACTOR_BROWSER, str(user.pk))]
    rate = Rate.FACTOR_OUTSIDE_ADDRESS if approval.purpose in OUTSIDE else Rate.FACTOR_ADDRESS
    return ratelimits.address_slots(rate, address_of(request))


def _verify_locked(
    request: HttpRequest,
    user: User,
    approval: Approval,
    codes: Mapping[Factor, str],
    is_known_browser: bool,
    effect: Callable[[], Any] | None,
    already_done: Callable[[], Any] | None,
    seed: str,
) -> VerificationResult:
    with transaction.atomic(durable=True):
        guard = lock(user)
        # SECURITY: read under the lock that also guards changes: number, password and epoch may have changed.
        person = User.objects.get(pk=user.pk)
        nonce = logins.current_nonce(request, person, approval.purpose)
        if not nonce:
            return VerificationResult(VerificationOutcome.LOGIN_ENDED)
        if already_done is not None and (value := already_done()):
            return VerificationResult(VerificationOutcome.ALREADY_DONE, value=value)
        now = time.time()
        pre_login = approval.purpose in OUTSIDE
        counter = lockout.select_counter(guard, pre_login=pre_login, is_known_browser=is_known_browser)
        wait = lockout.lockout_seconds(guard, now, counter)
        if wait:
            return VerificationResult(VerificationOutcome.LOCKED, retry_after=wait)
        # SECURITY: a list, not a generator: all factors are evaluated, so timing does not reveal which one was wrong.
        check = CodeCheck(person, approval, nonce, seed, now)
        consumers = [_match(factor, check, code) for factor, code in codes.items()]
        if not consumers or not all(consumers):
            # SECURITY: decided without the result of the other factor, and only after a complete login. If a wrong SMS
            # code made a difference here, a spent code would give unlimited guesses of it.
            if Factor.TOTP in codes and logins.is_complete(request, approval.purpose):
                until_next = _seconds_if_spent(check, codes[Factor.TOTP])
                if until_next is not None:
                    return VerificationResult(VerificationOutcome.SPENT, retry_after=until_next)
            lockout.record_failure(guard, now, counter)
            return VerificationResult(VerificationOutcome.REFUSED)
        for consume in consumers:
            if consume is not None:
                consume()
        lockout.reset_failures(guard, pre_login or approval.purpose is Purpose.LOGIN)
        return VerificationResult(VerificationOutcome.ACCEPTED, value=effect() if effect else None)


def lock(user: User) -> FactorGuard:
    """Return the user's guard row, locked until the transaction ends. On SQLite, transactions are IMMEDIATE and
    already exclusive.
    """
    FactorGuard.objects.get_or_create(user=user)
    return FactorGuard.objects.select_for_update().get(user=user)


@dataclass(frozen=True)
class CodeCheck:
    """The input of a comparison. ``user``: the row as read under the lock; ``nonce``: of the login."""

    user: User
    approval: Approval
    nonce: str
    seed: str
    now: float


def _match(factor: Factor, check: CodeCheck, code: str) -> Callable[[], None] | None:
    """Return a function that consumes the code, or None if the code is wrong."""
    if factor is Factor.TOTP:
        return _match_totp(check, code)
    if factor is Factor.SMS:
        return _match_sms(check, code)
    return _match_recovery(check.user, code)


def _match_totp(check: CodeCheck, code: str) -> Callable[[], None] | None:
    user, purpose = check.user, check.approval.purpose
    device = TotpDevice.objects.filter(user=user).first()
    seed = _seed(device, check)
    generator = pyotp.TOTP(seed or crypto.unseal(_dummy_seed(crypto.current_key_id()), DUMMY_OWNER).decode())
    step = int(check.now) // TOTP_PERIOD
    # SECURITY: the step is compared, not the code: A(t), B(t+1), then A again is refused.
    matches = [
        candidate
        for candidate in range(step - TOTP_DRIFT_STEPS, step + TOTP_DRIFT_STEPS + 1)
        if hmac.compare_digest(generator.generate_otp(candidate).encode(), code.encode())
    ]
    # A new seed has its own steps; the last step of the old seed does not apply.
    last = device.last_step if device and purpose not in NEW_AUTHENTICATOR else -1
    matches = [candidate for candidate in matches if candidate > last]
    if not seed or not matches:
        return None
    row = device or TotpDevice(user=user, name="totp", confirmed=False)

    def consume() -> None:
        row.last_step = matches[0]
        row.last_used_at = timezone.now()
        row.drifts = clock_drift.noted(row.drifts, matches[0] - step)
        if purpose is Purpose.ENROL_TOTP:
            # The effect confirms it; until then it satisfies no check.
            row.seed_sealed = crypto.seal(seed.encode(), seal_owner(user))
            row.save()
        else:
            row.save(update_fields=["last_step", "last_used_at", "drifts"])

    return consume


def _seconds_if_spent(check: CodeCheck, code: str) -> int | None:
    """Return the seconds until the next code if ``code`` is the one of the step accepted last; else None.

    SECURITY: of that step only. For any other code the answer would say whether a guess belongs to the seed.
    """
    device = TotpDevice.objects.filter(user=check.user).first()
    if device is None or not device.confirmed or check.approval.purpose in NEW_AUTHENTICATOR:
        return None
    # Outside the window the code would be refused anyway; it is a wrong code then.
    if abs(device.last_step - int(check.now) // TOTP_PERIOD) > TOTP_DRIFT_STEPS:
        return None
    spent = pyotp.TOTP(_seed(device, check)).generate_otp(device.last_step)
    if not hmac.compare_digest(spent.encode(), code.encode()):
        return None
    return _seconds_until_next_totp(device.last_step, check.now)


def seconds_until_next_totp(user: User) -> int:
    """Return the seconds until the authenticator shows a code that was not used; 0 if it shows one now."""
    steps = TotpDevice.objects.filter(user=user, confirmed=True).values_list("last_step", flat=True)
    return _seconds_until_next_totp(steps.first() or -1, time.time())


def _seconds_until_next_totp(last_step: int, now: float) -> int:
    return max(0, math.ceil((last_step + 1) * TOTP_PERIOD - now))


def _seed(device: TotpDevice | None, check: CodeCheck) -> str:
    """Return the seed to compare with, "" if there is none (a dummy seed then costs the same work)."""
    purpose, is_confirmed = check.approval.purpose, device is not None and device.confirmed
    if purpose in NEW_AUTHENTICATOR:
        # SECURITY: once the first authenticator is confirmed, no other half-finished login confirms its own.
        return check.seed if is_confirmed == (purpose is Purpose.CONFIRM_TOTP) else ""
    # SECURITY: an unconfirmed device satisfies nothing; device ids in the request are ignored.
    if device is None or not is_confirmed:
        return ""
    return crypto.unseal(device.seed_sealed, seal_owner(check.user)).decode()


@functools.cache
def _dummy_seed(key_id: str) -> str:
    return crypto.seal(pyotp.random_base32().encode(), DUMMY_OWNER)


def seal_owner(user: User, which: str = "") -> str:
    """Return the owner of a sealed seed. ``which`` is "next" for a seed that the previous version sealed before its
    first code.
    """
    return f"accounts.totp{'.' + which if which else ''}:{user.pk}"


def sms_parts(user: User, approval: Approval, nonce: str, code: str) -> tuple[str, ...]:
    """Return the parts of an SMS code's digest, besides its use.

    SECURITY: the parts are all that the code depends on: its owner, the approval, the login that requested it, and
    the number that it was sent to. If any of them has changed, the code is wrong.
    """
    number = approval.to or user.phone
    return str(user.pk), approval.binding, logins.digest(nonce), number, code


def _match_sms(check: CodeCheck, code: str) -> Callable[[], None] | None:
    user, approval = check.user, check.approval
    row = SmsCode.objects.filter(
        user=user, purpose=approval.purpose.value, expires_at__gt=timezone.now()
    ).first()
    digest = row.digest if row else crypto.digest("sms-code", "nobody")
    is_right = crypto.matches(digest, "sms-code", *sms_parts(user, approval, check.nonce, code))
    if row is None or not is_right or not hmac.compare_digest(row.binding, approval.binding):
        return None
    # SECURITY: an unconfirmed phone proves nothing, except in its own enrolment.
    confirmed = SmsDevice.objects.filter(user=user, confirmed=True, number=user.phone).exists()
    if not confirmed and approval.purpose not in NEW_NUMBER:
        return None

    def consume() -> None:
        row.delete()
        SmsDevice.objects.filter(user=user).update(last_used_at=timezone.now())

    return consume


def _match_recovery(user: User, code: str) -> Callable[[], None] | None:
    codes = RecoveryCode.objects.filter(device__user=user, device__confirmed=True, used_at=None)
    matches = [row for row in codes if crypto.matches(row.digest, "recovery-code", str(user.pk), code)]
    if not matches:
        return None

    def consume() -> None:
        matches[0].used_at = timezone.now()
        matches[0].save(update_fields=["used_at"])

    return consume


def _record_rejection(request: HttpRequest, user: User, approval: Approval, is_known_browser: bool) -> None:
    guard = FactorGuard.objects.get(user=user)
    counter = lockout.select_counter(
        guard, pre_login=approval.purpose in OUTSIDE, is_known_browser=is_known_browser
    )
    locked = lockout.lockout_seconds(guard, time.time(), counter) > 0
    event = Event.CODE_LOCKED if locked else Event.CODE_REFUSED
    audit.record(event, request, customer=user, succeeded=False, purpose=approval.purpose.value)
    if locked:
        logger.warning("codes locked: user=%s failures_in_a_row=%s", user.pk, guard.in_a_row)


def recovery_codes_left(user: User) -> int:
    return len(RecoveryCode.objects.filter(device__user=user, used_at=None).values_list("pk"))
