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

    ``days``: newest first, without empty ones; ``bars`` and ``scale`` of the chart; ``allowed`` and ``refused``: sums;
    the ``worst`` day; ``addresses``; ``clock``: a value of `ClockState`; ``clock_is_exact``.
    """
    days = queries.month(key)
    return {
        "bars": chart.bars(days),
        "scale": chart.scale(days),
        "days": [day for day in reversed(days) if day.total],
        "first": days[0].day,
        "last": days[-1].day,
        "allowed": sum(day.allowed for day in days),
        "refused": sum(day.refused for day in days),
        "worst": chart.worst(days),
        "addresses": list(key.addresses.all()),
        "clock": clock_skew.clock_state(key.skew_ms).value,
        "clock_is_exact": key.skew_ms is not None and clock_skew.is_exact(key.skew_ms),
    }


@dataclass(frozen=True)
class RejectionLine:
    """One rejection as a table shows it. ``button``: where the owner can fix it.

    ``error_ms``: how far a timestamp that was refused was ahead; ``debugger_url``: "" if the button leads there.
    """

    refusal: Refusal
    text: rejection_texts.RejectionText
    permission: Promise | None
    button: rejection_texts.Button | None
    error_ms: int | None
    debugger_url: str


def rejection_lines(key: ApiKey) -> list[RejectionLine]:
    """Return the stored rejections, newest first."""
    listed = networks.compile_networks(network.value for network in key.networks.all())
    labels = {permission.value: permission.label for permission in Permission}
    lines = []
    for row in key.refusals.all()[:KEPT_REJECTIONS]:
        text, button = rejection_texts.text_of(row), rejection_texts.button(key, row, listed)
        error_ms, url = rejection_texts.timestamp_error_ms(row), rejection_texts.debugger_url(row)
        is_linked = button is not None and button.url == url
        lines.append(
            RejectionLine(row, text, labels.get(row.permission), button, error_ms, "" if is_linked else url)
        )
    return lines


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
