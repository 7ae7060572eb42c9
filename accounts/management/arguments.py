"""Argument types of commands (errors exit with code 2), and a progress bar."""

import sys
from argparse import ArgumentTypeError
from datetime import datetime, time

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

WIDTH = 40


def moment(text: str) -> datetime:
    """Argument type: ``2026-11-23`` or ``2026-11-23T14:30``, in the portal's time zone unless it has one."""
    try:
        day = parse_date(text)
        parsed = parse_datetime(text) if day is None else datetime.combine(day, time.min)
    except ValueError:
        parsed = None
    if parsed is None:
        raise ArgumentTypeError(f"{text!r} is no time such as 2026-11-23 or 2026-11-23T14:30")
    return parsed if timezone.is_aware(parsed) else timezone.make_aware(parsed)


def shows_progress() -> bool:
    """Return whether `progress` draws anything: then it is worth to count what is to be done."""
    return sys.stderr.isatty()


def progress(done: int, total: int) -> None:
    """Draw a progress bar if stderr is a terminal."""
    if not shows_progress() or total <= 0:
        return
    filled = WIDTH * done // total
    end = "\n" if done >= total else ""
    sys.stderr.write(f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] {done} of {total}{end}")
    sys.stderr.flush()


class ProgressBar:
    """`progress` for work that knows what it did last and not what it did in all. ``total`` 0: nothing is drawn."""

    def __init__(self, total: int) -> None:
        self._done, self._total = 0, total

    def add(self, count: int) -> None:
        """Add what was done."""
        self._done += count
        progress(min(self._done, self._total), self._total)

    def end(self) -> None:
        """Complete the bar: there may be less to do than was counted before."""
        if self._done < self._total:
            progress(self._total, self._total)
