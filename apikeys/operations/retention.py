"""Retention periods of key data; `accounts.operations.retention` deletes older rows."""

from django.db.models import Q

from accounts.operations import retention
from accounts.operations.retention import Kept
from apikeys.models import DailyUse, IdempotentAnswer, KeyRequest, NetworkUse, Refusal, RescueRequest

RETENTION = (
    Kept("refusals", Refusal, 90, lambda at: Q(at__lt=at), "the page shows the last ones; older ones mislead"),
    Kept(
        "daily counts", DailyUse, 400, lambda at: Q(day__lt=at.date()), "a year and a month: this month a year ago"
    ),
    Kept("networks", NetworkUse, 400, lambda at: Q(last_at__lt=at), "a network of last year is new again"),
    Kept("idempotent answers", IdempotentAnswer, 1, lambda at: Q(created_at__lt=at), "kept for 24 hours"),
    Kept(
        "requests of new addresses", RescueRequest, 30, lambda at: Q(asked_at__lt=at), "they can be answered for a day"
    ),
    Kept(
        "requests for keys", KeyRequest, 400, lambda at: Q(closed_at__lt=at), "the events tell of them as well"
    ),
)  # fmt: skip


def register() -> None:
    """Register the periods with ``manage.py prune``. Called by `ApiKeysConfig.ready()`."""
    retention.RETENTION.register(retention.by_name(*RETENTION))
