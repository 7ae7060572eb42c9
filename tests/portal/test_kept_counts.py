"""Counts over many rows are kept for a minute, those over few are always exact."""

from typing import Any

import pytest
from django.core.cache import cache

from accounts.models import AuditEvent
from apikeys.models import ApiKey, DailyUse
from apikeys.operations import metrics
from apikeys.staff import dashboard
from apikeys.usage.recorder import today
from hitobit_portal import kept_counts
from hitobit_portal.kept_counts import MANY, kept
from tests.support.people import customer, key_of
from tests.support.servers import free_port


class Counting:
    """A count whose result says how often it was counted."""

    def __init__(self, rows: int) -> None:
        self.times, self.rows = 0, rows

    def __call__(self) -> int:
        self.times += 1
        return kept("test", self._count, lambda _result: self.rows)

    def _count(self) -> int:
        self.counted = getattr(self, "counted", 0) + 1
        return self.counted


def test_count_of_many_rows_is_kept_and_one_of_few_is_not() -> None:
    few, many = Counting(MANY - 1), Counting(MANY)
    assert [few(), few()] == [1, 2]
    assert [many(), many()] == [1, 1]
    cache.clear()
    assert many() == 2


def test_kept_count_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_counts, "KEEP_SECONDS", 0)
    many = Counting(MANY)
    assert [many(), many()] == [1, 2]


def test_without_the_cache_everything_is_counted(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": f"redis://127.0.0.1:{free_port()}/0"}}
    many = Counting(MANY)
    assert [many(), many()] == [1, 2]
    assert "kept counts are not available" in caplog.text
    del settings.CACHES


@pytest.mark.django_db
def test_dashboard_and_metrics_keep_their_counts_over_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def figures() -> tuple[int, ...]:
        board = {one.name: one for one in dashboard.load_dashboard().figures}
        monkeypatch.setattr(metrics, "_kept", None)
        lines = dict(line.rsplit(" ", 1) for line in metrics._text().splitlines() if line[0] != "#")
        return (
            board["keys"].ok_sum,
            board["refusals"].no_sum,
            int(float(lines['portal_keys{state="active"}'])),
            int(float(lines['portal_refusals_total{outcome="signature"}'])),
            int(float(lines['portal_events_total{event="key.created"}'])),
        )

    def add(number: int) -> None:
        key = key_of(customer(), f"bot {number}")
        DailyUse.objects.create(key=key, day=today(), outcome="signature", permission="read", count=7)
        AuditEvent.objects.create(event="key.created", customer=key.owner)

    add(1)
    assert figures() == (1, 7, 1, 7, 1)
    add(2)
    assert figures() == (2, 14, 2, 14, 2)
    monkeypatch.setattr(kept_counts, "MANY", 1)
    assert figures() == (2, 14, 2, 14, 2)
    add(3)
    assert figures() == (2, 14, 2, 14, 2)
    cache.clear()
    assert figures() == (3, 21, 3, 21, 3)
    assert ApiKey.objects.count() == 3
