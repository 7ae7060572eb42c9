"""From a change's commit to the drop in the last of three gateway processes, while all three are under load.

A listener that does nothing else stands beside them: what it waits is the database's and the machine's.
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
    """Seconds: median, 99th percentile. A drop before the commit was answered took none."""

    answered: tuple[float, float]
    #: From the moment at which the commit was sent, so with the commit itself.
    sent: tuple[float, float]
    #: The same of the listener that does nothing else.
    alone: tuple[float, float]


class Spied(Rival):
    """A gateway process that writes down its drops; on either core, as three do not fit on one."""

    name = "gateway"
    core = None

    def command(self) -> list[str]:
        return [sys.executable, "-m", "bench.instrumented", "127.0.0.1", str(self.port), "1000", str(os.getpid())]

    def environ(self) -> dict[str, str]:
        return {**os.environ, "BENCH_DROPS": str(self.directory / "drops")}


def measure(directory: Path, url: str, holders: list[Holder], token: str, rate: float) -> Delays:
    """``rate``: requests a second of each process meanwhile."""
    requests = directory / "requests"
    for file in directory.glob("drops.*"):
        file.unlink()
    with ExitStack() as stack:
        processes = [stack.enter_context(Spied(directory)) for _ in range(PROCESSES)]
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
        raise RuntimeError(f"{wrong} answers were wrong while keys changed")
    return _delays(commits, _heard(directory), listener.heard)


#: When each key was dropped, on the machine's clock.
Heard = dict[str, list[float]]


@dataclass(frozen=True)
class Commit:
    name: str
    sent: float
    answered: float


class Listener(threading.Thread):
    """Ends when it heard nothing for a second."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.heard: Heard = {}
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(f"LISTEN {CHANNEL}")
        self.start()

    def run(self) -> None:
        with self._connection as connection:
            last = time.monotonic()
            while time.monotonic() < last + 1:
                for notification in connection.notifies(timeout=1, stop_after=1):
                    last = time.monotonic()
                    self.heard.setdefault(notification.payload, []).append(last)


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


def _heard(directory: Path) -> Heard:
    heard: Heard = {}
    for file in directory.glob("drops.*"):
        for line in file.read_text(encoding="ascii").splitlines():
            name, moment = line.split()
            heard.setdefault(name, []).append(float(moment))
    return heard


def _delays(commits: list[Commit], heard: Heard, alone: Heard) -> Delays:
    answered, sent, beside = [], [], []
    for commit in commits:
        drops = sorted(drop for drop in heard.get(commit.name, ()) if drop >= commit.sent)[:PROCESSES]
        if len(drops) < PROCESSES:
            raise RuntimeError("a change was not heard by every process")
        answered.append(max(0.0, drops[-1] - commit.answered))
        sent.append(drops[-1] - commit.sent)
        beside.append(min(drop for drop in alone[commit.name] if drop >= commit.sent) - commit.sent)
    return Delays(_spread(answered), _spread(sent), _spread(beside))


def _spread(times: Iterable[float]) -> tuple[float, float]:
    found = sorted(times)
    return statistics.median(found), statistics.quantiles(found, n=100)[98]
