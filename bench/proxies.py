"""``python -m bench.proxies [seconds of a round] [rounds] [proxy ...]``: each shipped proxy with the gateway behind it.

It is compared with the same proxy before a server that allows each request at once, in the same form of a response: the
ratio says how much of a proxy's speed the gateway's decisions leave. Both take turns, round by round.

Proxy, exchange (nginx with a constant response) and wrk are on one core; the server that decides and the database on
the other, as a gateway has where it matters how many requests it carries. ``BENCH_SHARED=1`` puts that server onto the
proxy's core, and exchange and wrk onto the other one: then the ratio is that of the processor time of both.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench import load
from bench.load import LOAD_CORE, SERVER_CORE, on_core
from bench.report import Row, write
from bench.world import Gateway, World

KEYS = 1_000
WANTED = 0.9
RESULTS = Path(__file__).resolve().parent / "proxies.md"


INTRODUCTION = (
    "Written by `python -m bench.proxies`: requests a second through each proxy with the gateway behind it, divided\n"
    "by those with a server behind it that allows each request at once; median (least-most) of the rounds' ratios.\n"
    "plain: GET with a signed query string; body: POST with a signed form body. Proxy, exchange and load are on one\n"
    "core; the server that decides and the database on the other. For one shared core see docs/gateway.md."
)


class WrongResponses(Exception):
    """A proxy did not pass all requests, each of which is allowed."""


def main() -> int:
    if why := load.missing():
        sys.stderr.write(f"{why}\n")
        return 1
    seconds, count = load.seconds_and_rounds()
    began, rows = time.time(), []
    with World() as world:
        from apikeys.models import ApiKey
        from bench import keys, rivals
        from tests.support import recipes
        from tests.support.gateways import token

        bearer = token("bench")
        holders = keys.hmac_holders(KEYS)
        requests = world.directory / "requests"
        # All requests come from one address.
        ApiKey.objects.update(ip_policy="unrestricted")
        with ExitStack() as stack:
            shares = bool(os.environ.get("BENCH_SHARED"))
            deciding, others = (SERVER_CORE, LOAD_CORE) if shares else (LOAD_CORE, SERVER_CORE)
            gateway = stack.enter_context(Gateway(bearer, {}, deciding))
            allowing, exchange = rivals.Allowing(world.directory), rivals.ConstantExchange(world.directory)
            allowing.core, exchange.core = deciding, others
            stack.enter_context(allowing)
            stack.enter_context(exchange)
            for name in sys.argv[3:] or recipes.RECIPES:
                recipe = recipes.RECIPES[name]
                if recipe.find() is None:
                    rows.append(Row(recipe.title, "left out", "", f"not installed: {recipe.install}"))
                elif name == "envoy-grpc":
                    rows.append(
                        Row(recipe.title, "left out", "", "no server to compare it with speaks ext_authz")
                    )
                else:
                    ports = (gateway.port, allowing.port)
                    with _proxies(world, name, ports, exchange.port, bearer) as (proxied, compared):
                        for form, wanted in (("plain", f">= {WANTED}"), ("body", "reported")):
                            if form == "body" and "post_form" in recipe.refuses:
                                rows.append(
                                    Row(f"{recipe.title}, {form}", "refused", "", "it takes no bodies")
                                )
                                continue
                            write_requests = {"plain": keys.write_plain, "body": keys.write_forms}[form]
                            prepare = partial(write_requests, requests, holders)
                            title = f"{recipe.title}, {form}"
                            try:
                                measure = partial(load.wrk, requests=requests, seconds=seconds, core=others)
                                rates = _rounds(proxied, compared, prepare, measure, count)
                            except WrongResponses as error:
                                rows.append(Row(title, "failed", wanted, str(error)))
                            else:
                                rows.append(_row(title, *rates, wanted))
    write(rows, began, RESULTS, "Each proxy with the gateway behind it", INTRODUCTION)
    return 0


@contextmanager
def _proxies(
    world: World, name: str, ports: tuple[int, int], exchange_port: int, bearer: str
) -> Iterator[tuple[int, int]]:
    """Start the proxy twice, before each of the two servers; give the ports of both."""
    from tests.support import recipes

    recipe = recipes.RECIPES[name]
    with ExitStack() as stack:
        listening = []
        for port in ports:
            directory = world.directory / f"{name}-{port}"
            directory.mkdir()
            directory.chmod(0o755)
            setting = recipes.setting_for(
                directory, gateway_port=port, exchange_port=exchange_port, token=bearer
            )
            with on_core(SERVER_CORE):
                stack.enter_context(recipes.running(recipe, setting))
            listening.append(setting.port)
        yield listening[0], listening[1]


def _rounds(
    ours: int, theirs: int, prepare: Callable[[], None], measure: Callable[[int], load.Run], count: int
) -> tuple[list[float], list[float]]:
    """Return the requests a second of both ports. They take turns; each round begins with the other one."""
    rates: dict[int, list[float]] = {ours: [], theirs: []}
    prepare()
    measure(ours)  # each key is loaded once
    for number in range(count):
        prepare()
        for port in (ours, theirs) if number % 2 else (theirs, ours):
            run = measure(port)
            if run.wrong:
                raise WrongResponses(f"{run.wrong} of {run.answers} responses were wrong")
            rates[port].append(run.rate)
    return rates[ours], rates[theirs]


def _row(name: str, ours: list[float], theirs: list[float], wanted: str) -> Row:
    spread = load.Spread.of([our / their for our, their in zip(ours, theirs, strict=True)])
    rates = f"{statistics.median(ours):,.0f} : {statistics.median(theirs):,.0f} /s"
    return Row(name, f"{spread.median:.2f} ({spread.least:.2f}-{spread.most:.2f})", wanted, rates)


if __name__ == "__main__":
    sys.exit(main())
