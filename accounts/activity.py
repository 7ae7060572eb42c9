"""Security events as rows for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import agents
from accounts.events import Event
from accounts.models import AuditEvent, User
from accounts.wording import change_text, method_text, purpose_text

PAGE = 50


@dataclass(frozen=True)
class Row:
    title: str
    detail: str
    tone: str
    icon: str
    address: str
    device: str
    at: datetime


def row(event: AuditEvent) -> Row:
    look = Event(event.event).look
    title = f"{look.title}: {event.label}" if event.label else str(look.title)
    device = agents.describe(event.agent)
    return Row(title, _detail(event.detail), look.tone, look.icon, event.address, device, event.at)


def _detail(detail: dict[str, Any]) -> str:
    parts = []
    if "method" in detail:
        parts.append(method_text(detail["method"]))
    if "purpose" in detail:
        parts.append(purpose_text(detail["purpose"]))
    if "changes" in detail:
        parts.append(_("; ").join(map(change_text, detail["changes"])))
    if "reason" in detail:
        parts.append(detail["reason"])
    return ", ".join(filter(None, parts))


def of_customer(user: User, before: int | None = None) -> list[AuditEvent]:
    """The newest PAGE + 1 events of a customer that are older than event id ``before``."""
    events = AuditEvent.objects.filter(customer=user)
    if before is not None:
        events = events.filter(pk__lt=before)
    return list(events.order_by("-pk")[: PAGE + 1])


def latest(user: User, count: int) -> list[Row]:
    return [row(event) for event in AuditEvent.objects.filter(customer=user).order_by("-pk")[:count]]


def by_day(events: Iterable[AuditEvent]) -> list[tuple[date, list[Row]]]:
    days = groupby(events, key=lambda event: timezone.localtime(event.at).date())
    return [(day, [row(event) for event in group]) for day, group in days]
