"""Days of requests as bars of an SVG picture, oldest at the left as traders read it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT = 600, 150
GAP = 6
#: Room above the highest day.
HEADROOM = 12
#: A day with one refused of ten thousand still shows it.
LEAST = 2


@dataclass(frozen=True)
class Day:
    """How many requests of one day were allowed and refused."""

    day: date
    allowed: int
    refused: int

    @property
    def total(self) -> int:
        return self.allowed + self.refused


@dataclass(frozen=True)
class Bar:
    """One day, in units of the picture (WIDTH by HEIGHT, y grows downwards). A height of 0 is not drawn."""

    day: Day
    x: int
    width: int
    ok_y: int
    ok_height: int
    no_y: int
    no_height: int


def bars(days: Sequence[Day]) -> list[Bar]:
    """A bar a day: allowed below, refused above it; the highest day fills the picture but for its headroom."""
    highest = max((day.total for day in days), default=0)
    step = WIDTH // max(1, len(days))
    found = []
    for number, day in enumerate(days):
        ok, no = _height(day.allowed, highest), _height(day.refused, highest)
        ok_y = HEIGHT - ok
        between = 1 if ok and no else 0
        found.append(
            Bar(day, number * step + GAP // 2, step - GAP, ok_y, ok, max(0, ok_y - between - no), no)
        )
    return found


def _height(count: int, highest: int) -> int:
    return max(LEAST, count * (HEIGHT - HEADROOM) // highest) if count else 0


def worst(days: Sequence[Day]) -> Day | None:
    """The day with the most refused; None when nothing was refused."""
    refused = [day for day in days if day.refused]
    return max(refused, key=lambda day: day.refused) if refused else None
