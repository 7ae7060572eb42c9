"""What pages cost: CPU time of the server's process a request, against a bare Django view in the same process.

    python -m bench.pages

On PostgreSQL, for a customer with five keys. CPU time, so that other work on the machine changes the figures little;
pages and the bare view take turns.
"""

import http.client
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.world import World
from tests.support.production import HOST, ROOT
from tests.support.servers import die_with_parent, free_port

ROUNDS, REQUESTS, BARE_REQUESTS = 7, 40, 400
BARE_PATH = "/bare/"
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 120.0


@dataclass(frozen=True)
class Page:
    """``goal``: the least share of a bare view's speed that is wanted; ``is_public``: requested without a session."""

    name: str
    path: str
    goal: float
    is_public: bool = False


class Server:
    """One granian worker with one thread, on the database of the environment."""

    def __enter__(self) -> "Server":
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
             "--workers", "1", "--blocking-threads", "1", "--no-ws", "bench.page_server:application"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.get(BARE_PATH, 1, {})
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.2)
            else:
                return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the CPU time that the worker, granian's only child, has used."""
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        total = 0.0
        for pid in children:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        return total

    def get(self, path: str, count: int, headers: dict[str, str]) -> int:
        """Send ``count`` requests over one connection. Return the size of the page in bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        size = 0
        for _ in range(count):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            size = len(response.read())
            assert response.status == 200, (path, response.status)
        connection.close()
        return size

    def cost(self, path: str, count: int, headers: dict[str, str]) -> float:
        """Return CPU milliseconds a request."""
        self.get(path, 3, headers)
        before = self.cpu_seconds()
        self.get(path, count, headers)
        return (self.cpu_seconds() - before) / count * 1e3


def main() -> int:
    with World():
        from django.core.management import call_command
        from django.db import connections

        from tests.support import people

        call_command("collectstatic", verbosity=0, interactive=False)
        customer = people.customer(name="Sara")
        keys = [people.key_of(customer, f"bot {number}") for number in range(5)]
        browser = people.logged_in(customer)
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in browser.cookies.values())
        connections.close_all()
        headers = {
            "Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": people.ADDRESS,
            "User-Agent": people.BROWSER, "Accept-Language": "fa",
        }  # fmt: skip
        pages = [
            Page("log in", "/login/", 1 / 6, is_public=True),
            Page("dashboard, 5 keys", "/dashboard/", 1 / 20),
            Page("list of 5 keys", "/keys/", 1 / 20),
            Page("overview of a key", f"/keys/{keys[0].pk}/", 1 / 25),
        ]
        with Server() as server:
            return report(server, pages, headers, cookies)


def report(server: Server, pages: list[Page], headers: dict[str, str], cookies: str) -> int:
    """Print a line a page. Return 1 if a page is slower than its goal."""
    missed = 0
    bare: list[float] = []
    costs: dict[str, list[float]] = {page.name: [] for page in pages}
    sizes: dict[str, int] = {}
    for _ in range(ROUNDS):
        bare.append(server.cost(BARE_PATH, BARE_REQUESTS, headers))
        for page in pages:
            own = headers if page.is_public else {**headers, "Cookie": cookies}
            sizes[page.name] = server.get(page.path, 1, own)
            costs[page.name].append(server.cost(page.path, REQUESTS, own))
    reference = statistics.median(bare)
    sys.stdout.write(f"{'bare view':20} {reference:7.3f} ms of CPU\n")
    for page in pages:
        cost = statistics.median(costs[page.name])
        share = reference / cost
        missed += share < page.goal
        sys.stdout.write(
            f"{page.name:20} {cost:7.3f} ms of CPU   1/{cost / reference:.0f} of a bare view's speed "
            f"(goal 1/{1 / page.goal:.0f})   {sizes[page.name] / 1024:.1f} KB\n"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
