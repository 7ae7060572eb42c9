"""Measure whether response times reveal which accounts and keys exist: password resets and wrongly signed requests.

Medians of interleaved classes, 500 each or more, as ratios of the first; over HTTP, on PostgreSQL and Valkey. The same
key is tried repeatedly, as an attacker who measures would do: the first request for any key waits for the database.
"""

import base64
import http.client
import itertools
import json
import os
import random
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.logins import EACH, Visitor, report
from tests.support.live_portal import LivePortal
from tests.support.servers import Postgres, Valkey, create_database

#: Accounts that receive a code, with all the work that follows the response.
PHONES = f"""
from accounts.models import FactorGuard, SmsDevice, User
first = User.objects.create_user('+989140000000', 'not what is typed')
made = User.objects.bulk_create(
    [User(phone=f'+989141{{n:06d}}', password=first.password) for n in range({EACH})])
FactorGuard.objects.bulk_create([FactorGuard(user=user) for user in made])
SmsDevice.objects.bulk_create([SmsDevice(user=user, number=user.phone, confirmed=True) for user in made])
"""
KEYS = """
import json, uuid
from apikeys.actions import rotation
from apikeys.policy import public_keys
from tests.support import people
from tests.support.gateways import token
from tests.support.key_pairs import new_ed25519, public_pem, rsa_of
pairs = {"Ed25519": new_ed25519(), "RSA": rsa_of(3072), "Ed25519, paused": new_ed25519(), "rotated": new_ed25519()}
made = {}
for kind in ("HMAC", "other address", "30 networks", "paused", "once rotated", *pairs):
    public = public_keys.parse(public_pem(pairs[kind])) if kind in pairs else None
    person = people.customer()
    key = people.ApiKey.objects.create_with_secret(person.user, kind, uuid.uuid4(), public)
    if kind == "rotated":
        new = rotation.rotate(key, public_keys.parse(public_pem(new_ed25519())), 86400, uuid.uuid4())
        rotation.note_first_use(new.pk, people.timezone.now())
    if kind == "once rotated":
        rotation.rotate(key, None, 0, uuid.uuid4())
        rotation.end(key, rotation.live(key)[0])
    if kind in ("other address", "30 networks"):
        key.apply(["read"], "trusted", [f"192.0.2.{n}" for n in range(30 if "30" in kind else 1)])
    if "paused" in kind:
        key.set_state("frozen")
    made[kind] = key.key_id
print(json.dumps({"token": token("bench"), "keys": made}))
"""
#: Wrong signatures in the spelling of each kind of key: they take the full work, and no key made them.
SIGNATURES = {
    "HMAC's": "ab" * 32,
    "Ed25519's": base64.b64encode(bytes(range(63)) + b"\0").decode(),
    "RSA's": base64.b64encode(b"\0" + bytes(383)).decode(),
    "long": "z" * 4_000,
    "long and encoded": "!" * 2_000,
}


class ResetVisitor(Visitor):
    """Posts a phone number to the password reset page."""

    def post(self, phone: str, address: str) -> float:
        fields = urllib.parse.urlencode({"phone": phone, "csrfmiddlewaretoken": self.token})
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": self.cookie,
            "X-Forwarded-For": address,
        }
        start = time.perf_counter()
        self.connection.request("POST", "/forgot/", fields, headers)
        response = self.connection.getresponse()
        response.read()
        took = time.perf_counter() - start
        assert response.status == 302, response.status
        return took


def password_resets(portal: LivePortal) -> dict[str, list[float]]:
    """Measure each phone number once, from an address of its own."""
    portal.manage("shell", "--no-imports", "--command", PHONES)
    visitor = ResetVisitor(portal.port)
    seconds: dict[str, list[float]] = {"known": [], "unknown": []}
    addresses = (f"198.{20 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in itertools.count(1))
    for number in range(EACH):
        for kind in random.sample(sorted(seconds), 2):  # nosec B311
            prefix = "+989141" if kind == "known" else "+989142"
            seconds[kind].append(visitor.post(f"{prefix}{number:06d}", next(addresses)))
            time.sleep(0.02)  # work after a response must not affect the next one
    return seconds


def wrongly_signed(portal: LivePortal) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Measure the same wrongly signed request for keys of each kind and each kind of signature, at the gateway and at
    the portal's own endpoint."""
    os.environ.update({**portal.environ, "DJANGO_SETTINGS_MODULE": "hitobit_portal.settings"})
    import django

    django.setup()
    from tests.support.gateways import GatewayProcess

    made = json.loads(portal.manage("shell", "--no-imports", "--command", KEYS))
    keys = {"unknown": "u" * 64, **made["keys"]}
    rates = {f"PORTAL_GATEWAY_{name}_RATE": "1000000000" for name in ("KEY", "ADDRESS")}
    gateway = GatewayProcess(made["token"])
    gateway.environ = {**portal.environ, **rates, "PORTAL_GATEWAY_PORT": str(gateway.port)}
    with gateway:
        connection = gateway.connection()
        for name, signature in SIGNATURES.items():
            ask = partial(to_gateway, connection, gateway.bearer, query_of(signature))
            yield f"wrongly signed ({name})", measured(keys, ask)
        ask = partial(
            to_gateway, connection, gateway.bearer, query_of(SIGNATURES["RSA's"], f"a={'a' * 60_000}&")
        )
        yield "wrongly signed (RSA's, a long payload)", measured(keys, ask)
        # Without a signature: the keys that are rejected, for a reason of their own each.
        rejected = {kind: keys[kind] for kind in ("unknown", "other address", "30 networks", "paused")}
        ask = partial(to_gateway, connection, gateway.bearer, lambda: "symbol=BTCIRT", security="key")
        yield "a key alone, rejected", measured(rejected, ask)
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=60)
    for name in ("HMAC's", "RSA's"):
        # Ten classes of responses of 2 ms each: their medians vary more, and the largest of ten even more.
        ask = partial(to_portal, connection, query_of(SIGNATURES[name]))
        yield f"apiRestrictions ({name})", measured(keys, ask, 3 * EACH)


def measured(keys: dict[str, str], ask: Callable[[str], float], each: int = EACH) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {kind: [] for kind in keys}
    for number in range(each + 20):
        for kind in random.sample(sorted(keys), len(keys)):  # nosec B311
            took = ask(keys[kind])
            if number >= 20:
                seconds[kind].append(took)
    return seconds


def query_of(signature: str, before: str = "") -> Callable[[], str]:
    """Return a function that returns a fresh query string at each call."""
    end = f"&signature={urllib.parse.quote_plus(signature)}"
    return lambda: f"{before}timestamp={time.time_ns() // 1_000_000}{end}"


def to_gateway(
    connection: http.client.HTTPConnection,
    bearer: str,
    query: Callable[[], str],
    key: str,
    security: str = "signed",
) -> float:
    headers = {
        "Authorization": f"Bearer {bearer}",
        "X-MBX-APIKEY": key,
        "X-Original-URI": f"/api/v3/account?{query()}",
        "X-Client-IP": "203.0.113.9",
        "X-Required-Permission": "read",
        "X-Required-Security": security,
    }
    return one(connection, "/gateway/v1/auth", headers)


def to_portal(connection: http.client.HTTPConnection, query: Callable[[], str], key: str) -> float:
    path = f"/sapi/v1/account/apiRestrictions?{query()}"
    took = one(connection, path, {"X-MBX-APIKEY": key, "X-Forwarded-For": "203.0.113.9"})
    time.sleep(0.001)  # work 0.1 s after a response must not always coincide with the same class
    return took


def one(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> float:
    start = time.perf_counter()
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.read()
    took = time.perf_counter() - start
    assert response.status in (400, 401, 403), response.status
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
            indistinguishable = [report("password reset", password_resets(portal))]
            indistinguishable += [report(name, seconds) for name, seconds in wrongly_signed(portal)]
        finally:
            portal.stop()
    return 0 if all(indistinguishable) else 1


if __name__ == "__main__":
    sys.exit(main())
