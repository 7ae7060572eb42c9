"""What a gateway process measures of itself, and those of its siblings: one scrape shows all workers of a server.

Nothing here is in the way of a request: decisions are counted when a batch is swapped, times are taken of samples.
Counts that a worker made outlive it (in a file in a directory of the server), since Prometheus takes a sum that falls
for a new beginning.
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
Found = TypeVar("Found")
#: 20 samples a second are 6000 in the five minutes that an alert looks at; more would cost and say no more.
SAMPLE_SECONDS = 0.05
#: Published every so many samples: once a second.
PUBLISH_EVERY = 20
#: Seconds: from an answer out of memory to a database that hangs.
BOUNDS = (
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
#: Refused before any key was looked up.
WITHOUT_KEY = (Outcome.KEY_MALFORMED, Outcome.RATE_LIMITED)


@dataclass
class Times:
    """A histogram: ``counts`` by bound, the last one beyond all of them."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass
class Measures:
    """Of one worker; sums of these are what is shown. ``gauges`` are of now, and of living workers only."""

    counters: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    answers: Times = field(default_factory=Times)
    loads: Times = field(default_factory=Times)
    gauges: dict[str, int] = field(default_factory=dict)

    def count(self, batch: Batch, long: int = 0) -> None:
        """The decisions of a batch that was just taken away from the gatekeeper; ``long``: see `Door.take_long`."""
        allowed = sum(times for *_use, times, _skew_ms in batch.uses)
        if allowed:
            self.decisions[Outcome.ALLOWED.value] += allowed
        for outcome, number in batch.outcomes.items():
            self.decisions[outcome.value] += number
        looked_up = self.decisions.total() - sum(self.decisions[outcome.value] for outcome in WITHOUT_KEY)
        # A load is counted before its decision: what was said once is not taken back.
        memory = looked_up - self.counters["loads"]
        self.counters["memory"] = max(self.counters["memory"], memory)
        self.counters["long"] += long
        # Of what is being decided, the way may be counted before the decision.
        self.counters["quick"] = max(self.counters["quick"], self.decisions.total() - self.counters["long"])

    def timed(self, load: Callable[..., Awaitable[Found]]) -> Callable[..., Awaitable[Found]]:
        """``load`` with each of its questions to the database measured."""

        async def measured(*arguments: Any) -> Found:
            began = time.perf_counter()
            try:
                return await load(*arguments)
            except Exception:
                self.counters["load_failures"] += 1
                raise
            finally:
                self.counters["loads"] += 1
                self.loads.add(time.perf_counter() - began)

        return measured

    def sample(self, door: Any) -> None:
        """Has the next request to ``door`` measured, by functions that take themselves away when it comes."""
        own = vars(door)

        def swift(*asked: Any) -> Any:
            own.pop("swift", None)
            began = time.perf_counter()
            found = door.swift(*asked)
            if found is not None:
                self.answers.add(time.perf_counter() - began)
                return found

            async def answer(exchange: Any) -> None:
                own.pop("answer", None)
                await door.answer(exchange)
                self.answers.add(time.perf_counter() - began)

            own["answer"] = answer  # called next, with nothing in between
            return None

        own["swift"] = swift

    def as_json(self) -> str:
        return json.dumps(
            {
                "counters": self.counters,
                "decisions": self.decisions,
                "answers": vars(self.answers),
                "loads": vars(self.loads),
                "gauges": self.gauges,
            }
        )

    def add(self, document: dict[str, Any], is_alive: bool) -> None:
        """Adds what another worker published. Raises `LookupError`, `TypeError` and `ValueError`."""
        self.counters.update(document["counters"])
        self.decisions.update(document["decisions"])
        for mine, name in ((self.answers, "answers"), (self.loads, "loads")):
            mine.counts = [a + b for a, b in zip(mine.counts, document[name]["counts"], strict=True)]
            mine.total += document[name]["total"]
        if is_alive:
            for name, value in document["gauges"].items():
                self.gauges[name] = self.gauges.get(name, 0) + value


class Siblings:
    """The directory where the workers of one server (one parent process) leave their measures for one another."""

    def __init__(self, parent: int | None = None) -> None:
        parent = os.getppid() if parent is None else parent
        prefix = f"portal-gateway-{os.geteuid()}-"
        self._directory: Path | None = Path(tempfile.gettempdir()) / f"{prefix}{parent}"
        try:
            self._clear(prefix)
            self._directory.mkdir(mode=0o700, exist_ok=True)
            found = self._directory.lstat()
            # SECURITY: in a shared /tmp somebody else may have been here first, with links to what is not theirs.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise PermissionError
        except OSError as error:
            logger.warning("workers don't share their measures: %s", type(error).__name__)
            self._directory = None

    def _clear(self, prefix: str) -> None:
        """Takes away what servers left that are gone."""
        for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            number = path.name.removeprefix(prefix)
            if number.isdecimal() and not _is_alive(int(number)) and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)

    def publish(self, mine: Measures) -> None:
        if self._directory is None:
            return
        draft = self._directory / f".{os.getpid()}"
        try:
            draft.write_text(mine.as_json(), encoding="ascii")
            draft.replace(self._directory / f"{os.getpid()}.json")
        except OSError as error:
            logger.warning("workers don't share their measures: %s", type(error).__name__)
            self._directory = None

    def all(self, mine: Measures) -> Measures:
        """The sum over all workers, those that are gone among them."""
        total = Measures()
        total.add(json.loads(mine.as_json()), True)
        for number, document in self._others():
            try:
                total.add(document, _is_alive(number))
            except (LookupError, TypeError, ValueError):
                continue  # of another version
        return total

    def _others(self) -> Iterator[tuple[int, dict[str, Any]]]:
        paths = [] if self._directory is None else sorted(self._directory.glob("*.json"))
        for path in paths:
            if path.stem.isdecimal() and int(path.stem) != os.getpid():
                try:
                    yield int(path.stem), json.loads(path.read_text(encoding="ascii"))
                except (OSError, ValueError):
                    continue


async def keep_measuring(
    measures: Measures, siblings: Siblings, door: object, gauges: Callable[[], dict[str, int]]
) -> None:
    """Samples and publishes until it is cancelled."""
    rounds = 0
    while True:
        measures.sample(door)
        if rounds % PUBLISH_EVERY == 0:
            measures.gauges = gauges()
            siblings.publish(measures)
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
