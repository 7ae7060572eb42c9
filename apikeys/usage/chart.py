"""Compute the bars of an SVG chart of requests per day, with the oldest day at the left as in trading charts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 600, 150
GAP = 6
#: Free space above the highest bar.
HEADROOM = 12
#: Minimum height, so that one rejected request in ten thousand is still visible.
MIN_HEIGHT = 2


@dataclass(frozen=True)
class Day:
    """Number of allowed and rejected requests of one day."""

    day: date
    allowed: int
    refused: int

    @property
    def total(self) -> int:
        return self.allowed + self.refused


@dataclass(frozen=True)
class Bar:
    """The bar of one day, in units of the chart (WIDTH by HEIGHT, y grows downwards). A height of 0 is not drawn."""

    day: Day
    x: int
    width: int
    ok_y: int
    ok_height: int
    no_y: int
    no_height: int


def bars(days: Sequence[Day]) -> list[Bar]:
    """Return one bar per day: allowed requests below, rejected ones above; the highest bar ends at HEADROOM."""
    highest = max((day.total for day in days), default=0)
    step = WIDTH // max(1, len(days))
    result = []
    for number, day in enumerate(days):
        ok, no = _height(day.allowed, highest), _height(day.refused, highest)
        ok_y = HEIGHT - ok
        between = 1 if ok and no else 0
        result.append(
            Bar(day, number * step + GAP // 2, step - GAP, ok_y, ok, max(0, ok_y - between - no), no)
        )
    return result


def _height(count: int, highest: int) -> int:
    return max(MIN_HEIGHT, count * (HEIGHT - HEADROOM) // highest) if count else 0


def worst(days: Sequence[Day]) -> Day | None:
    """Return the day with the most rejected requests; None if there are none."""
    refused = [day for day in days if day.refused]
    return max(refused, key=lambda day: day.refused) if refused else None
