"""How far the clock of somebody's authenticator is off, told by the codes that were right. Pure.

A code is taken one step of 30 s early or late. With a right clock it is never early; late it is now and then, since
typing takes its time. So a few early ones tell that the clock is fast, and only late ones throughout that it is slow.
"""

import enum
from collections.abc import Sequence

#: How many of the last codes are remembered.
KEPT = 5
#: With a clock 15 s ahead half of the codes are early; one that is 30 s ahead begins to fail.
EARLY_ONES = 3


class Drift(enum.Enum):
    UNKNOWN = "unknown"  # no code was taken yet
    RIGHT = "right"
    FAST = "fast"
    SLOW = "slow"


def noted(before: Sequence[int], steps: int) -> list[int]:
    """The last `KEPT` differences, newest last. ``steps``: of the code from our clock; positive: it came early."""
    return [*before, steps][-KEPT:]


def judge(differences: Sequence[int]) -> Drift:
    """What `noted` has gathered means."""
    if not differences:
        return Drift.UNKNOWN
    if sum(steps > 0 for steps in differences) >= EARLY_ONES:
        return Drift.FAST
    is_late = len(differences) == KEPT and all(steps < 0 for steps in differences)
    return Drift.SLOW if is_late else Drift.RIGHT
