"""Classify the measured clock skew of a client. Pure.

A request is allowed if its timestamp is less than a second ahead of the server's time and not older than its
recvWindow, by default 5000 ms.
"""

import enum

#: Half of the allowed skew, so that the owner is warned before requests are rejected.
WARN_AHEAD_MS = 500
USUAL_WINDOW_MS = 5000
WARN_BEHIND_MS = USUAL_WINDOW_MS // 2


class ClockState(enum.Enum):
    UNKNOWN = "unknown"  # not measured yet
    RIGHT = "right"
    FAST = "fast"
    SLOW = "slow"


def clock_state(skew_ms: int | None) -> ClockState:
    """Return the state for ``skew_ms``, which is positive if the client's clock is ahead of the server's."""
    if skew_ms is None:
        return ClockState.UNKNOWN
    if skew_ms > WARN_AHEAD_MS:
        return ClockState.FAST
    return ClockState.SLOW if skew_ms < -WARN_BEHIND_MS else ClockState.RIGHT


def is_exact(skew_ms: int) -> bool:
    """Return whether the clock is right to the tenth of a second, which is what pages show."""
    return abs(skew_ms) < 50
