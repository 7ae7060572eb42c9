"""The use of one key as its owner's page and the staff's page show it: a month, and the last rejections."""

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise

from apikeys.models import ApiKey, Refusal
from apikeys.policy.choices import Permission
from apikeys.usage import chart, clock_skew, queries, rejection_texts
from apikeys.usage.recorder import KEPT_REJECTIONS
from apikeys.verification import networks

#: Shown without a click: each is a third of a phone's screen.
OPEN_REJECTIONS = 3


def month(key: ApiKey) -> dict[str, Any]:
    """Return the last 30 days.

    ``days``: newest first, without empty ones; ``bars``; ``allowed`` and ``refused``: sums; the ``worst`` day;
    ``addresses``; ``clock``: a value of `ClockState`.
    """
    days = queries.month(key)
    return {
        "bars": chart.bars(days),
        "days": [day for day in reversed(days) if day.total],
        "first": days[0].day,
        "last": days[-1].day,
        "allowed": sum(day.allowed for day in days),
        "refused": sum(day.refused for day in days),
        "worst": chart.worst(days),
        "addresses": list(key.addresses.all()),
        "clock": clock_skew.clock_state(key.skew_ms).value,
    }


@dataclass(frozen=True)
class RejectionLine:
    """One rejection as a table shows it. ``button``: where the owner can fix it."""

    refusal: Refusal
    text: rejection_texts.RejectionText
    permission: Promise | None
    button: rejection_texts.Button | None


def rejection_lines(key: ApiKey) -> list[RejectionLine]:
    """Return the stored rejections, newest first."""
    listed = networks.compile_networks(network.value for network in key.networks.all())
    labels = {permission.value: permission.label for permission in Permission}
    return [
        RejectionLine(
            row,
            rejection_texts.text_of(row),
            labels.get(row.permission),
            rejection_texts.button(key, row, listed),
        )
        for row in key.refusals.all()[:KEPT_REJECTIONS]
    ]


def rejections(key: ApiKey) -> dict[str, Any]:
    """Return ``lines`` and ``older``, newest first; of the last week ``days`` and ``reasons``: (title, counts, sum).

    ``counts``: pairs of a day and its count.
    """
    lines = rejection_lines(key)
    days, table = queries.week_of_rejections(key)
    reasons = [
        (rejection_texts.text_of_outcome(outcome).title, list(zip(days, week, strict=True)), sum(week))
        for outcome, week in table.items()
    ]
    return {
        "lines": lines[:OPEN_REJECTIONS],
        "older": lines[OPEN_REJECTIONS:],
        "days": days,
        "reasons": reasons,
    }
