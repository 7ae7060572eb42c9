"""Whether the time of a refused login tells who has an account: medians of four kinds of number, interleaved.

On PostgreSQL and Valkey with 4 processes, over HTTP, every try from an address of its own, so that no rate answers.
"""

import http.client
import itertools
import random
import re
import statistics
import sys
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.live_portal import LivePortal
from tests.support.servers import Postgres, Valkey, create_database

EACH = 500
#: Each number is tried 20 times; `Rate.LOGIN_PHONE` admits 25 in a quarter of an hour.
NUMBERS = 25
CLIENTS = 2  # more would measure their waiting for two cores
KINDS = ("known", "unknown", "inactive", "unusable")
SPREAD = 1.05
PEOPLE = f"""
from accounts.models import User
first = User.objects.create_user('+989130000000', 'not what is typed')
for kind, fields in (('1', {{}}), ('3', {{'is_active': False}}), ('4', {{'password': '!' + 'x' * 40}})):
    User.objects.bulk_create([User(**{{'phone': f'+98913{{kind}}{{n:06d}}', 'password': first.password, **fields}})
                              for n in range({NUMBERS})])
"""


class Visitor:
    """One browser with the login page open; ``post`` answers how long a wrong password took."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("GET", "/login/")
        answer = self.connection.getresponse()
        page = answer.read().decode()
        match = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert match is not None, answer.status
        self.token = match.group(1)
        self.cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def post(self, phone: str, address: str) -> float:
        fields = {"phone": phone, "password": "wrong password", "csrfmiddlewaretoken": self.token}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": self.cookie,
            "X-Forwarded-For": address,
        }
        start = time.perf_counter()
        self.connection.request("POST", "/login/", urllib.parse.urlencode(fields), headers)
        answer = self.connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - start
        assert answer.status == 200, (answer.status, body[:200])
        return took


def one_client(port: int, tries: list[tuple[str, str, str]]) -> list[tuple[str, float]]:
    visitor = Visitor(port)
    return [(kind, visitor.post(phone, address)) for kind, phone, address in tries]


def measure(portal: LivePortal) -> dict[str, list[float]]:
    portal.manage("shell", "--no-imports", "--command", PEOPLE)
    numbers = {kind: [f"+98913{n + 1}{m:06d}" for m in range(NUMBERS)] for n, kind in enumerate(KINDS)}
    addresses = (f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in itertools.count(1))
    tries = [(kind, numbers[kind][n % NUMBERS], next(addresses)) for n in range(EACH) for kind in KINDS]
    # Interleaved, and in no fixed order: what slows the machine down for a moment slows all kinds alike.
    rounds = [random.sample(tries[n : n + 4], 4) for n in range(0, len(tries), 4)]  # nosec B311
    shares = [list(itertools.chain(*rounds[n::CLIENTS])) for n in range(CLIENTS)]
    one_client(portal.port, [("warm", "+989139999999", next(addresses)) for _ in range(8)])
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = list(pool.map(one_client, [portal.port] * CLIENTS, shares))
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for kind, seconds in itertools.chain(*runs):
        times[kind].append(seconds)
    return times


def report(what: str, times: dict[str, list[float]]) -> bool:
    """Prints medians as ratios of the first kind's; whether all are within SPREAD of each other."""
    medians = {kind: statistics.median(seconds) for kind, seconds in times.items()}
    for kind, median in medians.items():
        ratio = median / next(iter(medians.values()))
        sys.stdout.write(
            f"{what}, {kind:15} n={len(times[kind])}   median {median * 1e3:7.3f} ms   x {ratio:.3f}\n"
        )
    spread = max(medians.values()) / min(medians.values())
    sys.stdout.write(f"largest by smallest median: {spread:.3f} (must be < {SPREAD})\n")
    return spread < SPREAD


def main() -> int:
    postgres, valkey = Postgres(), Valkey()
    postgres.start()
    valkey.start()
    try:
        with tempfile.TemporaryDirectory(prefix="portal-bench-") as directory:
            environ = {
                "DATABASE_URL": create_database(postgres.url()),
                "REDIS_URL": valkey.url(0),
                "PORTAL_PROCESSES": "4",
                "PORTAL_TRUSTED_PROXIES": "127.0.0.1/32",
                "PORTAL_LOG_LEVEL": "ERROR",
            }
            portal = LivePortal(Path(directory), environ).start()
            try:
                return 0 if report("wrong password", measure(portal)) else 1
            finally:
                portal.stop()
    finally:
        valkey.stop()
        postgres.stop()


if __name__ == "__main__":
    sys.exit(main())
