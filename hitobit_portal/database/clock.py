"""The database's clock, which all processes share. What waits for a time asks it and not the machine's own clock."""

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

#: A process whose own clock differs by more applies nothing that waits for a time.
LARGEST_SKEW = timedelta(seconds=60)


class ClockError(Exception):
    """The clocks of this machine and of the database differ by more than `LARGEST_SKEW`."""


def now() -> datetime:
    """Return the time of the database; on SQLite the machine's own, as they are the same."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at.astimezone(UTC)


def checked_now() -> datetime:
    """Return `now`. Raise `ClockError` if the machine's own clock is wrong: then the database's may be, too."""
    at = now()
    skew = timezone.now() - at
    if abs(skew) > LARGEST_SKEW:
        raise ClockError(
            f"the clock of this machine differs by {skew.total_seconds():+.0f} s from the database's"
        )
    return at
