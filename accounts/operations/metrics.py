"""Metrics of users, messages and queues, read from the database, so that all processes report the same values.

Counters restart at midnight in Tehran: Prometheus treats a falling counter as a restart, and an index finds the rows
of one day quickly, whatever was pruned.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, Min, Sum
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from redis.exceptions import RedisError

from accounts.choices.events import Event, all_events
from accounts.models import (
    AuditEvent,
    AuditHead,
    DelayedChange,
    LastRun,
    Notice,
    SmsDelivery,
    WebhookDelivery,
)
from accounts.notifications import outbox
from accounts.webhooks import outbox as outbox_of_webhooks
from hitobit_portal.kept_counts import kept
from hitobit_portal.security import ratelimits

logger = logging.getLogger("portal.faults")

#: Logins by result: (label, event).
LOGINS = (
    ("ok", Event.LOGIN),
    ("password_refused", Event.LOGIN_PASSWORD_REFUSED),
    ("limited", Event.LOGIN_LIMITED),
)
#: Tasks that have to run from time to time; `LastRun` has the end of the last run of each.
TASKS = ("send_notices", "tick", "prune", "backup", "verify_audit", "verify_audit_damaged")
CODES = (("refused", Event.CODE_REFUSED), ("locked", Event.CODE_LOCKED))


def families(now: datetime, midnight: datetime) -> Iterator[Metric]:
    """Yield all metrics, with ten queries. Exceptions of the database are not caught; those of the cache are."""
    yield from _events(midnight)
    yield from _messages(midnight)
    yield from _queues(now)
    yield from _webhooks(now)
    yield _last_runs()
    yield from _cache()


def _events(midnight: datetime) -> Iterator[Metric]:
    counts = AuditEvent.objects.filter(at__gte=midnight).order_by().values_list("event").annotate(Count("pk"))
    counted = kept(f"metrics-events|{midnight.date()}", lambda: dict(counts), lambda made: sum(made.values()))
    by_event = Counter(counted)
    for name, text, table in (
        ("portal_logins", "Logins since midnight, by result.", LOGINS),
        ("portal_codes", "Wrong codes, and codes refused during a lockout, since midnight.", CODES),
    ):
        family = CounterMetricFamily(name, text, labels=["result"])
        for label, event in table:
            family.add_metric([label], by_event[event.value])
        yield family
    events = CounterMetricFamily("portal_events", "Security events since midnight.", labels=["event"])
    for kind in all_events():
        events.add_metric([kind.value], by_event[kind.value])
    yield events


def _messages(midnight: datetime) -> Iterator[Metric]:
    sent = CounterMetricFamily(
        "portal_sms", "SMS and calls sent to a provider since midnight.", labels=["provider", "result"]
    )
    parts = CounterMetricFamily("portal_sms_parts", "Charged SMS parts since midnight.", labels=["provider"])
    took = CounterMetricFamily(
        "portal_sms_seconds", "Time spent in calls to providers since midnight.", labels=["provider"]
    )
    rows = SmsDelivery.objects.filter(at__gte=midnight).order_by().values_list("backend", "succeeded")
    by_result: Counter[tuple[str, bool]] = Counter()
    by_provider = dict.fromkeys(settings.SMS_BACKENDS, (0, 0))
    counts = rows.annotate(Count("pk"), Sum("parts"), Sum("took_ms"))
    for backend, succeeded, number, charged, took_ms in kept(
        f"metrics-sms|{midnight.date()}", lambda: list(counts), lambda made: sum(row[2] for row in made)
    ):
        by_result[backend, succeeded] = number
        so_far = by_provider.get(backend, (0, 0))
        by_provider[backend] = (so_far[0] + (charged if succeeded else 0), so_far[1] + took_ms)
    for backend, (charged, took_ms) in by_provider.items():
        sent.add_metric([backend, "sent"], by_result[backend, True])
        sent.add_metric([backend, "failed"], by_result[backend, False])
        parts.add_metric([backend], charged)
        took.add_metric([backend], took_ms / 1000)
    yield from (sent, parts, took)


def _queues(now: datetime) -> Iterator[Metric]:
    """Yield the size of each queue and the age of its oldest entry, 0 seconds if it is empty."""
    # Uses the index of `next_try_at`, in which finished notices are at the end of time.
    waiting = Notice.objects.filter(sent_at=None, gave_up_at=None, next_try_at__lt=outbox.NEVER)
    notices = waiting.aggregate(number=Count("pk"), oldest=Min("created_at"))
    due = DelayedChange.objects.filter(stopped_at=None, done_at=None, due_at__lte=now)
    changes = due.aggregate(number=Count("pk"), oldest=Min("due_at"))
    head = AuditHead.objects.only("settled_event", "sequence", "streamed").first()
    # A request links its own event shortly after recording it: such events are no backlog.
    unlinked = AuditEvent.objects.unlinked(head.settled_event if head is not None else 0)
    events = unlinked.order_by().aggregate(number=Count("pk"), oldest=Min("at"))
    size = GaugeMetricFamily("portal_queue_size", "Entries that wait in the queue.", labels=["queue"])
    age = GaugeMetricFamily(
        "portal_queue_age_seconds", "Age of the oldest entry in the queue.", labels=["queue"]
    )
    for queue, counts in (("notices", notices), ("audit_events", events), ("delayed_changes", changes)):
        size.add_metric([queue], counts["number"])
        oldest = counts["oldest"]
        age.add_metric([queue], max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0)
    yield from (size, age)
    yield GaugeMetricFamily(
        "portal_audit_sink_behind",
        "Links of the audit chain that were not written to the sink yet.",
        head.sequence - head.streamed if head is not None else 0,
    )


def _webhooks(now: datetime) -> Iterator[Metric]:
    """Yield what waits for each endpoint that is not paused, and what was given up within a day; three queries."""
    waiting = WebhookDelivery.objects.filter(outbox_of_webhooks.WAITING).order_by().values_list("endpoint")
    rows = {pk: (number, oldest) for pk, number, oldest in waiting.annotate(Count("pk"), Min("created_at"))}
    lost = WebhookDelivery.objects.filter(gave_up_at__gt=now - timedelta(days=1)).order_by()
    given_up = dict(lost.values_list("endpoint").annotate(Count("pk")))
    size = GaugeMetricFamily(
        "portal_webhook_waiting", "Events that wait for the webhook.", labels=["webhook"]
    )
    age = GaugeMetricFamily(
        "portal_webhook_age_seconds",
        "Age of the oldest event that waits for the webhook, or to be looked at for it.",
        labels=["webhook"],
    )
    ended = GaugeMetricFamily(
        "portal_webhook_given_up", "Events that were given up within a day, by webhook.", labels=["webhook"]
    )
    for row, unseen_since in outbox_of_webhooks.endpoints_with_unseen():
        if row.is_active:
            number, oldest = rows.get(row.pk, (0, now))
            size.add_metric([row.name], number)
            age.add_metric([row.name], max(0.0, (now - min(oldest, unseen_since or now)).total_seconds()))
            ended.add_metric([row.name], given_up.get(row.pk, 0))
    yield from (size, age, ended)


def _last_runs() -> Metric:
    runs = GaugeMetricFamily(
        "portal_last_run_timestamp_seconds",
        "End of the last run of a recurring task, in seconds since 1970; 0 if it never ran.",
        labels=["task"],
    )
    times = dict(LastRun.objects.values_list("name", "at"))
    for task in TASKS:
        runs.add_metric([task], times[task].timestamp() if task in times else 0)
    return runs


def _cache() -> Iterator[Metric]:
    """Yield the state of Valkey. If it fails, only ``portal_cache_up`` is yielded: the rest is not known."""
    up = GaugeMetricFamily("portal_cache_up", "1 if the cache (Valkey) keeps what is written to it, else 0.")
    try:
        cache.set("metrics", 1, 5)
        memory = _memory_of_cache()
        ratios = {
            rate: ratelimits.peak(rate) for rate in sorted(ratelimits.WATCHED, key=lambda rate: rate.name)
        }
    except (RedisError, OSError) as error:
        logger.error("metrics of the cache are not available: %s", type(error).__name__)
        up.add_metric([], 0)
        yield up
        return
    up.add_metric([], 1)
    yield up
    for name, text, number in (
        ("used", "Memory that the cache uses, in bytes; 0 in the memory of the process.", memory[0]),
        ("limit", "Memory that the cache may use, in bytes; 0 without a limit.", memory[1]),
    ):
        yield GaugeMetricFamily(f"portal_cache_{name}_bytes", text, number)
    used = GaugeMetricFamily(
        "portal_sms_limit_used_ratio",
        "Highest used share of a shared limit of SMS, 0 to 1. At 1 no code is sent to the numbers that share it.",
        labels=["limit"],
    )
    for rate, ratio in ratios.items():
        used.add_metric([rate.name.lower()], ratio)
    yield used


def _memory_of_cache() -> tuple[int, int]:
    """Return (used, limit) in bytes."""
    if not settings.REDIS_URL:
        return 0, 0
    client = cache._cache.get_client(None)  # type: ignore[attr-defined]  # Django has no public way to the client
    memory = client.info("memory")
    return int(memory["used_memory"]), int(memory["maxmemory"])
