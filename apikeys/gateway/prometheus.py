"""Render the metrics of a gateway in Prometheus' text format. deploy/prometheus and deploy/grafana use the names."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from apikeys.gateway.metrics import HISTOGRAM_BOUNDS, GatewayMetrics, Histogram
from apikeys.verification.outcomes import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class GatewayMetricsCollector(Collector):
    """Convert `GatewayMetrics` to metric families."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        metrics = self._metrics
        decisions = CounterMetricFamily(
            "portal_gateway_decisions",
            "Decided client requests, by outcome.",
            labels=["outcome"],
        )
        for outcome in Outcome:
            decisions.add_metric([outcome.value], metrics.decisions[outcome.value])
        yield decisions
        lookups = CounterMetricFamily(
            "portal_gateway_key_lookups",
            "Key look-ups, by source.",
            labels=["source"],
        )
        for label, name in (("memory", "memory"), ("database", "loads")):
            lookups.add_metric([label], metrics.counters[name])
        yield lookups
        paths = CounterMetricFamily(
            "portal_gateway_ways",
            "Client requests by path: quick is the form that most proxies send, parsed any other form that was "
            "decided as fast, long what was decided in full.",
            labels=["way"],
        )
        for path in ("quick", "parsed", "long"):
            paths.add_metric([path], metrics.counters[path])
        yield paths
        yield CounterMetricFamily(
            "portal_gateway_load_failures",
            "Loads of a key that failed.",
            metrics.counters["load_failures"],
        )
        batches = CounterMetricFamily(
            "portal_gateway_batches",
            "Batches of statistics written to the database, by result.",
            labels=["result"],
        )
        for name in ("written", "failed"):
            batches.add_metric([name], metrics.counters[f"batches_{name}"])
        yield batches
        yield _histogram(
            "portal_gateway_answer_seconds",
            "Response time of sampled requests, at most 20 a second.",
            metrics.response_times,
        )
        yield _histogram(
            "portal_gateway_load_seconds", "Time to load a key from the database.", metrics.load_times
        )
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        for name, render in (
            ("workers", "Running worker processes of this server."),
            (
                "believing",
                "Worker processes with a fresh key cache; fewer than workers: slower responses.",
            ),
            ("keys_in_memory", "Cached keys, summed over all workers."),
        ):
            yield GaugeMetricFamily(f"portal_gateway_{name}", render, self._metrics.gauges.get(name, 0))


def _histogram(name: str, render: str, times: Histogram) -> HistogramMetricFamily:
    buckets, sum_so_far = [], 0
    for bound, count in zip((*map(str, HISTOGRAM_BOUNDS), "+Inf"), times.counts, strict=True):
        sum_so_far += count
        buckets.append((bound, float(sum_so_far)))
    return HistogramMetricFamily(name, render, buckets=buckets, sum_value=times.total)


def render(metrics: GatewayMetrics) -> str:
    registry = CollectorRegistry()
    registry.register(GatewayMetricsCollector(metrics))
    return generate_latest(registry).decode()
