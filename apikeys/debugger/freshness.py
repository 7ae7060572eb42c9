"""Why a timestamp was refused: its unit, the time zone, or the clock. Pure."""

from __future__ import annotations

from apikeys.debugger.causes import Cause, Found, found

MINUTE_MS = 60_000
HALF_HOUR_MS = 30 * MINUTE_MS
TEHRAN_MS = 210 * MINUTE_MS
_SECONDS_BELOW_US = 10**11 * 1000  # taken as ms, such a number lies before March 1973
_NANOSECONDS_FROM = 10**17


def clock_cause(timestamp_us: int, at_ms: int, at_given: bool) -> Found:
    """The cause, for a timestamp outside of its window at ``at_ms`` (now, unless ``at_given``)."""
    if timestamp_us < _SECONDS_BELOW_US:
        return found(Cause.TIMESTAMP_SECONDS)
    if timestamp_us >= _NANOSECONDS_FROM:
        return found(Cause.TIMESTAMP_NANOSECONDS)
    skew_ms = timestamp_us // 1000 - at_ms
    if _is_zone(skew_ms, at_given):
        return found(Cause.TIMESTAMP_ZONE)
    if skew_ms > 0:
        return found(Cause.TIMESTAMP_FUTURE, ms=skew_ms)
    return found(Cause.TIMESTAMP_PAST if at_given else Cause.TIMESTAMP_AGED, ms=-skew_ms)


def _is_zone(skew_ms: int, at_given: bool) -> bool:
    """Whether the clock shows local time: off by half hours, or (pasted a while later) by nearly Tehran's."""
    if not at_given:
        return TEHRAN_MS - 15 * MINUTE_MS < skew_ms < TEHRAN_MS + MINUTE_MS
    off = abs(skew_ms)
    rest = off % HALF_HOUR_MS
    return (
        HALF_HOUR_MS - MINUTE_MS < off < 15 * 2 * HALF_HOUR_MS and min(rest, HALF_HOUR_MS - rest) < MINUTE_MS
    )
