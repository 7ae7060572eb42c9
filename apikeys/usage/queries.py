"""Query the counts of requests: a month of a key, a week of its rejections, and the counts for health checks."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Q, Sum

from apikeys.models import ApiKey, DailyUse
from apikeys.usage.chart import Day
from apikeys.usage.key_health import POWER_DAYS, REJECTION_DAYS, RequestCounts
from apikeys.usage.recorder import today
from apikeys.verification.outcomes import Outcome

CHART_DAYS = 30
ALLOWED = Outcome.ALLOWED.value


def month(key: ApiKey) -> list[Day]:
    """Return the last 30 days, oldest first, including days without requests."""
    last = today()
    first = last - timedelta(days=CHART_DAYS - 1)
    sums = (
        DailyUse.objects.filter(key=key, day__range=(first, last))
        .values("day")
        .annotate(allowed=_sum(Q(outcome=ALLOWED)), refused=_sum(~Q(outcome=ALLOWED)))
    )
    counts = {row["day"]: (row["allowed"] or 0, row["refused"] or 0) for row in sums}
    days = (first + timedelta(days=n) for n in range(CHART_DAYS))
    return [Day(day, *counts.get(day, (0, 0))) for day in days]


@dataclass(frozen=True)
class RecentUse:
    """Requests of several keys: of the days in Tehran ``today`` and ``yesterday``, and of the last seven days."""

    today: int = 0
    yesterday: int = 0
    week: int = 0
    week_refused: int = 0

    @property
    def refused_permille(self) -> int:
        return round(1000 * self.week_refused / self.week) if self.week else 0


def recent(keys: Iterable[ApiKey]) -> RecentUse:
    """Return the use of ``keys`` together, with one SQL statement."""
    last = today()
    week = DailyUse.objects.filter(
        key__in=[key.pk for key in keys], day__range=(last - timedelta(days=REJECTION_DAYS - 1), last)
    )
    sums = week.aggregate(
        today=_sum(Q(day=last)),
        yesterday=_sum(Q(day=last - timedelta(days=1))),
        week=Sum("count"),
        week_refused=_sum(~Q(outcome=ALLOWED)),
    )
    return RecentUse(**{name: count or 0 for name, count in sums.items()})


def week_of_rejections(key: ApiKey) -> tuple[list[date], dict[str, list[int]]]:
    """Return the last seven days, newest first, and the number of rejections per outcome and day, most frequent outcome
    first."""
    last = today()
    days = [last - timedelta(days=n) for n in range(REJECTION_DAYS)]
    rows = DailyUse.objects.filter(key=key, day__range=(days[-1], last)).exclude(outcome=ALLOWED)
    table: dict[str, list[int]] = {}
    for outcome, day, count in rows.values_list("outcome", "day").annotate(Sum("count")):
        table.setdefault(outcome, [0] * len(days))[days.index(day)] += count
    return days, dict(sorted(table.items(), key=lambda row: (-sum(row[1]), row[0])))


def for_health(keys: Iterable[ApiKey]) -> dict[object, RequestCounts]:
    """Return the counts that `key_health.checks` needs for each of ``keys``, by primary key, with one SQL statement."""
    last = today()
    in_week = Q(day__gt=last - timedelta(days=REJECTION_DAYS))
    rows = (
        DailyUse.objects.filter(key__in=[key.pk for key in keys], day__gt=last - timedelta(days=POWER_DAYS))
        .values("key", "permission", "outcome")
        .annotate(week=_sum(in_week))
    )
    counts: dict[object, RequestCounts] = {}
    for row in rows:
        before = counts.get(row["key"], RequestCounts())
        week = row["week"] or 0
        if row["outcome"] == ALLOWED:
            used = before.used | {row["permission"]}
            counts[row["key"]] = RequestCounts(used, before.allowed + week, before.refused)
        else:
            counts[row["key"]] = RequestCounts(before.used, before.allowed, before.refused + week)
    return counts


def _sum(condition: Q) -> Sum:
    return Sum("count", filter=condition)
