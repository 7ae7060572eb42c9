"""From a change's commit to the drop in the last of three gateway processes, while all three are under load."""

import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg

from apikeys.management.commands.run_gateway import SERVER
from bench.keys import Holder, write_requests
from bench.load import wrk
from bench.rivals import Rival

PROCESSES = 3
CHANGES = 400
PAUSE = 0.02
CHANGE = "UPDATE apikeys_apikey SET can_trade = can_trade WHERE key_id = %s"


class Spied(Rival):
    """A gateway process that writes down its drops; on either core, as three do not fit on one."""

    name = "gateway"
    core = None

    def command(self) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "granian", *SERVER.split(), *where, "bench.spied:app"]

    def environ(self) -> dict[str, str]:
        return {**os.environ, "BENCH_DROPS": str(self.directory / "drops")}


def measure(directory: Path, url: str, holders: list[Holder], token: str, rate: float) -> tuple[float, float]:
    """Median and 99th percentile in seconds; ``rate``: requests a second of each process meanwhile."""
    requests = directory / "requests"
    with ExitStack() as stack:
        processes = [stack.enter_context(Spied(directory)) for _ in range(PROCESSES)]
        write_requests(requests, holders, token, each=1)
        for process in processes:
            wrk(process.port, requests, 3)
        write_requests(requests, holders, token, each=1)
        seconds = CHANGES * (PAUSE + 0.005) + 3
        pool = stack.enter_context(ThreadPoolExecutor(PROCESSES))
        loads = [
            pool.submit(wrk, process.port, requests, seconds, rate=rate, connections=32)
            for process in processes
        ]
        time.sleep(1)
        commits = _change(url, [holder.key_id for holder in holders])
        wrong = sum(load.result().wrong for load in loads)
    if wrong:
        raise RuntimeError(f"{wrong} answers were wrong while keys changed")
    return _delays(directory, commits)


def _change(url: str, names: list[str]) -> list[tuple[str, float]]:
    """Key and moment of each commit: just before it is sent, so that its own way counts."""
    commits = []
    with psycopg.connect(url) as connection:
        for n in range(CHANGES):
            name = names[n % len(names)]
            connection.execute(CHANGE, [name])
            commits.append((name, time.monotonic()))
            connection.commit()
            time.sleep(PAUSE)
    return commits


def _delays(directory: Path, commits: list[tuple[str, float]]) -> tuple[float, float]:
    heard: dict[str, list[float]] = {}
    for file in directory.glob("drops.*"):
        for line in file.read_text(encoding="ascii").splitlines():
            dropped, moment = line.split()
            heard.setdefault(dropped, []).append(float(moment))
    delays = []
    for name, at in commits:
        drops = sorted(drop for drop in heard.get(name, ()) if drop >= at)[:PROCESSES]
        if len(drops) < PROCESSES:
            raise RuntimeError("a change was not heard by every process")
        delays.append(drops[-1] - at)
    return statistics.median(delays), statistics.quantiles(delays, n=100)[98]
