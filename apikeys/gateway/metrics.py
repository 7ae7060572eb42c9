"""Metrics of a gateway process, and their sum over all workers of a server, so that one scrape shows all workers.

Measuring does not slow requests down: decisions are counted when a batch is taken, and times are those of samples.
The counts of a worker outlive it (in a file in a directory of the server), since Prometheus takes a decreasing sum for
a restart of the counter.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from apikeys.usage.batch import Batch
from apikeys.verification.outcomes import Outcome

logger = logging.getLogger("portal.gateway")
Result = TypeVar("Result")
#: 20 samples a second are 6000 in the five minutes that an alert evaluates; more would not be more accurate.
SAMPLE_SECONDS = 0.05
#: Metrics are published after this many samples: once a second.
SAMPLES_PER_PUBLISH = 20
#: Upper bounds in seconds, from a response from memory to a database that does not answer.
HISTOGRAM_BOUNDS = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
)
#: Outcomes of requests for which no key was looked up.
OUTCOMES_WITHOUT_KEY = (Outcome.KEY_MALFORMED, Outcome.RATE_LIMITED)


@dataclass
class Histogram:
    """Number of observations for each bound, and above all bounds; ``total`` is their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(HISTOGRAM_BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(HISTOGRAM_BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass
class GatewayMetrics:
    """Metrics of one worker, or a sum of them. ``gauges`` are current values, summed over running workers only."""

    counters: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    response_times: Histogram = field(default_factory=Histogram)
    load_times: Histogram = field(default_factory=Histogram)
    gauges: dict[str, int] = field(default_factory=dict)

    def count(self, batch: Batch, parsed: int = 0, full_path: int = 0) -> None:
        """Count the decisions of a batch. ``parsed``, ``full_path``: as `Endpoints.take_path_counts` returns them."""
        allowed = sum(times for *_use, times, _skew_ms in batch.allowed)
        if allowed:
            self.decisions[Outcome.ALLOWED.value] += allowed
        for outcome, number in batch.outcomes.items():
            self.decisions[outcome.value] += number
        # Allowed requests for a key are in ``uses``: these are of routes that need none.
        self.counters["public"] += batch.outcomes[Outcome.ALLOWED]
        without_key = sum(self.decisions[outcome.value] for outcome in OUTCOMES_WITHOUT_KEY)
        looked_up = self.decisions.total() - without_key - self.counters["public"]
        # A load is counted before its decision; a counter never decreases.
        memory = looked_up - self.counters["loads"]
        self.counters["memory"] = max(self.counters["memory"], memory)
        self.counters["parsed"] += parsed
        self.counters["long"] += full_path
        # For requests in progress, the path may be counted before the decision.
        others = self.counters["parsed"] + self.counters["long"]
        self.counters["quick"] = max(self.counters["quick"], self.decisions.total() - others)

    def timed(self, load: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
        """Return ``load`` with a measurement of each call."""

        async def measured(*arguments: Any) -> Result:
            began = time.perf_counter()
            try:
                return await load(*arguments)
            except Exception:
                self.counters["load_failures"] += 1
                raise
            finally:
                self.counters["loads"] += 1
                self.load_times.add(time.perf_counter() - began)

        return measured

    def sample(self, endpoints: Any) -> None:
        """Measure the next request to ``endpoints``, with functions that replace its methods and remove themselves."""
        own = vars(endpoints)

        def handle_fast(*arguments: Any) -> Any:
            own.pop("handle_fast", None)
            began = time.perf_counter()
            lines = endpoints.handle_fast(*arguments)
            if lines is not None:
                self.response_times.add(time.perf_counter() - began)
                return lines

            async def handle(request: Any) -> None:
                own.pop("handle", None)
                await endpoints.handle(request)
                self.response_times.add(time.perf_counter() - began)

            own["handle"] = handle  # the server calls it next, for the same request
            return None

        own["handle_fast"] = handle_fast

    def as_json(self) -> str:
        return json.dumps(
            {
                "counters": self.counters,
                "decisions": self.decisions,
                "answers": vars(self.response_times),
                "loads": vars(self.load_times),
                "gauges": self.gauges,
            }
        )

    def add(self, document: dict[str, Any], is_alive: bool) -> None:
        """Add what another worker published. Raise `LookupError`, `TypeError` or `ValueError`."""
        self.counters.update(document["counters"])
        self.decisions.update(document["decisions"])
        for mine, name in ((self.response_times, "answers"), (self.load_times, "loads")):
            mine.counts = [a + b for a, b in zip(mine.counts, document[name]["counts"], strict=True)]
            mine.total += document[name]["total"]
        if is_alive:
            for name, value in document["gauges"].items():
                self.gauges[name] = self.gauges.get(name, 0) + value


class WorkerMetricsDirectory:
    """The directory in which the workers of one server (one parent process) publish their metrics."""

    def __init__(self, parent: int | None = None) -> None:
        parent = os.getppid() if parent is None else parent
        prefix = f"portal-gateway-{os.geteuid()}-"
        self._directory: Path | None = Path(tempfile.gettempdir()) / f"{prefix}{parent}"
        try:
            self._clear(prefix)
            self._directory.mkdir(mode=0o700, exist_ok=True)
            status = self._directory.lstat()
            # SECURITY: in a shared /tmp another user may have created the directory first, with links to other files.
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise PermissionError
        except OSError as error:
            logger.warning("metrics of workers are not shared: %s", type(error).__name__)
            self._directory = None

    def _clear(self, prefix: str) -> None:
        """Remove the directories of servers that no longer run."""
        for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            number = path.name.removeprefix(prefix)
            if number.isdecimal() and not _is_alive(int(number)) and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)

    def publish(self, mine: GatewayMetrics) -> None:
        if self._directory is None:
            return
        draft = self._directory / f".{os.getpid()}"
        try:
            draft.write_text(mine.as_json(), encoding="ascii")
            draft.replace(self._directory / f"{os.getpid()}.json")
        except OSError as error:
            logger.warning("metrics of workers are not shared: %s", type(error).__name__)
            self._directory = None

    def all(self, mine: GatewayMetrics) -> GatewayMetrics:
        """Return the sum over all workers, including those that ended."""
        total = GatewayMetrics()
        total.add(json.loads(mine.as_json()), True)
        for number, document in self._others():
            try:
                total.add(document, _is_alive(number))
            except (LookupError, TypeError, ValueError):
                continue  # written by another version
        return total

    def _others(self) -> Iterator[tuple[int, dict[str, Any]]]:
        paths = [] if self._directory is None else sorted(self._directory.glob("*.json"))
        for path in paths:
            if path.stem.isdecimal() and int(path.stem) != os.getpid():
                try:
                    yield int(path.stem), json.loads(path.read_text(encoding="ascii"))
                except (OSError, ValueError):
                    continue


async def collect_periodically(
    metrics: GatewayMetrics,
    worker_metrics: WorkerMetricsDirectory,
    endpoints: object,
    gauges: Callable[[], dict[str, int]],
) -> None:
    """Sample and publish until cancelled."""
    rounds = 0
    while True:
        metrics.sample(endpoints)
        if rounds % SAMPLES_PER_PUBLISH == 0:
            metrics.gauges = gauges()
            worker_metrics.publish(metrics)
        rounds += 1
        await asyncio.sleep(SAMPLE_SECONDS)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
