"""``python -m bench.gateway [seconds of a round] [rounds]``: compare the gateway with other servers and its targets.

Everything runs over loopback: the server on one core, wrk and the database on the other. Compared servers take turns,
round by round, and each figure is the median of the rounds' ratios: other work on the machine slows both sides alike.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Protocol

from bench import load
from bench.report import Row, write
from bench.world import Gateway, World

KEYS = 10_000
HOT = 1_000
COLD = 1_000_000
OURS = "the gateway"


class MeasuredServer(Protocol):
    port: int


def warm(port: int, prepare: Callable[[], None], world: World, keys: int) -> None:
    """Send requests until every key is cached: each is loaded from the database once."""
    for _ in range(40):
        prepare()
        if load.wrk(port, world.directory / "requests", 4).answers > 2 * keys:
            return


def rounds(
    world: World,
    servers: Mapping[str, MeasuredServer],
    prepare: Callable[[], None],
    seconds: float,
    count: int,
) -> dict[str, list[float]]:
    """Return the requests a second of each server. They take turns; each round begins with another one."""
    rates: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(count):
        prepare()
        first = number % len(servers)
        for name in [*servers][first:] + [*servers][:first]:
            run = load.wrk(servers[name].port, world.directory / "requests", seconds)
            if run.wrong:
                raise RuntimeError(f"{name}: {run.wrong} of {run.answers} responses were wrong")
            rates[name].append(run.rate)
    return rates


def ratio(name: str, ours: list[float], theirs: list[float], wanted: str) -> Row:
    spread = load.Spread.of([our / their for our, their in zip(ours, theirs, strict=True)])
    rates = f"{statistics.median(ours):,.0f} : {statistics.median(theirs):,.0f} /s"
    return Row(name, f"{spread.median:.2f} ({spread.least:.2f}-{spread.most:.2f})", wanted, rates)


def beside_others(world: World, token: str, seconds: float, count: int) -> tuple[list[Row], float]:
    """Return the table's first rows, and the gateway's maximum load in requests a second."""
    from bench import keys, rivals

    holders = keys.hmac_holders(KEYS)
    rivals.write_keys(world.directory, holders, token)
    prepare = partial(keys.write_requests, world.directory / "requests", holders, token)
    wanted = {
        rivals.Bare: ">= 0.65",
        rivals.Granian: ">= 0.65",
        rivals.Stock: "reported",
        rivals.Plain: ">= 1.0",
        rivals.Tuned: "reported",
        rivals.Node: ">= 1.3",
    }
    rows, missing = [], [(kind, why) for kind in wanted if (why := kind.missing())]
    with ExitStack() as stack:
        ours = stack.enter_context(Gateway(token, {}))
        warm(ours.port, prepare, world, KEYS)
        others = {
            kind: stack.enter_context(kind(world.directory)) for kind in wanted if kind.missing() is None
        }
        servers: dict[str, MeasuredServer] = {
            OURS: ours,
            **{kind.name: other for kind, other in others.items()},
        }
        rates = rounds(world, servers, prepare, seconds, count)
        rows += [ratio(kind.name, rates[OURS], rates[kind.name], wanted[kind]) for kind in others]
        rows += [Row(kind.name, "left out", wanted[kind], why) for kind, why in missing]
        rows.append(half_load(world, ours, others[rivals.Bare], prepare, statistics.median(rates[OURS]) / 2))
        rows.append(leanest(world, ours, prepare, seconds, count))
    return rows, statistics.median(rates[OURS])


def half_load(
    world: World, ours: MeasuredServer, bare: MeasuredServer, prepare: Callable[[], None], rate: float
) -> Row:
    """Compare the 99th percentiles of both at half of the gateway's maximum load."""
    path, times = world.directory / "requests", []
    for _ in range(5):
        prepare()
        mine = load.wrk(ours.port, path, 4, rate=rate)
        times.append((mine.p99, load.wrk(bare.port, path, 4, rate=rate).p99, mine.rate))
    spread = load.Spread.of([mine / theirs for mine, theirs, _rate in times])
    mine_ms, theirs_ms = (statistics.median(column) * 1e3 for column in list(zip(*times, strict=True))[:2])
    at = statistics.median(rate for _mine, _theirs, rate in times)
    return Row(
        "p99 at half of the highest load, against the bare server's",
        f"{spread.median:.2f} ({spread.least:.2f}-{spread.most:.2f})",
        "<= 3",
        f"{mine_ms:.2f} : {theirs_ms:.2f} ms at {at:,.0f} /s",
    )


def leanest(
    world: World, ours: MeasuredServer, prepare: Callable[[], None], seconds: float, count: int
) -> Row:
    from bench import keys, rivals
    from tests.support.servers import create_database

    server = rivals.Leanest(world.directory, create_database(world.postgres.url()))
    theirs = server.prepare(HOT)
    prepared = world.directory / "leanest.requests"
    prepared.write_bytes(b"".join(keys.bare_request(key) + b"\0" for key in theirs))
    rates: dict[str, list[float]] = {OURS: [], server.name: []}
    with server:
        load.wrk(server.port, prepared, 2)
        for _ in range(count):
            prepare()
            rates[OURS].append(load.wrk(ours.port, world.directory / "requests", seconds).rate)
            run = load.wrk(server.port, prepared, seconds)
            if run.wrong:
                raise RuntimeError(f"{server.name}: {run.wrong} of {run.answers} responses were wrong")
            rates[server.name].append(run.rate)
    return ratio(server.name, rates[OURS], rates[server.name], ">= 30")


def with_many(world: World, token: str, seconds: float, count: int) -> Row:
    """Compare the same gateway over a database with a thousand keys, and with a million more."""
    from bench import keys

    holders = keys.hmac_holders(HOT)
    large = keys.copy_of(world.url)
    keys.add_cold(large, COLD)
    prepare = partial(keys.write_requests, world.directory / "requests", holders, token, 20)
    with Gateway(token, {}) as few, Gateway(token, {"DATABASE_URL": large}) as many:
        for server in (few, many):
            warm(server.port, prepare, world, HOT)
        rates = rounds(world, {"few": few, "many": many}, prepare, seconds, count)
    return ratio(f"itself with {COLD:,} keys in the database", rates["many"], rates["few"], ">= 0.95")


def main() -> int:
    if why := load.missing():
        sys.stderr.write(f"{why}\n")
        return 1
    seconds, count = load.seconds_and_rounds()
    began = time.time()
    with World() as world:
        from bench import targets
        from tests.support.gateways import token

        bearer = token("bench")
        rows, highest = beside_others(world, bearer, seconds, count)
        rows += targets.rows(world, bearer, highest, seconds, count)
        # Last: PostgreSQL's maintenance of a million new rows takes minutes.
        rows.append(with_many(world, bearer, seconds, count))
    write(rows, began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
