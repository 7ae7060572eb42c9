"""What a measured difference of clocks means. Pure.

A request passes when its time is less than a second ahead of ours and not further back than its recvWindow, which is
5000 ms unless the client says otherwise.
"""

import enum

#: Half of what is allowed: told before requests begin to fail.
WARN_AHEAD_MS = 500
USUAL_WINDOW_MS = 5000
WARN_BEHIND_MS = USUAL_WINDOW_MS // 2


class Clock(enum.Enum):
    UNKNOWN = "unknown"  # nothing was measured yet
    RIGHT = "right"
    FAST = "fast"
    SLOW = "slow"


def judge(skew_ms: int | None) -> Clock:
    """``skew_ms``: positive when the client's clock is ahead of ours."""
    if skew_ms is None:
        return Clock.UNKNOWN
    if skew_ms > WARN_AHEAD_MS:
        return Clock.FAST
    return Clock.SLOW if skew_ms < -WARN_BEHIND_MS else Clock.RIGHT
