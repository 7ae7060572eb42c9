"""The gateway's own targets: memory for each key, invalidation latency, and the speed of public keys."""

import base64
import statistics
import time
import urllib.parse
from collections.abc import Callable
from functools import partial

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from apikeys.models import Credential
from bench import invalidation_latency, keys, load, memory_per_process
from bench.report import Row
from bench.world import Gateway, World

#: Number of keys (a divisor of `LOOP`), and their bits. RSA's smallest size is the hardest: the less a verification
#: costs, the more the rest weighs.
SIGNERS = {"ed25519": ((200, 0),), "rsa": ((200, 3072), (40, 4096))}
LOOP = 4_000
LATENCY_RUNS = 5


def rows(world: World, token: str, highest: float, seconds: float, count: int) -> list[Row]:
    return [
        cached_key(),
        invalidation(world, token, highest),
        *(
            public_keys(world, token, kind, signers, bits, seconds, count)
            for kind, sizes in SIGNERS.items()
            for signers, bits in sizes
        ),
    ]


def cached_key() -> Row:
    rss, traced = memory_per_process.measure("rss"), memory_per_process.measure("traced")
    beside = f"of them {traced:,.0f} seen by tracemalloc; {memory_per_process.KEYS:,} keys"
    return Row("memory per cached key", f"{rss:,.0f} bytes", "<= 2,048 bytes", beside)


def invalidation(world: World, token: str, highest: float) -> Row:
    rate = highest / 2 / invalidation_latency.PROCESSES
    holders = keys.hmac_holders(500)
    runs = [
        invalidation_latency.measure(world.directory, world.url, holders, token, rate)
        for _ in range(LATENCY_RUNS)
    ]
    runs.sort(key=lambda run: run.after_commit[1])
    delays = runs[LATENCY_RUNS // 2]
    return Row(
        f"from a commit to the eviction in the last of {invalidation_latency.PROCESSES} processes, p99 under load",
        f"{delays.after_commit[1] * 1e3:.2f} ms "
        f"({runs[0].after_commit[1] * 1e3:.2f}-{runs[-1].after_commit[1] * 1e3:.2f})",
        "<= 10 ms",
        f"median {delays.after_commit[0] * 1e3:.2f} ms; with the commit itself {_format(delays.with_commit)}, and "
        f"{_format(delays.idle_listener)} for a listener that does nothing else; "
        f"{LATENCY_RUNS} x {invalidation_latency.CHANGES} changes, {rate:,.0f} /s on each process",
    )


def _format(spread: tuple[float, float]) -> str:
    return f"{spread[0] * 1e3:.2f} ms (p99 {spread[1] * 1e3:.2f})"


def public_keys(
    world: World, token: str, kind: str, signers: int, bits: int, seconds: float, count: int
) -> Row:
    """Compare signatures verified over HTTP with a loop of `cryptography`'s verify on the same core."""
    holders = keys.public_key_holders(kind, signers, bits)
    prepare = partial(keys.write_requests, world.directory / "requests", holders, token, 10)
    path, ratios, rates, limits = world.directory / "requests", [], [], []
    with Gateway(token, {}) as server:
        prepare()
        load.wrk(server.port, path, 4)
        for _ in range(count):
            prepare()
            before = _verify_rate(kind, holders)
            run = load.wrk(server.port, path, seconds)
            if run.wrong:
                raise RuntimeError(f"{kind}: {run.wrong} of {run.answers} responses were wrong")
            # Before and after: the machine's speed may change within a second.
            limits.append((before + _verify_rate(kind, holders)) / 2)
            rates.append(run.rate)
            ratios.append(run.rate / limits[-1])
    spread = load.Spread.of(ratios)
    beside = f"{statistics.median(rates):,.0f} : {statistics.median(limits):,.0f} /s"
    text = f"{spread.median:.2f} ({spread.least:.2f}-{spread.most:.2f})"
    return Row(
        f"{kind}{f' of {bits} bits' if bits else ''} over HTTP, against `cryptography`'s own verify in a loop",
        text,
        ">= 0.7",
        beside,
    )


def _verify_rate(kind: str, holders: list[keys.Holder]) -> float:
    """Return verifications a second of the same keys in turn: a single one would stay in the processor's cache."""
    payload = keys.QUERY.format(n=1, at=1_800_000_000_000).encode()
    extra = (PKCS1v15(), SHA256()) if kind == "rsa" else ()
    checks = [partial(_verify(holder), _signature(holder, payload), payload, *extra) for holder in holders]
    with load.on_core(load.SERVER_CORE):
        for check in checks:  # the first verification prepares the key
            check()
        began = time.perf_counter()
        for _ in range(LOOP // len(checks)):
            for check in checks:
                check()
        return LOOP / (time.perf_counter() - began)


def _signature(holder: keys.Holder, payload: bytes) -> bytes:
    return base64.b64decode(urllib.parse.unquote(holder.sign(payload)))


def _verify(holder: keys.Holder) -> Callable[..., None]:
    credential = Credential.objects.get(key__key_id=holder.key_id)
    key = load_der_public_key(base64.b64decode(credential.public_key))
    return key.verify  # type: ignore[union-attr]
