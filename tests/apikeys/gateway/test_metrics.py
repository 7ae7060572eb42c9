"""Metrics of the gateway: over real HTTP, with a token only, and summed over workers that start and end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apikeys.gateway import prometheus
from apikeys.gateway.metrics import GatewayMetrics, WorkerMetricsDirectory
from apikeys.models import ApiKey
from apikeys.usage.batch import Batch
from apikeys.verification.outcomes import Outcome
from tests.apikeys.gateway.test_http import signed
from tests.portal.test_metrics import LABELS, parsed
from tests.support import people
from tests.support.event_loops import run_in_thread
from tests.support.gateways import GatewayProcess, token


def decisions(values: dict[tuple[str, LABELS], float], outcome: str) -> float:
    return values["portal_gateway_decisions_total", (("outcome", outcome),)]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_metrics_of_decisions_need_a_token() -> None:
    key: ApiKey = people.key_of(people.customer())
    with GatewayProcess(token()) as gateway:
        for bad in ("", "hbgw_wrong"):
            answer = gateway.ask("GET", "/metrics", token=bad)
            assert (answer.status, answer.body) == (403, b"")
        for _ in range(30):
            assert gateway.auth(signed(key)).status == 204
        for _ in range(2):
            assert gateway.auth(signed(key, "w" * 64)).code == -1022
        gateway.auth(signed(key, timestamp="1"))
        deadline = time.monotonic() + 60
        while True:
            answer = gateway.ask("GET", "/metrics")
            values = parsed(answer.body.decode())
            if decisions(values, "stale") or time.monotonic() > deadline:
                break
            time.sleep(0.1)
    assert answer.headers["content-type"] == prometheus.CONTENT_TYPE
    assert [decisions(values, name) for name in ("allowed", "signature", "stale")] == [30, 2, 1]
    lookups = {
        name: values["portal_gateway_key_lookups_total", (("source", name),)]
        for name in ("memory", "database")
    }
    assert lookups["memory"] + lookups["database"] == 33
    assert 1 <= lookups["database"] <= 5  # on SQLite any change evicts everything; here a new token does
    assert values["portal_gateway_load_seconds_count", ()] == lookups["database"]
    assert values["portal_gateway_workers", ()] == values["portal_gateway_believing", ()] == 1
    assert values["portal_gateway_keys_in_memory", ()] == 1
    assert 1 <= values["portal_gateway_answer_seconds_count", ()] <= 60
    assert values["portal_gateway_batches_total", (("result", "failed"),)] == 0
    assert key.key_id not in answer.body.decode()


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return tmp_path


def measured(**outcomes: int) -> GatewayMetrics:
    metrics, batch = GatewayMetrics(gauges={"workers": 1}), Batch()
    batch.outcomes.update({Outcome(name): number for name, number in outcomes.items()})
    metrics.count(batch)
    return metrics


def publish_as(
    number: int,
    directory: WorkerMetricsDirectory,
    metrics: GatewayMetrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: number)
        directory.publish(metrics)


def test_request_of_a_public_route_is_no_key_lookup() -> None:
    metrics, batch = GatewayMetrics(), Batch()
    batch.outcomes.update({Outcome.ALLOWED: 5, Outcome.KEY_UNKNOWN: 2, Outcome.RATE_LIMITED: 1})
    for _ in range(2):
        metrics.count(batch, 3, 4)
    assert metrics.decisions == {"allowed": 10, "key_unknown": 4, "rate_limited": 2}
    assert metrics.counters["memory"] == 4
    assert {way: metrics.counters[way] for way in ("quick", "parsed", "long")} == {
        "quick": 2,
        "parsed": 6,
        "long": 8,
    }


def test_one_scrape_sums_all_workers_including_ended_ones(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = WorkerMetricsDirectory(os.getpid())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    publish_as(os.getppid(), directory, measured(stale=2, signature=1), monkeypatch)
    publish_as(gone.pid, directory, measured(stale=40), monkeypatch)
    mine = measured(stale=100)
    directory.publish(mine)
    total = directory.all(mine)
    assert total.decisions == {"stale": 142, "signature": 1}
    assert total.gauges == {"workers": 2}
    assert parsed(prometheus.render(total))["portal_gateway_workers", ()] == 2
    (shared / f"portal-gateway-{os.geteuid()}-{os.getpid()}" / "1.json").write_text('{"counters": []}')
    assert directory.all(mine).decisions["stale"] == 142


def test_directories_of_ended_servers_are_removed(shared: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    old, other = (shared / f"portal-gateway-{os.geteuid()}-{number}" for number in (gone.pid, os.getppid()))
    for directory in (old, other):
        directory.mkdir()
    WorkerMetricsDirectory(os.getpid())
    assert (old.exists(), other.exists()) == (False, True)


def test_directory_of_another_user_is_not_used(shared: Path) -> None:
    target = shared / "target"
    target.mkdir()
    (shared / f"portal-gateway-{os.geteuid()}-{os.getpid()}").symlink_to(target)
    directory, mine = WorkerMetricsDirectory(os.getpid()), measured(stale=1)
    directory.publish(mine)
    assert list(target.iterdir()) == []
    assert directory.all(mine).decisions["stale"] == 1


def test_cache_hit_counter_never_decreases() -> None:
    metrics = measured(stale=5)
    assert metrics.counters["memory"] == 5
    metrics.counters["loads"] += 3
    metrics.count(Batch())
    assert metrics.counters["memory"] == 5
    assert json.loads(metrics.as_json())["decisions"] == {"stale": 5}


def test_sample_measures_one_request_and_removes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a request is that without measuring, except for one in some thousand."""

    class StubEndpoint:
        quick = True
        answered = 0

        def handle_fast(self, *arguments: Any) -> bytes | None:
            return b"" if self.quick else None

        async def handle(self, request: Any) -> None:
            self.answered += 1

    endpoint: Any = StubEndpoint()
    metrics = GatewayMetrics()
    for quick in (True, False):
        endpoint.quick = quick
        metrics.sample(endpoint)
        for _ in range(3):
            if endpoint.handle_fast(b"GET", b"/", [], []) is None:
                run_in_thread(endpoint.handle(SimpleNamespace()))
    assert vars(endpoint) == {"quick": False, "answered": 3}
    assert sum(metrics.response_times.counts) == 2
