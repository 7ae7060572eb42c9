"""What is kept for how long, and the removal of what is over; nothing here decides what a key may do."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from accounts.choices.registry import Registry
from accounts.models import DelayedChange, Invitation, SmsDelivery, TrustedDevice, WebhookDelivery

#: Rows of one statement: locks are short, and a table of millions is not held up.
BATCH = 5_000
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Kept:
    """Rows of ``model`` that ``over`` names, given the moment until which they are kept."""

    name: str
    model: type[Model]
    days: int
    over: Callable[[datetime], Q]
    why: str


def by_name(*kept: Kept) -> dict[str, Kept]:
    """Return the entries of `RETENTION` for ``kept``."""
    return {each.name: each for each in kept}


#: Filled by apps in `AppConfig.ready()`: ``RETENTION.register(by_name(...))``.
RETENTION: Registry[str, Kept] = Registry(by_name(
    Kept("SMS deliveries", SmsDelivery, 180, lambda at: Q(at__lt=at), "bills of providers are disputed for months"),
    Kept("trusted devices", TrustedDevice, 0, lambda at: Q(expires_at__lt=at), "they no longer skip anything"),
    Kept("invitations", Invitation, 30, lambda at: Q(expires_at__lt=at), "somebody may still ask about a link"),
    Kept(
        "changes of factors", DelayedChange, 400, lambda at: Q(done_at__lt=at) | Q(stopped_at__lt=at),
        "the events tell of them as well",
    ),
    Kept(
        "deliveries to webhooks", WebhookDelivery, 30,
        lambda at: Q(created_at__lt=at) & (Q(delivered_at__isnull=False) | Q(gave_up_at__isnull=False)),
        "a receiver that was away for weeks gets what it lost by the management API",
    ),
))  # fmt: skip


def over(kept: Kept, now: datetime | None = None) -> QuerySet[Model]:
    """The rows that go now."""
    return kept.model._default_manager.filter(kept.over((now or timezone.now()) - kept.days * DAY)).order_by(
        "pk"
    )


def remove(kept: Kept, progress: Callable[[int], object] = lambda _removed: None) -> int:
    """Removes them, a batch a statement; how many. Interrupted, it has removed whole batches.

    ``progress`` is called with the number of rows of each batch.
    """
    count = 0
    while ids := list(over(kept).values_list("pk", flat=True)[:BATCH]):
        removed, _by_model = kept.model._default_manager.filter(pk__in=ids).delete()
        if not removed:
            break
        count += removed
        progress(len(ids))
    return count
