"""Whether the time of an answer tells strangers what exists: forgotten passwords, requests that are not signed right.

Medians of interleaved classes, 500 each, as ratios of the first; over HTTP, on PostgreSQL and Valkey. Repeated tries of
the same key, as somebody makes them who measures: the first try of any key, known or not, waits for the database.
"""

import http.client
import itertools
import json
import os
import random
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

from bench.logins import EACH, Visitor, report
from tests.live import LivePortal
from tests.servers import Postgres, Valkey, create_database

#: Accounts that are sent a code, with all the work that it makes after the answer.
PHONES = f"""
from accounts.models import FactorGuard, SmsDevice, User
first = User.objects.create_user('+989140000000', 'not what is typed')
made = User.objects.bulk_create(
    [User(phone=f'+989141{{n:06d}}', password=first.password) for n in range({EACH})])
FactorGuard.objects.bulk_create([FactorGuard(user=user) for user in made])
SmsDevice.objects.bulk_create([SmsDevice(user=user, number=user.phone, confirmed=True) for user in made])
"""
KEYS = """
import json
from tests import people
from tests.gateways import token
made = {}
for kind in ("wrong signature", "other address", "paused"):
    key = people.key_of(people.customer(), kind)
    if kind == "other address":
        key.apply(["read"], "trusted", ["192.0.2.1"])
    if kind == "paused":
        key.set_state("frozen")
    made[kind] = key.key_id
print(json.dumps({"token": token("bench"), "keys": made}))
"""


class Forgetful(Visitor):
    """Posts a number to the page of forgotten passwords."""

    def post(self, phone: str, address: str) -> float:
        fields = urllib.parse.urlencode({"phone": phone, "csrfmiddlewaretoken": self.token})
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": self.cookie,
            "X-Forwarded-For": address,
        }
        start = time.perf_counter()
        self.connection.request("POST", "/forgot/", fields, headers)
        answer = self.connection.getresponse()
        answer.read()
        took = time.perf_counter() - start
        assert answer.status == 302, answer.status
        return took


def forgotten(portal: LivePortal) -> dict[str, list[float]]:
    """Each number once, from an address of its own."""
    portal.manage("shell", "--no-imports", "--command", PHONES)
    visitor = Forgetful(portal.port)
    found: dict[str, list[float]] = {"known": [], "unknown": []}
    addresses = (f"198.{20 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in itertools.count(1))
    for number in range(EACH):
        for kind in random.sample(sorted(found), 2):  # nosec B311
            prefix = "+989141" if kind == "known" else "+989142"
            found[kind].append(visitor.post(f"{prefix}{number:06d}", next(addresses)))
            time.sleep(0.02)  # what is done outside of the answer's time must not show in the next one's
    return found


def unsigned(portal: LivePortal) -> dict[str, list[float]]:
    """The same wrongly signed request, of keys of each kind."""
    os.environ.update({**portal.environ, "DJANGO_SETTINGS_MODULE": "hitobit_portal.settings"})
    import django

    django.setup()
    from tests.binance_client import BinanceClient
    from tests.gateways import GatewayProcess, auth_headers

    made = json.loads(portal.manage("shell", "--no-imports", "--command", KEYS))
    keys = {"unknown": "u" * 64, **made["keys"]}
    rates = {f"PORTAL_GATEWAY_{name}_RATE": "1000000000" for name in ("KEY", "ADDRESS")}
    environ = {**portal.environ, **rates}
    found: dict[str, list[float]] = {kind: [] for kind in keys}
    gateway = GatewayProcess(made["token"])
    gateway.environ = {**environ, "PORTAL_GATEWAY_PORT": str(gateway.port)}
    with gateway:
        connection = gateway.connection()
        for number in range(EACH + 20):
            for kind in random.sample(sorted(keys), len(keys)):  # nosec B311
                call = BinanceClient(keys[kind], "w" * 64).call(
                    "GET", "/", [("timestamp", str(time.time_ns() // 1_000_000))]
                )
                headers = {**auth_headers(call), "Authorization": f"Bearer {gateway.bearer}"}
                took = one(connection, headers)
                if number >= 20:
                    found[kind].append(took)
    return found


def one(connection: http.client.HTTPConnection, headers: dict[str, str]) -> float:
    start = time.perf_counter()
    connection.request("GET", "/gateway/v1/auth", headers=headers)
    answer = connection.getresponse()
    answer.read()
    took = time.perf_counter() - start
    assert answer.status in (401, 403), answer.status
    return took


def main() -> int:
    with (
        Postgres() as postgres,
        Valkey() as valkey,
        tempfile.TemporaryDirectory(prefix="portal-bench-") as directory,
    ):
        environ = {
            "DATABASE_URL": create_database(postgres.url()),
            "REDIS_URL": valkey.url(0),
            "PORTAL_PROCESSES": "2",
            "PORTAL_TRUSTED_PROXIES": "127.0.0.1/32",
            "PORTAL_LOG_LEVEL": "CRITICAL",
        }
        os.environ.update(environ)
        portal = LivePortal(Path(directory), environ).start()
        try:
            alike = [
                report("forgotten password", forgotten(portal)),
                report("not signed right", unsigned(portal)),
            ]
        finally:
            portal.stop()
    return 0 if all(alike) else 1


if __name__ == "__main__":
    sys.exit(main())
