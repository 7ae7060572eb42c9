"""Check every decision of gateways under load, while keys change and machines fail.

``python -m tests.support.truth --keys 1000 --seconds 60``: three gateway processes over their own PostgreSQL, programs
that send requests without a pause, authors that change keys, and injected faults. Prints the observations as JSON; the
exit code is 1 if a request was allowed that had to be rejected after its change was acknowledged, or if a request was
rejected for no reason.
"""

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HOME, OFFICE = "203.0.113.9", "198.51.100.7"
#: Time after a database is available again, until every gateway has reconnected.
RECOVERY_SECONDS = 5.0
GATEWAYS, PROGRAMS, AUTHORS = 3, 6, 3
#: Time for which an expired key still reads.
GRACE_MS = 7 * 86_400_000
#: Clocks are read in whole milliseconds.
ROUNDING_MS = 2
ENDS = ("expiry", "end of grace", "end of trading", "quarantine", "end of the old secret")


@dataclass(frozen=True)
class KeyModel:
    """The state of a key as its author knows it. Ends are in ms since 1970; None: there is none."""

    active: bool = True
    revoked: bool = False
    owner_frozen: bool = False
    trades: bool = True
    office: bool = True
    old_ended: bool = False
    expires: int | None = None
    trades_until: int | None = None
    quarantined_until: int | None = None
    old_until: int | None = None

    def admits(self, subject: "RequestKind", at: int) -> bool:
        """Return whether a request at ``at`` (ms since 1970) is allowed."""
        return (
            self.active
            and not self.revoked
            and not self.owner_frozen
            and (subject.permission == "read" or self.trades)
            and (subject.address == HOME or self.office)
            and not (subject.is_old and self.old_ended)
            and self.ended(subject, at) is None
        )

    def ended(self, subject: "RequestKind", at: int) -> str | None:
        """Return the end or quarantine that forbids the request at ``at``, or None."""
        if self.expires is not None and at >= self.expires + GRACE_MS:
            return "end of grace"
        if subject.is_old and self.old_until is not None and at >= self.old_until:
            return "end of the old secret"
        if subject.permission == "read":
            return None
        if self.expires is not None and at >= self.expires:
            return "expiry"
        if self.trades_until is not None and at >= self.trades_until:
            return "end of trading"
        if self.quarantined_until is not None and at < self.quarantined_until:
            return "quarantine"
        return None

    def ends(self) -> list[int]:
        """Return the moments at which the decision may change."""
        moments = [self.expires, self.trades_until, self.quarantined_until, self.old_until]
        moments += [None if self.expires is None else self.expires + GRACE_MS]
        return [moment for moment in moments if moment is not None]


@dataclass(frozen=True)
class RequestKind:
    """A kind of request: with the old or the new secret, for which permission, from which address.

    ``key_only``: without a signature, for a route that needs only a live key.
    """

    is_old: bool
    permission: str
    address: str
    key_only: bool = False


@dataclass
class KnownKey:
    """A key, its secrets and its history: (begin of a change, its acknowledgement, the state after it)."""

    pk: Any
    key_id: str
    owner: Any
    old: str
    new: str
    history: list[tuple[float, float, KeyModel]] = field(default_factory=lambda: [(0.0, 0.0, KeyModel())])
    certain: bool = True

    def possible(self, begun: float, ended: float) -> set[KeyModel]:
        """Return the states in which the key may have been at any moment between."""
        history = list(self.history)
        acknowledged = [state for _begun, answered, state in history if answered < begun]
        return {acknowledged[-1]} | {
            state for first, last, state in history if first <= ended and last >= begun
        }


class Checker:
    """Compares the responses of the gateways with the possible ones, and counts them."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[dict[str, Any]] = []
        self.down: list[tuple[float, float]] = []
        self.lock = threading.Lock()

    def judge(
        self,
        key: KnownKey,
        subject: RequestKind,
        begun: float,
        ended: float,
        clock: tuple[int, int],
        status: int,
    ) -> None:
        """Check a response. ``begun``, ``ended``: monotonic clock; ``clock``: the same in ms since 1970."""
        first, last = clock[0] - ROUNDING_MS, clock[1] + ROUNDING_MS
        states = key.possible(begun, ended)
        truths = {
            state.admits(subject, at)
            for state in states
            for at in (first, last, *(end for end in state.ends() if first < end <= last))
        }
        # Between two of these moments nothing ends: a quarantine ends before its moment, everything else at it.
        truths |= {
            state.admits(subject, end - 1) for state in states for end in state.ends() if first < end <= last
        }
        answer = "allowed" if status == 204 else "unavailable" if status == 503 else "refused"
        right = {
            "allowed": True in truths,
            "refused": False in truths,
            "unavailable": any(
                first <= ended and begun <= last + RECOVERY_SECONDS for first, last in self.down
            ),
        }[answer]
        with self.lock:
            self.seen[answer] += 1
            self.seen[f"{answer} by the key alone"] += subject.key_only
            for state in states if answer == "refused" and len(states) == 1 else ():
                end = state.ended(subject, first)
                endless = replace(
                    state, expires=None, trades_until=None, quarantined_until=None, old_until=None
                )
                if end is not None and endless.admits(subject, first):
                    self.seen[f"refused for nothing but: {end}"] += 1
            if not right and key.certain:
                self.wrong.append({"answer": answer, "status": status, "subject": str(subject), "at": begun})


def program(
    checker: Checker, keys: list[KnownKey], ports: list[int], bearer: str, stop: threading.Event, seed: int
) -> None:
    """Send requests of random keys to random gateways, one after the other."""
    from tests.support.binance_client import BinanceClient
    from tests.support.gateways import auth_headers

    chance = random.Random(seed)
    connections: dict[int, http.client.HTTPConnection] = {}
    while not stop.is_set():
        key = chance.choice(keys)
        permission, address = chance.choice(["read", "trade"]), chance.choice([HOME, OFFICE])
        subject = RequestKind(chance.random() < 0.5, permission, address)
        if chance.random() < 0.2:
            subject = RequestKind(False, permission, address, key_only=True)
        client = BinanceClient(key.key_id, key.old if subject.is_old else key.new)
        port = chance.choice(ports)
        connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=30))
        begun, clock = time.monotonic(), time.time_ns() // 1_000_000
        call = client.call(
            "GET", "/api/v3/order", [("timestamp", str(time.time_ns() // 1_000_000)), ("recvWindow", "60000")]
        )
        headers = auth_headers(call, subject.permission, subject.address)
        headers["X-Required-Security"] = "key" if subject.key_only else "signed"
        if subject.key_only:
            headers["X-Original-URI"] = call.path
        try:
            connection.request(
                "GET", "/gateway/v1/auth", headers={**headers, "Authorization": f"Bearer {bearer}"}
            )
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connections.pop(port).close()
            with checker.lock:
                checker.seen["no connection"] += 1
            time.sleep(0.01)
            continue
        spent = clock, time.time_ns() // 1_000_000
        checker.judge(key, subject, begun, time.monotonic(), spent, answer.status)
    for connection in connections.values():
        connection.close()


def author(checker: Checker, keys: list[KnownKey], stop: threading.Event, seed: int) -> None:
    """Change keys as the pages do; a change is acknowledged when it is effective."""
    from django.db import Error, connections

    from hitobit_portal.http import commit_barrier
    from tests.support.truth_changes import CHANGES

    chance = random.Random(seed)
    while not stop.is_set():
        key = chance.choice(keys)
        before = key.history[-1][2]
        if not key.certain or before.revoked:
            continue
        # A frozen account cannot get more permissions; the model rejects it.
        possible = [
            (change, after)
            for change in CHANGES
            if not before.owner_frozen or change.name.startswith("thaw")
            if (after := change.after(before, chance)) is not None
        ]
        # Every second time the rarest change, so that none is left out.
        rare = min(possible, key=lambda pair: (checker.seen[f"change: {pair[0].name}"], chance.random()))
        change, after = rare if chance.random() < 0.5 else chance.choice(possible)
        if change.name == "delete" and chance.random() < 0.7:
            continue
        if not _answers():
            time.sleep(0.1)  # nothing was begun, and so nothing is uncertain
            continue
        begun = time.monotonic()
        place = len(key.history)
        key.history.append((begun, float("inf"), after))
        try:
            change.make(key, after)
            commit_barrier.wait()
        except Error:
            key.certain = False  # unknown whether it was committed
            connections.close_all()
            time.sleep(0.2)
        else:
            key.history[place] = (begun, time.monotonic(), after)
            with checker.lock:
                checker.seen[f"change: {change.name}"] += 1


def _answers() -> bool:
    """Return whether the database answers this thread."""
    from django.db import Error, connection, connections

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        connections.close_all()
        return False
    return True


def inject_faults(checker: Checker, postgres: Any, gateways: list[Any], seconds: float) -> None:
    """Disconnect the listeners, kill a gateway, suspend a process, and stop the database."""
    pause = seconds / 6
    time.sleep(pause)
    cut_listeners(checker)
    time.sleep(pause)
    gateways[1].kill()
    time.sleep(0.5)
    gateways[1].start()
    time.sleep(pause)
    worker = subprocess.run(
        ["pgrep", "-s", str(gateways[2].process.pid)], capture_output=True, text=True
    ).stdout.split()
    for number, nap in ((signal.SIGSTOP, 0.7), (signal.SIGCONT, 0.0)):
        for pid in worker:
            os.kill(int(pid), number)
        time.sleep(nap)
    time.sleep(pause)
    begun = time.monotonic()
    checker.down.append((begun, float("inf")))
    postgres.stop()
    time.sleep(1.0)
    # On a busy machine no request may have been answered meanwhile.
    deadline = time.monotonic() + 30
    while not checker.seen["unavailable"] and time.monotonic() < deadline:
        time.sleep(0.1)
    postgres.start()
    checker.down[-1] = (begun, time.monotonic())
    time.sleep(2 * pause)


def cut_listeners(checker: Checker) -> None:
    """Terminate the listeners' connections and block new ones for a while, so that changes are not received."""
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        begun = time.monotonic()
        checker.down.append(
            (begun, float("inf"))
        )  # the gateways' other connections can't grow in number meanwhile
        connection.execute("ALTER ROLE portal NOLOGIN")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portal-gateway'"
        )
        time.sleep(1.5)
        connection.execute("ALTER ROLE portal LOGIN")
        checker.down[-1] = (begun, time.monotonic())


def run(count: int, seconds: float, directory: Path) -> dict[str, Any]:
    """Set everything up and return the observations."""
    from tests.support import production
    from tests.support.servers import Postgres, create_database

    with Postgres() as postgres:
        os.environ.update(production.settings(directory))
        os.environ.update(
            {
                "DATABASE_URL": create_database(postgres.url()),
                "PORTAL_SMS_BACKENDS": "tests.support.sms_collector",
                "PORTAL_GATEWAY_LEASE_MS": "200",
                "PORTAL_GATEWAY_ADDRESS_RATE": "1000000000",
                "PORTAL_GATEWAY_KEY_RATE": "1000000000",
            }
        )
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return under_load(postgres, count, seconds)


def under_load(postgres: Any, count: int, seconds: float) -> dict[str, Any]:
    from tests.support.gateways import GatewayProcess, token
    from tests.support.truth_changes import make_keys

    keys, bearer, checker, stop = make_keys(count), token(), Checker(), threading.Event()
    gateways = [GatewayProcess(bearer) for _ in range(GATEWAYS)]
    for gateway in gateways:
        gateway.start()
    ports = [gateway.port for gateway in gateways]
    works: list[Callable[[], None]] = [
        *(lambda n=n: program(checker, keys, ports, bearer, stop, n) for n in range(PROGRAMS)),
        *(lambda n=n: author(checker, keys[n::AUTHORS], stop, 100 + n) for n in range(AUTHORS)),
    ]
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        inject_faults(checker, postgres, gateways, seconds)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
        for gateway in gateways:
            gateway.stop()
    return {"seen": dict(checker.seen), "wrong": len(checker.wrong), "examples": checker.wrong[:5]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portal-truth-") as directory:
        seen = run(options.keys, options.seconds, Path(directory))
    sys.stdout.write(json.dumps(seen, indent=1) + "\n")
    return 1 if seen["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
