"""Lockout after wrong codes: three failure counters for each account.

They are separate so that neither others nor somebody with a stolen password can lock the owner out (see
`FailureCounter`).
"""

import enum

from accounts.models import FactorGuard

#: (failures, seconds): failures that an account may have in a window (NIST SP 800-63B allows at most 100 in a row).
FAILURE_WINDOWS = ((5, 300), (20, 3600), (50, 86_400))
MAX_WAIT = 900  # the owner waits at most 15 minutes, whatever an attacker did
MAX_CONSECUTIVE = 100  # of the two counters after a password together
#: The share of these for known browsers; after this many in a row, failures there count like all others.
MAX_CONSECUTIVE_KNOWN = 10
PERMANENT = 365 * 86_400


class FailureCounter(enum.Enum):
    """The failure counters of a `FactorGuard`. The value is the prefix of the counter's field names."""

    AFTER_PASSWORD = ""  # after the password  # nosec B105
    PRE_LOGIN = "outside_"  # before any password (`approvals.OUTSIDE`)
    KNOWN_BROWSER = (
        "known_"  # in a browser in which the account logged in before (`accounts.access.known_browsers`)
    )


def select_counter(guard: FactorGuard, *, pre_login: bool, is_known_browser: bool) -> FailureCounter:
    """Return the counter to which the next wrong code belongs."""
    if is_known_browser and guard.known_in_a_row < MAX_CONSECUTIVE_KNOWN:
        return FailureCounter.KNOWN_BROWSER
    return FailureCounter.PRE_LOGIN if pre_login else FailureCounter.AFTER_PASSWORD


def lockout_seconds(
    guard: FactorGuard, now: float, counter: FailureCounter = FailureCounter.AFTER_PASSWORD
) -> int:
    """Return the seconds until codes are compared again, 0 if they are compared now."""
    # Not for PRE_LOGIN: anybody who knows a phone number could block its "forgotten password" for good. A guess there
    # has to match an SMS code and a second proof at once (10^12), and the windows below still apply.
    if counter is FailureCounter.AFTER_PASSWORD and guard.in_a_row >= MAX_CONSECUTIVE - MAX_CONSECUTIVE_KNOWN:
        return PERMANENT
    waits = [0.0]
    for count, seconds in FAILURE_WINDOWS:
        recent = [at for at in _failures(guard, counter) if at > now - seconds]
        if len(recent) >= count:
            waits.append(min(recent[-count] + seconds, recent[-1] + MAX_WAIT) - now)
    return int(max(waits)) + 1 if max(waits) > 0 else 0


def _failures(guard: FactorGuard, counter: FailureCounter) -> list[float]:
    timestamps: list[float] | None = getattr(guard, f"{counter.value}failures")
    return timestamps or []


def record_failure(guard: FactorGuard, now: float, counter: FailureCounter) -> None:
    kept = max(count for count, _ in FAILURE_WINDOWS)
    consecutive = f"{counter.value}in_a_row"
    setattr(guard, f"{counter.value}failures", [*_failures(guard, counter), now][-kept:])
    setattr(guard, consecutive, getattr(guard, consecutive) + 1)
    guard.save()


def reset_failures(guard: FactorGuard, pre_login: bool) -> None:
    """Reset the consecutive failures after right codes. ``pre_login``: also those of codes before any password."""
    if guard.in_a_row or guard.known_in_a_row or (pre_login and guard.outside_in_a_row):
        guard.in_a_row = guard.known_in_a_row = 0
        guard.outside_in_a_row = 0 if pre_login else guard.outside_in_a_row
        guard.save(update_fields=["in_a_row", "outside_in_a_row", "known_in_a_row"])
