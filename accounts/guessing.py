"""The count of wrong codes: how it stands, and how long it holds further ones off."""

from accounts.models import FactorGuard

#: Failures an account may have in a window of seconds (NIST SP 800-63B asks for at most 100 in a row).
WINDOWS = ((5, 300), (20, 3600), (50, 86_400))
LONGEST_WAIT = 900  # the owner is back within 15 minutes, whatever an attacker did
MOST_IN_A_ROW = 100
FOREVER = 365 * 86_400


def waiting_time(guard: FactorGuard, now: float, *, outside: bool = False) -> int:
    """Seconds until codes are compared again; 0 when they are now. ``outside``: those of `purposes.OUTSIDE`."""
    failures = guard.outside_failures if outside else guard.failures
    # Not for `outside`: a stranger with a phone number could block its owner's "forgotten password" for good. One guess
    # there has to hit an SMS code and a second proof at once (10^12), and the windows below still hold.
    if not outside and guard.in_a_row >= MOST_IN_A_ROW:
        return FOREVER
    waits = [0.0]
    for count, seconds in WINDOWS:
        recent = [at for at in failures if at > now - seconds]
        if len(recent) >= count:
            waits.append(min(recent[-count] + seconds, recent[-1] + LONGEST_WAIT) - now)
    return int(max(waits)) + 1 if max(waits) > 0 else 0


def count_failure(guard: FactorGuard, now: float, outside: bool) -> None:
    most = max(count for count, _ in WINDOWS)
    if outside:
        guard.outside_failures = [*guard.outside_failures, now][-most:]
        guard.outside_in_a_row += 1
    else:
        guard.failures = [*guard.failures, now][-most:]
        guard.in_a_row += 1
    guard.save()


def forgive(guard: FactorGuard, outside: bool) -> None:
    """What was right ends the row of failures; a whole login also that of the codes before any password."""
    if guard.in_a_row or (outside and guard.outside_in_a_row):
        guard.in_a_row = 0
        guard.outside_in_a_row = 0 if outside else guard.outside_in_a_row
        guard.save(update_fields=["in_a_row", "outside_in_a_row"])
