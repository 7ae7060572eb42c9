"""The counts of wrong codes: how they stand, and how long they hold further ones off.

There are three, so that strangers and whoever stole a password don't lock an owner out: `FailureCounter` says which is meant.
"""

import enum

from accounts.models import FactorGuard

#: Failures an account may have in a window of seconds (NIST SP 800-63B asks for at most 100 in a row).
FAILURE_WINDOWS = ((5, 300), (20, 3600), (50, 86_400))
MAX_WAIT = 900  # the owner is back within 15 minutes, whatever an attacker did
MAX_CONSECUTIVE = 100  # of both counts together that come after a password
#: Those of them that are kept for known browsers; after so many in a row these count like all others.
MAX_CONSECUTIVE_KNOWN = 10
PERMANENT = 365 * 86_400


class FailureCounter(enum.Enum):
    """Which count of a `FactorGuard` a wrong code belongs to; the value begins the names of its fields."""

    AFTER_PASSWORD = ""  # after the password
    PRE_LOGIN = "outside_"  # before any password (`purposes.OUTSIDE`)
    KNOWN_BROWSER = (
        "known_"  # in a browser in which the account logged in before (`accounts.access.known_browsers`)
    )


def select_counter(guard: FactorGuard, *, pre_login: bool, is_known_browser: bool) -> FailureCounter:
    """The count that the next wrong code belongs to."""
    if is_known_browser and guard.known_in_a_row < MAX_CONSECUTIVE_KNOWN:
        return FailureCounter.KNOWN_BROWSER
    return FailureCounter.PRE_LOGIN if pre_login else FailureCounter.AFTER_PASSWORD


def lockout_seconds(
    guard: FactorGuard, now: float, counter: FailureCounter = FailureCounter.AFTER_PASSWORD
) -> int:
    """Seconds until codes are compared again; 0 when they are now."""
    # Not for OUTSIDE: a stranger with a phone number could block its owner's "forgotten password" for good. One guess
    # there has to hit an SMS code and a second proof at once (10^12), and the windows below still hold.
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
    """What was right ends the rows of failures; a whole login also that of the codes before any password."""
    if guard.in_a_row or guard.known_in_a_row or (pre_login and guard.outside_in_a_row):
        guard.in_a_row = guard.known_in_a_row = 0
        guard.outside_in_a_row = 0 if pre_login else guard.outside_in_a_row
        guard.save(update_fields=["in_a_row", "outside_in_a_row", "known_in_a_row"])
