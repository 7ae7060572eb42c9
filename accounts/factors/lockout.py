"""The counts of wrong codes: how they stand, and how long they hold further ones off.

There are three, so that strangers and whoever stole a password don't lock an owner out: `Counted` says which is meant.
"""

import enum

from accounts.models import FactorGuard

#: Failures an account may have in a window of seconds (NIST SP 800-63B asks for at most 100 in a row).
WINDOWS = ((5, 300), (20, 3600), (50, 86_400))
LONGEST_WAIT = 900  # the owner is back within 15 minutes, whatever an attacker did
MOST_IN_A_ROW = 100  # of both counts together that come after a password
#: Those of them that are kept for known browsers; after so many in a row these count like all others.
KNOWN_IN_A_ROW = 10
FOREVER = 365 * 86_400


class Counted(enum.Enum):
    """Which count of a `FactorGuard` a wrong code belongs to; the value begins the names of its fields."""

    INSIDE = ""  # after the password
    OUTSIDE = "outside_"  # before any password (`purposes.OUTSIDE`)
    KNOWN = "known_"  # in a browser in which the account logged in before (`accounts.access.known_browsers`)


def which(guard: FactorGuard, *, outside: bool, known: bool) -> Counted:
    """The count that the next wrong code belongs to."""
    if known and guard.known_in_a_row < KNOWN_IN_A_ROW:
        return Counted.KNOWN
    return Counted.OUTSIDE if outside else Counted.INSIDE


def waiting_time(guard: FactorGuard, now: float, counted: Counted = Counted.INSIDE) -> int:
    """Seconds until codes are compared again; 0 when they are now."""
    # Not for OUTSIDE: a stranger with a phone number could block its owner's "forgotten password" for good. One guess
    # there has to hit an SMS code and a second proof at once (10^12), and the windows below still hold.
    if counted is Counted.INSIDE and guard.in_a_row >= MOST_IN_A_ROW - KNOWN_IN_A_ROW:
        return FOREVER
    waits = [0.0]
    for count, seconds in WINDOWS:
        recent = [at for at in _failures(guard, counted) if at > now - seconds]
        if len(recent) >= count:
            waits.append(min(recent[-count] + seconds, recent[-1] + LONGEST_WAIT) - now)
    return int(max(waits)) + 1 if max(waits) > 0 else 0


def _failures(guard: FactorGuard, counted: Counted) -> list[float]:
    found: list[float] | None = getattr(guard, f"{counted.value}failures")
    return found or []


def count_failure(guard: FactorGuard, now: float, counted: Counted) -> None:
    most = max(count for count, _ in WINDOWS)
    row = f"{counted.value}in_a_row"
    setattr(guard, f"{counted.value}failures", [*_failures(guard, counted), now][-most:])
    setattr(guard, row, getattr(guard, row) + 1)
    guard.save()


def forgive(guard: FactorGuard, outside: bool) -> None:
    """What was right ends the rows of failures; a whole login also that of the codes before any password."""
    if guard.in_a_row or guard.known_in_a_row or (outside and guard.outside_in_a_row):
        guard.in_a_row = guard.known_in_a_row = 0
        guard.outside_in_a_row = 0 if outside else guard.outside_in_a_row
        guard.save(update_fields=["in_a_row", "outside_in_a_row", "known_in_a_row"])
