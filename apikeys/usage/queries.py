"""Query the counts of requests: a month of a key, a week of its rejections, and the counts for health checks."""

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta

from django.db import connection
from django.db.models import Q, Sum

from apikeys.models import ApiKey, DailyUse
from apikeys.usage.chart import Day
from apikeys.usage.key_health import POWER_DAYS, REJECTION_DAYS, RequestCounts
from apikeys.usage.recorder import today
from apikeys.verification.outcomes import Outcome

CHART_DAYS = 30
#: In SQL: of a queryset with four sums, Django's work takes five times as long as PostgreSQL's.
SUMS = """
SELECT key_id, permission, outcome, CAST(SUM(count) AS bigint),
    CAST(SUM(CASE WHEN day > %s THEN count ELSE 0 END) AS bigint),
    CAST(SUM(CASE WHEN day > %s AND day <= %s THEN count ELSE 0 END) AS bigint),
    CAST(SUM(CASE WHEN day > %s THEN count ELSE 0 END) AS bigint)
FROM apikeys_dailyuse WHERE day > %s AND key_id IN ({keys}) GROUP BY key_id, permission, outcome
"""
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


def recent(counts: Collection[RequestCounts]) -> RecentUse:
    """Return the use of several keys together."""
    return RecentUse(
        today=sum(one.today for one in counts),
        yesterday=sum(one.yesterday for one in counts),
        week=sum(one.allowed + one.refused for one in counts),
        week_refused=sum(one.refused for one in counts),
    )


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


def counts_of(keys: Iterable[ApiKey]) -> dict[uuid.UUID, RequestCounts]:
    """Return the counts of each of ``keys``, by primary key, with one SQL statement."""
    counts = {key.pk: RequestCounts() for key in keys}
    for key, permission, outcome, month, week, yesterday, of_today in _sums(list(counts)):
        before = counts[key]
        total = replace(before, today=before.today + of_today, yesterday=before.yesterday + yesterday)
        if outcome == ALLOWED:
            counts[key] = replace(
                total,
                used=before.used | {permission},
                allowed=before.allowed + week,
                month_allowed=before.month_allowed + month,
            )
        else:
            counts[key] = replace(
                total, refused=before.refused + week, month_refused=before.month_refused + month
            )
    return counts


def _sums(keys: list[uuid.UUID]) -> list[tuple[uuid.UUID, str, str, int, int, int, int]]:
    """Return key, permission, outcome, and the requests of POWER_DAYS, REJECTION_DAYS, yesterday and today."""
    if not keys:
        return []
    last, of_key = today(), ApiKey._meta.pk
    starts = (POWER_DAYS, REJECTION_DAYS, 2, 1)  # days before the first one that is counted, today being 1
    days = [connection.ops.adapt_datefield_value(last - timedelta(days=days)) for days in starts]
    values = [days[1], days[2], days[3], days[3], days[0]]
    with connection.cursor() as cursor:
        cursor.execute(
            SUMS.format(keys=", ".join(["%s"] * len(keys))),
            [*values, *(of_key.get_db_prep_value(key, connection) for key in keys)],
        )
        return [(of_key.to_python(key), *others) for key, *others in cursor.fetchall()]


def _sum(condition: Q) -> Sum:
    return Sum("count", filter=condition)
