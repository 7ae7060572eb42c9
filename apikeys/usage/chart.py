"""Compute the bars and the scale of an SVG chart of requests per day, the oldest day at the left as in trading charts.

Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 600, 150
GAP = 6
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
    """Return one bar per day: allowed requests below, rejected ones above; HEIGHT stands for the top of the scale."""
    top = scale(days)[0]
    step = WIDTH // max(1, len(days))
    result = []
    for number, day in enumerate(days):
        ok, no = _height(day.allowed, top), _height(day.refused, top)
        ok_y = HEIGHT - ok
        between = 1 if ok and no else 0
        result.append(
            Bar(day, number * step + GAP // 2, step - GAP, ok_y, ok, max(0, ok_y - between - no), no)
        )
    return result


def _height(count: int, top: int) -> int:
    return max(MIN_HEIGHT, count * HEIGHT // top) if count else 0


def scale(days: Sequence[Day]) -> tuple[int, int, int]:
    """Return the values of the lines at the top, in the middle and at the bottom: a round number, its half, and 0."""
    highest = max((day.total for day in days), default=0)
    power = 1
    while 10 * power < highest:
        power *= 10
    top = next(step * power for step in (2, 4, 6, 8, 10) if step * power >= highest)
    return top, top // 2, 0


def worst(days: Sequence[Day]) -> Day | None:
    """Return the day with the most rejected requests; None if there are none."""
    refused = [day for day in days if day.refused]
    return max(refused, key=lambda day: day.refused) if refused else None
