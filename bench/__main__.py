"""``make bench``: measure the time of a decision and of the demo's pages. Loopback only; ends by itself."""

import functools
import hashlib
import hmac
import http.client
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apikeys.verification.decision import Outcome, decide
from apikeys.verification.networks import compile_networks
from apikeys.verification.records import CredentialRecord, KeyRecord
from apikeys.verification.signing import Kind
from tests.support.live_portal import LivePortal

DECISIONS = 5_000
REQUESTS = 200
CLIENTS = 4
KEY, SECRET, NOW_MS = "k" * 64, b"s" * 64, 1_800_000_000_000
QUERY = f"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=1&recvWindow=5000&timestamp={NOW_MS}".encode()
SIGNED = QUERY + b"&signature=" + hmac.new(SECRET, QUERY, hashlib.sha256).hexdigest().encode()
RECORD = KeyRecord(
    user="bench",
    key=KEY,
    active=True,
    owner_active=True,
    expires_at_ms=None,
    permissions=frozenset({"read"}),
    restricted=True,
    networks=compile_networks([f"203.0.113.{number}" for number in range(30)]),
    credentials=(CredentialRecord(1, Kind.HMAC, SECRET),),
)


def report(name: str, seconds: list[float], reference: float) -> float:
    """One line: the median in milliseconds, how many references it takes, and the 99th percentile; returns the median.

    Ratios within one run are comparable between machines; the milliseconds are not.
    """
    cuts = statistics.quantiles(seconds, n=100)
    ratio = cuts[49] / (reference or cuts[49])
    sys.stdout.write(
        f"{name:28} median {cuts[49] * 1e3:8.3f} ms   x {ratio:6.2f}   p99 {cuts[98] * 1e3:8.3f} ms\n"
    )
    return cuts[49]


def timed(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def decision(record: KeyRecord | None, expected: Outcome) -> None:
    answer = decide(
        record,
        api_key=KEY,
        query=SIGNED,
        body=b"",
        client_ip="203.0.113.29",
        permission="read",
        now_ms=NOW_MS,
    )
    assert answer.outcome is expected


def one_client(port: int, path: str, count: int) -> list[float]:
    """Return the seconds of ``count`` GETs, one after the other, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get() -> None:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, (path, answer.status)

    seconds = [timed(get) for _ in range(count)]
    connection.close()
    return seconds


def signature() -> None:
    hmac.new(SECRET, QUERY, hashlib.sha256).hexdigest()


def decisions() -> None:
    """Compare decisions with one HMAC-SHA256 of the same text."""
    reference = report("HMAC-SHA256 alone", [timed(signature) for _ in range(DECISIONS)], 0)
    cases: list[tuple[str, KeyRecord | None, Outcome]] = [
        ("decision, allowed", RECORD, Outcome.ALLOWED),
        ("decision, unknown key", None, Outcome.KEY_UNKNOWN),
    ]
    for name, record, outcome in cases:
        call = functools.partial(decision, record, outcome)
        report(name, [timed(call) for _ in range(DECISIONS)], reference)


def pages(port: int) -> None:
    """Compare pages with a response of the same server without work."""
    reference = 0.0
    for path in ("/healthz", "/api/v3/ping", "/login/"):
        one_client(port, path, CLIENTS)
        with ThreadPoolExecutor(CLIENTS) as pool:
            runs = pool.map(one_client, [port] * CLIENTS, [path] * CLIENTS, [REQUESTS] * CLIENTS)
            seconds = [second for run in runs for second in run]
        median = report(f"GET {path}", seconds, reference)
        reference = reference or median


def main() -> None:
    decisions()
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as directory:
        portal = LivePortal(Path(directory)).start()
        try:
            pages(portal.port)
        finally:
            portal.stop()


if __name__ == "__main__":
    main()
