"""The figures of the staff's dashboard: today and 30 days (days in Tehran), with six SQL statements.

Counts over thousands of rows are up to a minute old (`hitobit_portal.kept_counts`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.choices.events import Event, SecurityEvent
from accounts.models import AuditEvent, SmsDelivery, User
from accounts.sms import LOCAL
from accounts.staff.forms import start_of
from apikeys.models import DailyUse
from apikeys.policy.events import KeyEvent
from apikeys.usage import chart, rejection_texts
from apikeys.usage.chart import Bar, Day
from apikeys.usage.recorder import today
from apikeys.verification.outcomes import Outcome
from hitobit_portal.i18n.jalali import TEHRAN
from hitobit_portal.kept_counts import kept
from hitobit_portal.security import ratelimits
from hitobit_portal.security.ratelimits import Rate

DAYS = 30
REASONS = 8
Counts = dict[date, int]


@dataclass(frozen=True)
class Figure:
    """One chart. ``ok`` and ``no``: titles of its two counts per day; "" if there is only one."""

    name: str
    title: Promise
    ok: Promise | str
    no: Promise | str
    days: list[Day]

    @property
    def bars(self) -> list[Bar]:
        return chart.bars(self.days)

    @property
    def scale(self) -> tuple[int, int, int]:
        return chart.scale(self.days)

    @property
    def shown(self) -> list[Day]:
        """Return days with values, newest first, for the table that is an alternative to the chart."""
        return [day for day in reversed(self.days) if day.total]

    @property
    def today(self) -> Day:
        return self.days[-1]

    @property
    def ok_sum(self) -> int:
        return sum(day.allowed for day in self.days)

    @property
    def no_sum(self) -> int:
        return sum(day.refused for day in self.days)


@dataclass(frozen=True)
class RejectionReason:
    title: Promise
    today: int
    month: int


@dataclass(frozen=True)
class SmsLimit:
    """A limit of codes that many customers share. ``used``: the highest share now, in percent."""

    title: Promise
    count: int
    used: int


@dataclass(frozen=True)
class Dashboard:
    """``frozen``, ``quarantined``: current numbers of accounts. ``cost`` of SMS: (today, 30 days); None without
    PORTAL_SMS_PRICE."""

    figures: list[Figure]
    reasons: list[RejectionReason]
    frozen: int
    quarantined: int
    cost: tuple[float, float] | None
    sms_limits: list["SmsLimit"]
    first: date
    last: date


def load_dashboard() -> Dashboard:
    last = today()
    first = last - timedelta(days=DAYS - 1)
    days = [first + timedelta(days=n) for n in range(DAYS)]
    events = _events(first)
    refused, by_reason = _rejections(first, last)
    sms, parts = _sms(first)
    return Dashboard(
        figures=[
            _figure("sign-ups", _("Sign-ups"), _("Opened"), "", days, events, [Event.SIGNED_UP], []),
            _figure(
                "keys", _("API keys"), _("Created"), _("Deleted"), days, events,
                [KeyEvent.CREATED], [KeyEvent.REVOKED],
            ),
            Figure("refusals", _("Refused requests"), "", _("Refused"), [Day(d, 0, refused.get(d, 0)) for d in days]),
            Figure("sms", _("SMS"), _("Sent"), _("Failed"), [Day(d, *sms.get(d, (0, 0))) for d in days]),
            _figure(
                "locked", _("Locked accounts"), _("Frozen"), _("Blocked after wrong codes"), days, events,
                [Event.ACCOUNT_FROZEN], [Event.CODE_LOCKED],
            ),
        ],
        reasons=by_reason,
        **_now(),
        cost=(
            (parts.get(last, 0) * settings.SMS_PRICE, sum(parts.values()) * settings.SMS_PRICE)
            if settings.SMS_PRICE
            else None
        ),
        sms_limits=[
            SmsLimit(title, ratelimits.limit_of(rate).count, int(ratelimits.peak(rate) * 100))
            for rate, title in SMS_LIMITS.items()
        ],
        first=first,
        last=last,
    )  # fmt: skip


SMS_LIMITS = {
    Rate.SMS_DAY: _("SMS codes to all customers, limit of a day"),
    Rate.SMS_PREFIX: _("SMS codes to one range of numbers, limit of an hour"),
}


COUNTED: tuple[SecurityEvent, ...] = (
    Event.SIGNED_UP,
    KeyEvent.CREATED,
    KeyEvent.REVOKED,
    Event.ACCOUNT_FROZEN,
    Event.CODE_LOCKED,
)


def _events(first: date) -> dict[str, Counts]:
    """Count each event of COUNTED per day, using the index `events_by_kind`."""
    rows = (
        AuditEvent.objects.filter(event__in=[event.value for event in COUNTED], at__gte=start_of(first))
        .order_by()
        .values("event", day=TruncDate("at", tzinfo=TEHRAN))
        .annotate(n=Count("pk"))
    )
    counts: dict[str, Counts] = {}
    for row in kept(
        f"dashboard-events|{first}", lambda: list(rows), lambda made: sum(row["n"] for row in made)
    ):
        counts.setdefault(row["event"], {})[row["day"]] = row["n"]
    return counts


def _figure(
    name: str,
    title: Promise,
    ok: Promise | str,
    no: Promise | str,
    days: Iterable[date],
    events: dict[str, Counts],
    oks: list[SecurityEvent],
    nos: list[SecurityEvent],
) -> Figure:
    def count(kinds: list[SecurityEvent], day: date) -> int:
        return sum(events.get(kind.value, {}).get(day, 0) for kind in kinds)

    return Figure(name, title, ok, no, [Day(day, count(oks, day), count(nos, day)) for day in days])


def _rejections(first: date, last: date) -> tuple[Counts, list[RejectionReason]]:
    """Return rejected requests per day, and the most frequent reasons, using the index `refused_by_day`."""
    rows = (
        DailyUse.objects.filter(day__gte=first)
        .exclude(outcome=Outcome.ALLOWED.value)
        .values("day", "outcome")
        .annotate(n=Sum("count"), rows=Count("pk"))
    )
    by_day: Counts = {}
    by_reason: dict[str, list[int]] = {}
    for row in kept(
        f"dashboard-refusals|{first}", lambda: list(rows), lambda made: sum(row["rows"] for row in made)
    ):
        by_day[row["day"]] = by_day.get(row["day"], 0) + row["n"]
        sums = by_reason.setdefault(row["outcome"], [0, 0])
        sums[0] += row["n"] if row["day"] == last else 0
        sums[1] += row["n"]
    most = sorted(by_reason.items(), key=lambda item: (-item[1][1], item[0]))[:REASONS]
    return by_day, [
        RejectionReason(rejection_texts.text_of_outcome(outcome).title, *sums) for outcome, sums in most
    ]


def _sms(first: date) -> tuple[dict[date, tuple[int, int]], Counts]:
    """Return (sent, failed) per day, and the number of SMS parts that providers charge for (not local back-ends)."""
    rows = (
        SmsDelivery.objects.filter(at__gte=start_of(first))
        .order_by()
        .values(day=TruncDate("at", tzinfo=TEHRAN))
        .annotate(
            ok=Count("pk", filter=Q(succeeded=True)),
            no=Count("pk", filter=Q(succeeded=False)),
            parts=Sum("parts", filter=Q(succeeded=True) & ~Q(backend__in=LOCAL)),
        )
    )
    counts, parts = {}, {}
    for row in kept(
        f"dashboard-sms|{first}", lambda: list(rows), lambda made: sum(row["ok"] + row["no"] for row in made)
    ):
        counts[row["day"]] = (row["ok"], row["no"])
        parts[row["day"]] = row["parts"] or 0
    return counts, parts


def _now() -> dict[str, Any]:
    return {
        "frozen": User.objects.filter(frozen_at__isnull=False).count(),
        "quarantined": User.objects.filter(quarantined_until__gt=timezone.now()).count(),
    }
