"""Generate load with wrk on one core, with the server on the other, and parse wrk's output."""

import contextlib
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: The server has the first core to itself; wrk and the database share the other one.
SERVER_CORE, LOAD_CORE = 0, max(os.sched_getaffinity(0))
CONNECTIONS = 64
#: Connections for a fixed rate: so many that the think time of each is much longer than a response time.
VISITORS = 256
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Run processes that are started in this context on ``core`` only; None: on any core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Run:
    """``rate`` in requests a second, ``p99`` in seconds; ``wrong``: number of unexpected responses."""

    rate: float
    p99: float
    answers: int
    wrong: int


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


def seconds_and_rounds() -> tuple[float, int]:
    """Return the first two arguments of the command line: the seconds of each run, and how many there are."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    return seconds, int(sys.argv[2]) if len(sys.argv) > 2 else 7


def counts(*defaults: int) -> list[int]:
    """Return the whole numbers of the command line, and of ``defaults`` what it leaves out."""
    given = [int(text) for text in sys.argv[1:]]
    return [*given, *defaults[len(given) :]]


def missing() -> str | None:
    return None if shutil.which("wrk") else "wrk is not installed: apt-get install wrk"


def wrk(
    port: int,
    requests: Path,
    seconds: float,
    *,
    rate: float = 0,
    connections: int = 0,
    first: bool = True,
    core: int = LOAD_CORE,
) -> Run:
    """Send the prepared ``requests`` one after the other, as fast as responses come, or at ``rate`` a second.

    ``seconds`` are rounded up: wrk takes whole ones only.

    With a rate, each of `VISITORS` connections waits a random time before its next request, so arrivals are close to a
    Poisson process, and a response time never delays other requests (wrk itself has no rate). ``first``: wrk has
    priority over other processes on ``core``; not for measurements of the database.
    """
    count = connections or (VISITORS if rate else CONNECTIONS)
    mean_ms = 1000 * count / rate if rate else 0
    command = ["wrk", "-t1", f"-c{count}", f"-d{math.ceil(seconds)}s", "--latency", "--timeout", "5s", "-s"]
    environ = {**os.environ, "BENCH_REQUESTS": str(requests), "BENCH_PAUSE_MS": f"{mean_ms:.3f}"}
    with on_core(core):
        output = subprocess.run(
            [*command, str(HERE / "requests.lua"), f"http://127.0.0.1:{port}/"],
            env=environ, capture_output=True, text=True, check=True, preexec_fn=_before_others if first else None,
        ).stdout  # fmt: skip
    return _read(output)


def _before_others() -> None:
    """Raise wrk's priority on its core: its waiting for the database would count as response time. Needs root."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def _read(output: str) -> Run:
    p99 = re.search(r"99%\s+([0-9.]+)(us|ms|s|m)", output)
    totals = re.search(r"^answers (\d+) wrong (\d+) microseconds (\d+)$", output, re.MULTILINE)
    if p99 is None or totals is None:
        raise RuntimeError(f"unexpected output of wrk: {output[-2000:]}")
    answers, wrong, took = (int(number) for number in totals.groups())
    return Run(answers * 1e6 / took, float(p99[1]) * _UNITS[p99[2]], answers, wrong)
