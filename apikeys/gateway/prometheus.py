"""The measures of a gateway in Prometheus' text format. The names are a contract with deploy/prometheus and grafana."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from apikeys.gateway.metrics import BOUNDS, Measures, Times
from apikeys.verification.outcomes import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposed(Collector):
    """``measures`` as metrics."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        measures = self._measures
        decisions = CounterMetricFamily(
            "portal_gateway_decisions",
            "Requests of clients that were decided, by outcome.",
            labels=["outcome"],
        )
        for outcome in Outcome:
            decisions.add_metric([outcome.value], measures.decisions[outcome.value])
        yield decisions
        lookups = CounterMetricFamily(
            "portal_gateway_key_lookups",
            "Keys that were looked up, by where they were found.",
            labels=["source"],
        )
        for label, name in (("memory", "memory"), ("database", "loads")):
            lookups.add_metric([label], measures.counters[name])
        yield lookups
        ways = CounterMetricFamily(
            "portal_gateway_ways",
            "Requests of clients by the way of their decision; the quick one takes what most proxies send about them.",
            labels=["way"],
        )
        for way in ("quick", "long"):
            ways.add_metric([way], measures.counters[way])
        yield ways
        yield CounterMetricFamily(
            "portal_gateway_load_failures",
            "Questions for a key that the database did not answer.",
            measures.counters["load_failures"],
        )
        batches = CounterMetricFamily(
            "portal_gateway_batches", "Writes of what was counted, by result.", labels=["result"]
        )
        for name in ("written", "failed"):
            batches.add_metric([name], measures.counters[f"batches_{name}"])
        yield batches
        yield _histogram(
            "portal_gateway_answer_seconds",
            "Time to an answer; of samples, at most 20 a second.",
            measures.answers,
        )
        yield _histogram("portal_gateway_load_seconds", "Time of the database for a key.", measures.loads)
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        for name, text in (
            ("workers", "Worker processes of this server that run."),
            (
                "believing",
                "Worker processes that may answer from memory now; fewer than workers: slower answers.",
            ),
            ("keys_in_memory", "Keys in the memory of all workers."),
        ):
            yield GaugeMetricFamily(f"portal_gateway_{name}", text, self._measures.gauges.get(name, 0))


def _histogram(name: str, text: str, times: Times) -> HistogramMetricFamily:
    buckets, sum_so_far = [], 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), times.counts, strict=True):
        sum_so_far += count
        buckets.append((bound, float(sum_so_far)))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=times.total)


def text(measures: Measures) -> str:
    registry = CollectorRegistry()
    registry.register(Exposed(measures))
    return generate_latest(registry).decode()
