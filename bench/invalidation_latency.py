"""Measure the time from the commit of a change to the eviction in the last of three gateway processes, under load.

A listener that does nothing else runs beside them: its delay is that of the database and the machine.
"""

import os
import statistics
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from apikeys.gateway.keycache.postgresql_invalidation import CHANNEL
from bench.keys import Holder, write_requests
from bench.load import wrk
from bench.rivals import Rival

PROCESSES = 3
CHANGES = 400
PAUSE = 0.02
CHANGE = "UPDATE apikeys_apikey SET can_trade = can_trade WHERE key_id = %s"


@dataclass(frozen=True)
class Delays:
    """Median and 99th percentile in seconds. An eviction before the commit returned counts as 0."""

    after_commit: tuple[float, float]
    #: From the moment at which the commit was sent, so with the commit itself.
    with_commit: tuple[float, float]
    #: The same for the listener that does nothing else.
    idle_listener: tuple[float, float]


class InstrumentedGateway(Rival):
    """A gateway process that records its evictions; on either core, as three do not fit on one."""

    name = "gateway"
    core = None

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "bench.instrumented", "127.0.0.1", str(self.port), "1000", str(os.getpid()),
        ]  # fmt: skip

    def environ(self) -> dict[str, str]:
        return {**os.environ, "BENCH_EVICTIONS": str(self.directory / "evictions")}


def measure(directory: Path, url: str, holders: list[Holder], token: str, rate: float) -> Delays:
    """Change keys while each process handles ``rate`` requests a second."""
    requests = directory / "requests"
    for file in directory.glob("evictions.*"):
        file.unlink()
    with ExitStack() as stack:
        processes = [stack.enter_context(InstrumentedGateway(directory)) for _ in range(PROCESSES)]
        write_requests(requests, holders, token, each=1)
        for process in processes:
            wrk(process.port, requests, 3)
        write_requests(requests, holders, token, each=1)
        seconds = CHANGES * (PAUSE + 0.005) + 3
        pool = stack.enter_context(ThreadPoolExecutor(PROCESSES))
        loads = [
            pool.submit(wrk, process.port, requests, seconds, rate=rate, connections=32, first=False)
            for process in processes
        ]
        time.sleep(1)
        listener = Listener(url)
        commits = _change(url, [holder.key_id for holder in holders])
        listener.join()
        wrong = sum(load.result().wrong for load in loads)
    if wrong:
        raise RuntimeError(f"{wrong} responses were wrong while keys changed")
    return _delays(commits, _read_evictions(directory), listener.received)


#: Times by key id (monotonic clock of the machine).
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Commit:
    name: str
    sent: float
    returned: float


class Listener(threading.Thread):
    """Record notifications until none arrived for a second."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.received: Times = {}
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(f"LISTEN {CHANNEL}")
        self.start()

    def run(self) -> None:
        with self._connection as connection:
            last = time.monotonic()
            while time.monotonic() < last + 1:
                for notification in connection.notifies(timeout=1, stop_after=1):
                    last = time.monotonic()
                    self.received.setdefault(notification.payload, []).append(last)


def _change(url: str, names: list[str]) -> list[Commit]:
    commits = []
    with psycopg.connect(url) as connection:
        for n in range(CHANGES):
            name = names[n % len(names)]
            connection.execute(CHANGE, [name])
            sent = time.monotonic()
            connection.commit()
            commits.append(Commit(name, sent, time.monotonic()))
            time.sleep(PAUSE)
    return commits


def _read_evictions(directory: Path) -> Times:
    evictions: Times = {}
    for file in directory.glob("evictions.*"):
        for line in file.read_text(encoding="ascii").splitlines():
            name, moment = line.split()
            evictions.setdefault(name, []).append(float(moment))
    return evictions


def _delays(commits: list[Commit], evictions: Times, notifications: Times) -> Delays:
    after_commit, with_commit, idle = [], [], []
    for commit in commits:
        times = [moment for moment in evictions.get(commit.name, ()) if moment >= commit.sent]
        last = sorted(times)[:PROCESSES]
        if len(last) < PROCESSES:
            raise RuntimeError("a process did not receive a change")
        after_commit.append(max(0.0, last[-1] - commit.returned))
        with_commit.append(last[-1] - commit.sent)
        idle.append(
            min(moment for moment in notifications[commit.name] if moment >= commit.sent) - commit.sent
        )
    return Delays(_spread(after_commit), _spread(with_commit), _spread(idle))


def _spread(times: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return statistics.median(ordered), statistics.quantiles(ordered, n=100)[98]
