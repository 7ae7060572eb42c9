"""Load on a portal and a gateway while a database is replaced, and what they answered.

``python -m tests.support.failover_drill``, in the environment of the portal, with a JSON object in the variable
PORTAL_TEST_DRILL: ``keys``, ``spares`` and ``frozen`` (numbers), ``portal`` and ``gateway`` (ports), ``bearer`` and
``office`` (tokens of the gateway and of the management API). Each line of the standard input is an order: ``down``,
``up SECONDS`` (of the monotonic clock, which all processes share) and ``end``. Each is answered by a line; the last
answer is the report as JSON.
"""

import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.support.production import HOST, ROOT
from tests.support.truth import Checker, KnownKey, author, program

PROGRAMS, AUTHORS = 3, 2
#: Between two requests to the portal, so that the rate of its token is not reached.
PAUSE_SECONDS = 0.15
#: An answer that takes longer is none: nginx in front would give up.
PATIENCE_SECONDS = 30


class Office:
    """A back office: reads keys through the portal, and pauses one after another until it is told that it is done."""

    def __init__(self, port: int, token: str, spares: list[KnownKey]) -> None:
        self._port, self._spares = port, spares
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Host": HOST,
            "X-Forwarded-Proto": "https",
        }
        #: (begin, end, kind, status; 0: no answer), by the monotonic clock.
        self.answers: list[tuple[float, float, str, int]] = []
        self.paused = 0

    def _ask(self, kind: str, method: str, path: str, body: dict[str, Any] | None = None) -> int:
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            status = 0
        finally:
            connection.close()
        self.answers.append((begun, time.monotonic(), kind, status))
        return status

    def work(self, stop: threading.Event) -> None:
        for key in self._spares:
            place, begun = len(key.history), time.monotonic()
            state = replace(key.history[-1][2], active=False)
            # From its first attempt on it may be in force; it is acknowledged by the first answer that says so.
            key.history.append((begun, float("inf"), state))
            while self._ask("pause", "POST", f"/manage/v1/keys/{key.pk}/pause", {"reason": "drill"}) != 200:
                if stop.is_set():
                    return
                time.sleep(PAUSE_SECONDS)
            key.history[place] = (begun, time.monotonic(), state)
            self.paused += 1
            if self._ask("read", "GET", f"/manage/v1/keys/{key.pk}") == 404:
                raise AssertionError("a key that was there is not there any more")
            if stop.wait(PAUSE_SECONDS):
                return


def operator(frozen: list[KnownKey], stop: threading.Event) -> None:
    """Freeze one account after another by the command, whose process finds the primary anew each time.

    Gateways that stayed with a primary that was replaced are found out by this one: other changes stay there, too.
    """
    for key in frozen:
        place, begun = len(key.history), time.monotonic()
        state = replace(key.history[-1][2], owner_frozen=True)
        key.history.append((begun, float("inf"), state))
        command = ("freeze_account", key.owner.phone, "--reason", "drill")
        while subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, stdout=subprocess.DEVNULL
        ).returncode:
            if stop.wait(PAUSE_SECONDS):
                return
        key.history[place] = (begun, time.monotonic(), state)
        if stop.wait(PAUSE_SECONDS):
            return


def lost_changes(keys: list[KnownKey], begun_with: dict[Any, int]) -> list[str]:
    """Return what the database does not have of the changes that were acknowledged."""
    from accounts.models import AuditEvent
    from apikeys.models import ApiKey
    from apikeys.policy.choices import KeyState

    lost = []
    for known in (key for key in keys if key.certain):
        state = known.history[-1][2]
        if known.history[-1][1] == float("inf"):
            continue  # the last one was not acknowledged
        key = ApiKey.objects.select_related("owner").get(pk=known.pk)
        networks = set(key.networks.values_list("value", flat=True))
        expected = KeyState.REVOKED if state.revoked else KeyState.ACTIVE if state.active else KeyState.FROZEN
        seen = {
            "state": key.state == expected,
            "trade": state.revoked or key.can_trade == state.trades,
            "networks": state.revoked or any("198.51.100.7" in value for value in networks) == state.office,
            "freeze": (key.owner.frozen_at is not None) == state.owner_frozen,
            # Each change has an event at least.
            "events": AuditEvent.objects.filter(customer=key.owner).count() - begun_with[known.pk]
            >= len(known.history) - 1,
        }
        lost += [f"{known.pk}: {name}" for name, kept in seen.items() if not kept]
    return lost


def main() -> int:
    given = json.loads(os.environ["PORTAL_TEST_DRILL"])
    import django

    django.setup()
    from django.db import connections, transaction

    from accounts.models import AuditEvent, User
    from tests.support import people
    from tests.support.truth_changes import make_keys

    people._numbers = itertools.count(User.objects.count() + 1)  # drills before had the first ones
    with transaction.atomic():
        keys, spares, frozen = (make_keys(given[kind]) for kind in ("keys", "spares", "frozen"))
    every = keys + spares + frozen
    requested = every + 5 * frozen  # few of them are frozen in a drill
    begun_with = {key.pk: AuditEvent.objects.filter(customer=key.owner).count() for key in every}
    connections.close_all()
    checker, stop = Checker(), threading.Event()
    decisions: list[tuple[float, float, int]] = []
    judge = checker.judge

    def judge_and_keep(
        key: KnownKey, subject: Any, begun: float, ended: float, clock: Any, status: int
    ) -> None:
        decisions.append((begun, ended, status))
        judge(key, subject, begun, ended, clock, status)

    checker.judge = judge_and_keep  # type: ignore[method-assign]
    office = Office(given["portal"], given["office"], spares)
    random.shuffle(keys)
    works: list[Callable[[], None]] = [
        *(
            lambda n=n: program(checker, requested, [given["gateway"]], given["bearer"], stop, n)
            for n in range(PROGRAMS)
        ),
        *(lambda n=n: author(checker, keys[n::AUTHORS], stop, 100 + n) for n in range(AUTHORS)),
        lambda: office.work(stop),
        lambda: operator(frozen, stop),
    ]
    failed: list[str] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            failed.append(f"{type(error).__name__}: {error}")
            raise

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for line in sys.stdin:
        order, *rest = line.split()
        if order == "down":
            checker.down.append((time.monotonic(), float("inf")))
        elif order == "up":
            checker.down[-1] = (checker.down[-1][0], float(rest[0]))
        else:
            break
        print(order, flush=True)
    stop.set()
    for thread in threads:
        thread.join(60)
    by_command = sum(len(key.history) > 1 and key.history[1][1] < float("inf") for key in frozen)
    changes = sum(count for name, count in checker.seen.items() if name.startswith("change: "))
    report = {
        "seen": dict(checker.seen),
        "wrong": checker.wrong[:5],
        "wrongs": len(checker.wrong),
        "acknowledged": changes + office.paused + by_command,
        "through the portal": office.paused,
        "by command": by_command,
        "uncertain": sum(not key.certain for key in keys),
        "lost": lost_changes(every, begun_with),
        "failed": failed,
        "portal": office.answers,
        "gateway": decisions,
    }
    print(json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
