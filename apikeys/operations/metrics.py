"""The portal's ``/metrics`` for Prometheus. Requires a gateway token; has no values of single customers.

A middleware instead of a view: like probes, scrapes use the IP address as host, and plain HTTP. The metrics' names are
an interface to deploy/prometheus and deploy/grafana.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from accounts.models import User
from accounts.operations import metrics
from apikeys.models import ApiKey, DailyUse, GatewayToken
from apikeys.models.tokens import bearer, digest_of
from apikeys.policy.choices import KeyState
from apikeys.usage import recorder
from apikeys.verification.outcomes import Outcome
from hitobit_portal.i18n.jalali import TEHRAN
from hitobit_portal.kept_counts import kept

logger = logging.getLogger("portal.faults")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: How long a result is reused, so that several scrapers cost the database as much as one.
KEEP_SECONDS = 5.0
_lock = threading.Lock()
_kept: tuple[float, str] | None = None


def middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Respond to ``/metrics`` before other middleware processes the request."""

    def answer(request: HttpRequest) -> HttpResponse:
        return _answer(request) if request.path == "/metrics" else get_response(request)

    return answer


def _answer(request: HttpRequest) -> HttpResponse:
    try:
        # SECURITY: the number of failed logins and the state of providers would show an attacker a good time.
        if not _is_admitted(request.headers.get("Authorization", "")):
            return HttpResponse(status=403)
        return HttpResponse(_text(), content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})
    except (DatabaseError, InterfaceError, OSError) as error:
        logger.error("metrics are not available: %s", type(error).__name__)
        return HttpResponse(status=503)


def _is_admitted(header: str) -> bool:
    token = bearer(header)
    if token is None:
        return False
    # Update "last used" also here: it shows when a token that is used only for metrics was replaced.
    valid = GatewayToken.objects.filter(digest=digest_of(token), revoked_at=None)
    return valid.update(last_used_at=timezone.now()) > 0


def _text() -> str:
    """Return the metrics as text, at most KEEP_SECONDS old."""
    global _kept
    with _lock:
        if _kept is None or time.monotonic() >= _kept[0] + KEEP_SECONDS:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(DatabaseCollector(timezone.now()))
            _kept = (time.monotonic(), generate_latest(registry).decode())
        return _kept[1]


class DatabaseCollector(Collector):
    """Collects the metrics from the database at the time ``now``."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """Return nothing: registering must not query the database a second time."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        today = recorder.today()
        midnight = datetime(today.year, today.month, today.day, tzinfo=TEHRAN)
        yield from metrics.families(self._now, midnight)
        keys = GaugeMetricFamily("portal_keys", "API keys by state.", labels=["state"])
        states = ApiKey.objects.order_by().values_list("state").annotate(Count("pk"))
        by_state = kept("metrics-keys", lambda: dict(states), lambda made: sum(made.values()))
        for state in KeyState.values:
            keys.add_metric([state], by_state.get(state, 0))
        yield keys
        yield from self._accounts()
        refusals = CounterMetricFamily(
            "portal_refusals", "Refused requests of keys that exist, since midnight.", labels=["outcome"]
        )
        # Without allowed requests, so that the partial index is used; gateways count both.
        rejections = DailyUse.objects.filter(day=today).exclude(outcome=Outcome.ALLOWED.value)
        outcomes = rejections.order_by().values_list("outcome").annotate(Sum("count"), Count("pk"))
        counted = kept(
            f"metrics-refusals|{today}",
            lambda: list(outcomes),
            lambda made: sum(rows for *_sum, rows in made),
        )
        by_outcome = {outcome: number for outcome, number, _rows in counted}
        for outcome in Outcome:
            if outcome is not Outcome.ALLOWED:
                refusals.add_metric([outcome.value], by_outcome.get(outcome.value, 0))
        yield refusals
        yield GaugeMetricFamily(
            "portal_master_keys", "Master keys in the ring; more than one while they are rotated.",
            len(settings.MASTER_KEYS),
        )  # fmt: skip

    def _accounts(self) -> Iterator[Metric]:
        accounts = GaugeMetricFamily("portal_accounts", "Accounts that are stopped now.", labels=["state"])
        frozen = User.objects.filter(frozen_at__isnull=False).count()
        accounts.add_metric(["frozen"], frozen)
        accounts.add_metric(["quarantined"], User.objects.filter(quarantined_until__gt=self._now).count())
        yield accounts
