"""``python -m bench.rotation [credentials]``: a master key rotated, killed at ten random points, while keys are used.

Signed requests of random keys are decided all the while, from the database and with both master keys; none may be
refused. Prints what happened; exit code 1 when a request was refused or something stayed under the old key.
"""

import base64
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from bench.world import World
from tests.support.production import ROOT

CREDENTIALS = 100_000
KILLS = 10
BATCH = 500


class Program(threading.Thread):
    """Signs and asks, one request after the other."""

    def __init__(self, holders: list[Any]) -> None:
        super().__init__(daemon=True)
        self.holders, self.over = holders, threading.Event()
        self.allowed, self.refused = 0, list[str]()

    def run(self) -> None:
        from django.db import connections

        while not self.over.is_set():
            outcome = self.ask(random.choice(self.holders))
            if outcome == "allowed":
                self.allowed += 1
            else:
                self.refused.append(outcome)
        connections.close_all()

    @staticmethod
    def ask(holder: Any) -> str:
        from apikeys.actions import key_loader
        from apikeys.verification import decision as verification_decision
        from bench import keys

        now_ms = time.time_ns() // 1_000_000
        query = keys.QUERY.format(n=1, at=now_ms).encode()
        try:
            decision = verification_decision.decide(
                key_loader.load(holder.key_id),
                api_key=holder.key_id,
                query=query + b"&signature=" + holder.sign(query).encode(),
                body=b"",
                client_ip=holder.address,
                permission="trade",
                now_ms=now_ms,
            )
        except Exception as fault:
            return type(fault).__name__
        return decision.outcome.value


def under_new_key() -> int:
    from apikeys.models import Credential

    return Credential.objects.filter(sealed__contains=":new:").count()


def rotate_until_killed(command: list[str], environ: dict[str, str], count: int) -> int:
    """One run, killed after a random part of what a tenth is; how many are done then."""
    goal = under_new_key() + random.randrange(1, count // (KILLS + 1))
    child = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while child.poll() is None and under_new_key() < goal:
        time.sleep(random.random() / 20)
    if child.poll() is not None:
        raise RuntimeError(f"it ended before it was killed, with {child.returncode}")
    child.send_signal(signal.SIGKILL)
    child.wait()
    return under_new_key()


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CREDENTIALS
    with World():
        from django.conf import settings

        from apikeys.operations import reencrypt
        from bench import keys
        from tests.support.gateways import database_url

        holders = [holder for _ in range(10) for holder in keys.hmac_holders(count // 10)]
        ring = {"new": secrets.token_bytes(32), **settings.MASTER_KEYS}
        settings.MASTER_KEYS = ring
        text = ",".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in ring.items())
        environ = {**os.environ, "DATABASE_URL": database_url(), "PORTAL_MASTER_KEYS": text}
        command = [sys.executable, "manage.py", "rotate_master_key", "--batch", str(min(BATCH, count // 100))]
        program = Program(holders)
        program.start()
        began = time.monotonic()
        points = [rotate_until_killed(command, environ, count) for _ in range(KILLS)]
        subprocess.run(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, check=True)
        took = time.monotonic() - began
        program.over.set()
        program.join()
        left = reencrypt.count_values()
    print(f"{count:,} credentials in {took:.0f} s, killed at {', '.join(f'{point:,}' for point in points)}")
    print(
        f"{program.allowed:,} signed requests passed meanwhile, {len(program.refused)} were refused", end=""
    )
    print(f" ({', '.join(sorted(set(program.refused)))})" if program.refused else "")
    print(f"left under each master key: {left}")
    return 0 if not program.refused and set(left) == {"new"} and program.allowed else 1


if __name__ == "__main__":
    sys.exit(main())
