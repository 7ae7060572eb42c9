"""Load on a server: wrk on one core, the server on the other, and what wrk says about it."""

import contextlib
import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: The server alone has the first core; wrk and the database share the other one.
SERVER_CORE, LOAD_CORE = 0, max(os.sched_getaffinity(0))
CONNECTIONS = 64
#: For the quiet load: so many that the think time of each is far longer than an answer takes.
VISITORS = 256
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes that are started meanwhile run on ``core`` alone; None: wherever they like."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Run:
    """``rate`` in requests a second, ``p99`` in seconds; ``wrong``: answers that were not as expected."""

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


def missing() -> str | None:
    return None if shutil.which("wrk") else "wrk is not installed: apt-get install wrk"


def wrk(
    port: int, requests: Path, seconds: float, *, rate: float = 0, connections: int = 0, first: bool = True
) -> Run:
    """Sends the prepared ``requests`` one after the other, as fast as answers come, or some ``rate`` a second.

    With a rate each of `VISITORS` connections waits a random time before its next request, so the arrivals are as good
    as Poisson's, and an answer's time never delays anybody else's request (wrk itself knows no rate). ``first``: wrk
    goes before what shares its core; not where the database's time is what counts.
    """
    count = connections or (VISITORS if rate else CONNECTIONS)
    mean_ms = 1000 * count / rate if rate else 0
    command = ["wrk", "-t1", f"-c{count}", f"-d{seconds:g}s", "--latency", "--timeout", "5s", "-s"]
    environ = {**os.environ, "BENCH_REQUESTS": str(requests), "BENCH_PAUSE_MS": f"{mean_ms:.3f}"}
    with on_core(LOAD_CORE):
        said = subprocess.run(
            [*command, str(HERE / "requests.lua"), f"http://127.0.0.1:{port}/"],
            env=environ, capture_output=True, text=True, check=True, preexec_fn=_before_others if first else None,
        ).stdout  # fmt: skip
    return _read(said)


def _before_others() -> None:
    """Of what shares wrk's core: what wrk waits for the database would count as the answers' time. Needs root."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def _read(said: str) -> Run:
    p99 = re.search(r"99%\s+([0-9.]+)(us|ms|s|m)", said)
    found = re.search(r"^answers (\d+) wrong (\d+) microseconds (\d+)$", said, re.MULTILINE)
    if p99 is None or found is None:
        raise RuntimeError(f"wrk said what is not understood: {said[-2000:]}")
    answers, wrong, took = (int(number) for number in found.groups())
    return Run(answers * 1e6 / took, float(p99[1]) * _UNITS[p99[2]], answers, wrong)
