"""Template tags: usage of a month, latest rejections, requests for new addresses, health. Each loads its data."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from django import template
from django.utils import timezone
from django.utils.functional import Promise

from accounts.models import User
from apikeys.actions import address_approval
from apikeys.models import ApiKey, Refusal, RescueRequest
from apikeys.policy.choices import IpPolicy, KeyState, Permission
from apikeys.usage import chart, clock_skew, queries, rejection_texts
from apikeys.usage import key_health as usage_key_health
from apikeys.usage.key_health import HealthCheck
from apikeys.usage.recorder import KEPT_REJECTIONS
from apikeys.verification import networks
from hitobit_portal.i18n.jalali import day_local, digits

register = template.Library()
#: Number of rows that are shown expanded: fifty rows are ten screens on a phone.
OPEN_REJECTIONS = 8


@register.filter
def number(value: int) -> str:
    """Format ``24618`` as ``24,618``, in Persian ``۲۴٬۶۱۸``."""
    shown = digits(f"{value:,}")
    return shown if shown.isascii() else shown.replace(",", "٬")


@register.filter
def day_month(value: date) -> str:
    """Format a day of the last months without its year: ``1 آذر`` or ``22 Nov``."""
    return day_local(value).rpartition(" ")[0]


@register.filter
def seconds(skew_ms: int) -> str:
    """Format the absolute value in ms as seconds: ``7400`` as ``7.4``, in Persian ``۷٫۴``."""
    shown = digits(f"{abs(skew_ms) / 1000:,.1f}")
    return shown if shown.isascii() else shown.replace(",", "٬").replace(".", "٫")


@register.simple_tag
def key_usage(key: ApiKey) -> dict[str, Any]:
    """Return ``days`` (newest first), ``bars``, sums, the ``worst`` day, ``addresses``, and ``clock`` (a value of
    `ClockState`)."""
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
    """One rejection as shown in the table."""

    refusal: Refusal
    text: rejection_texts.RejectionText
    permission: Promise | None
    button: rejection_texts.Button | None


@register.simple_tag
def key_rejections(key: ApiKey) -> dict[str, Any]:
    """Return ``lines`` and ``older``, newest first; ``days`` and ``reasons`` of the last week: (title, counts, sum)."""
    listed = networks.compile_networks(network.value for network in key.networks.all())
    labels = {permission.value: permission.label for permission in Permission}
    lines = [
        RejectionLine(
            row,
            rejection_texts.text_of(row),
            labels.get(row.permission),
            rejection_texts.button(key, row, listed),
        )
        for row in key.refusals.all()[:KEPT_REJECTIONS]
    ]
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


@dataclass(frozen=True)
class Fix:
    """A failed check, and the URL of its button; "" if there is none."""

    check: HealthCheck
    url: str


@dataclass(frozen=True)
class Health:
    key: ApiKey
    fixes: list[Fix]
    passed: list[HealthCheck]

    @property
    def petals(self) -> int:
        return len(self.passed)

    @property
    def tone(self) -> str:
        """Return "ok" without failed checks, "brand" with one or two, else "warn"."""
        return "ok" if not self.fixes else "brand" if len(self.fixes) <= 2 else "warn"

    @property
    def worst(self) -> Fix | None:
        return self.fixes[0] if self.fixes else None


@register.simple_tag
def key_health(key: ApiKey) -> Health:
    """Return the health of the key on its own page."""
    return _healths([key], on_page=True)[0]


@register.simple_tag
def worst_keys(keys: list[ApiKey], most: int) -> list[Health]:
    """Return the ``most`` least healthy of ``keys`` (with prefetched credentials), worst first."""
    return sorted(_healths(keys, on_page=False), key=lambda health: health.petals)[:most]


def _healths(keys: list[ApiKey], *, on_page: bool) -> list[Health]:
    now, counts = timezone.now(), queries.for_health(keys)
    healths = []
    for key in keys:
        checks = usage_key_health.checks(key, counts.get(key.pk, usage_key_health.RequestCounts()), now)
        fixes = [Fix(check, _place(key, check, on_page)) for check in checks if not check.passed]
        healths.append(Health(key, fixes, [check for check in checks if check.passed]))
    return healths


def _place(key: ApiKey, check: HealthCheck, on_page: bool) -> str:
    """Return the URL of the check's button; "" if there is none, as for settings of a paused key."""
    if check.drop:
        return (
            rejection_texts.page_url("key_drop_permissions", key.pk) if key.state == KeyState.ACTIVE else ""
        )
    if not check.place.startswith("#"):
        return rejection_texts.page_url(check.place, key.pk)
    if key.state != KeyState.ACTIVE and check.place in ("#ip", "#expires"):
        return ""
    page = "" if on_page else rejection_texts.page_url("key_detail", key.pk)
    return f"{page}{check.place}"


@register.simple_tag
def open_address_requests(user: User, key: ApiKey | Literal[""] = "") -> list[RescueRequest]:
    """Return the customer's open requests for new addresses; on the page of a ``key``, only its own."""
    requests = address_approval.open_requests(user)
    return list(requests.filter(key=key) if key else requests)


@register.simple_tag
def may_ask(key: ApiKey) -> bool:
    """Return whether requests for new addresses can be turned on and off for this kind of key."""
    return key.state == KeyState.ACTIVE and key.ip_policy == IpPolicy.TRUSTED and not key.can_withdraw
