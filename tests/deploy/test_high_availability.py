"""docs/high-availability.md, set up by its commands: a primary is lost under load, and with it no acknowledged change.

Portal, gateway and sender are processes with the settings of an operator, on PostgreSQL with a synchronous replica
(Patroni, etcd, HAProxy) and Redis with Sentinels. The truth checker (`tests.support.truth`) judges each decision. It
allows "unavailable" for `RECOVERY_SECONDS` (5) after the new primary accepts writes, and not longer.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.conftest import unavailable
from tests.support import production
from tests.support.documented_machine import blocks
from tests.support.failover_machines import DOCUMENT, Machine, Machines, until
from tests.support.gateways import GatewayProcess
from tests.support.production import ROOT
from tests.support.servers import Missing, die_with_parent, free_port

pytestmark = [pytest.mark.verify, pytest.mark.postgres]

KEYS, SPARES, FROZEN = 30, 150, 12
WARM_SECONDS, AFTER_SECONDS = 4.0, 5.5
#: The product's promises, in seconds after the new primary (or master) accepts writes.
PORTAL_SECONDS, GATEWAY_SECONDS = 10.0, 5.0


class Site:
    """Portal, gateway and sender on `app1`."""

    def __init__(self, machines: Machines, directory: Path) -> None:
        patient = set(production.PATIENT)
        own = {name: value for name, value in production.settings(directory).items() if name not in patient}
        self.environ = {
            **production.without_settings(dict(os.environ)),
            **own,
            **machines.environment,
            "PORTAL_PROCESSES": "2",
            "PORTAL_GATEWAY_LEASE_MS": "200",
            "PORTAL_GATEWAY_LIMITS": "valkey",
            "PORTAL_GATEWAY_ADDRESS_RATE": "1000000000",
            "PORTAL_GATEWAY_KEY_RATE": "1000000000",
            "PORTAL_SMS_DAY": "100000000",
        }
        for name in ("migrate", "collectstatic"):
            self.manage(name, "--noinput", "--verbosity=0")
        self.bearer = self.manage("gateway_token", "create", "gateway").strip()
        options = ("--scope", "keys:read,keys:stop", "--networks", "127.0.0.1/32", "--days", "1")
        self.office = self.manage("management_token", "create", "office", *options).strip()
        self.gateway = GatewayProcess(self.bearer, self.environ)
        self.gateway.arguments = ("--workers", "2")
        self.port = free_port()
        self.log = directory / "portal.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def manage(self, *arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert result.returncode == 0, (arguments[0], result.stdout[-2000:], result.stderr[-2000:])
        return result.stdout

    def __enter__(self) -> "Site":
        with self.log.open("ab") as log:
            for command in (("run_portal", "--port", str(self.port)), ("send_notices", "--loop")):
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "manage.py", *command], cwd=ROOT, env=self.environ,
                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent,
                    )
                )  # fmt: skip
        self.gateway.start()
        until(self.is_ready, "the portal")
        return self

    def is_ready(self) -> bool:
        command = [sys.executable, "-m", "hitobit_portal.http.healthcheck", str(self.port), "/readyz"]
        return subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0

    def is_running(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def __exit__(self, *exception: object) -> None:
        self.gateway.stop()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(60)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    try:
        with Machines() as running:
            yield running
    except Missing as error:
        unavailable(str(error))


@pytest.fixture(scope="module")
def site(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(machines, tmp_path_factory.mktemp("site")) as running:
        yield running
        assert running.is_running(), running.log.read_text()[-3000:]


def drill(site: Site, fault: Callable[[], Any], is_up: Callable[[], Any]) -> dict[str, Any]:
    """Put load on the site, cause the ``fault`` and wait until ``is_up``. Return the report, with the outages."""
    given = {
        "keys": KEYS, "spares": SPARES, "frozen": FROZEN, "portal": site.port, "gateway": site.gateway.port,
        "bearer": site.bearer, "office": site.office,
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.failover_drill"],
        cwd=ROOT, env={**site.environ, "PORTAL_TEST_DRILL": json.dumps(given)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent,
    ) as process:  # fmt: skip
        orders, answers = process.stdin, process.stdout
        assert orders is not None
        assert answers is not None

        def order(text: str) -> str:
            orders.write(f"{text}\n")
            orders.flush()
            return answers.readline()

        assert answers.readline() == "ready\n"
        time.sleep(WARM_SECONDS)
        order("down")
        killed = time.monotonic()
        cause = threading.Thread(target=fault)
        cause.start()
        until(is_up, "the new primary")
        up = time.monotonic()
        order(f"up {up}")
        cause.join()
        until(site.is_ready, "the portal")
        time.sleep(AFTER_SECONDS)
        report: dict[str, Any] = json.loads(order("end"))
    assert process.returncode == 0
    portal, decisions = report.pop("portal"), report.pop("gateway")
    return report | {
        "promoted after": round(up - killed, 2),
        "portal out": outage(
            [(begun, ended, status == 200) for begun, ended, _kind, status in portal], killed, up
        ),
        "portal errors": sum(status != 200 for _begun, _ended, _kind, status in portal),
        "gateway out": outage(
            [(begun, ended, status != 503) for begun, ended, status in decisions], killed, up
        ),
        "gateway errors": sum(status == 503 for _begun, _ended, status in decisions),
        "longest decision": round(max(ended - begun for begun, ended, _status in decisions), 2),
    }


def outage(answers: list[tuple[float, float, bool]], killed: float, up: float) -> dict[str, float]:
    """Return the seconds until answers were good again: from the last good one, the fault, and the promotion.

    ``answers``: (begin, end, is good). They are good again after the last bad one, and after the longest gap.
    """
    good = sorted(ended for _begun, ended, is_good in answers if is_good)
    last_bad = max(
        (ended for _begun, ended, is_good in answers if not is_good and ended > killed), default=killed
    )
    before = max((ended for ended in good if ended <= killed), default=killed)
    # Without a bad answer: requests that waited until they were answered.
    longest, until_then = max(
        (
            (later - earlier, later)
            for earlier, later in pairwise([before, *(at for at in good if at > killed)])
        ),
        default=(float("inf"), float("inf")),
    )
    again = max(until_then, min((ended for ended in good if ended >= last_bad), default=float("inf")))
    return {
        "without an answer": round(max(longest, again - before), 2),
        "after the fault": round(again - killed, 2),
        "after the promotion": round(max(0.0, again - up), 2),
    }


def assert_kept(report: dict[str, Any]) -> None:
    print(json.dumps({name: value for name, value in report.items() if name != "seen"}, indent=1))
    assert report["failed"] == []
    assert report["wrongs"] == 0, report["wrong"]
    assert report["lost"] == []
    # There was load, and the checker had something to judge on both sides of the fault.
    assert report["acknowledged"] > 30, report["seen"]
    assert report["through the portal"] > 10
    assert min(report["seen"]["allowed"], report["seen"]["refused"]) > 60
    assert report["portal out"]["after the promotion"] <= PORTAL_SECONDS
    assert report["gateway out"]["after the promotion"] <= GATEWAY_SECONDS


def audit_is_whole(site: Site) -> None:
    site.manage("verify_audit")


def cannot_write(machines: Machines, site: Site, machine: Machine) -> None:
    """The machine is a replica: it refuses writes, and the portal refuses it even for reading."""
    with (
        psycopg.connect(machines.superuser(machine), autocommit=True) as connection,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        connection.execute("CREATE TABLE written ()")
    url = f"postgresql://portal:{machines.secrets['DATABASE_PASSWORD']}@{machine.address}:5432/portal"
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM apikeys_apikey").fetchone() == (True,)
    result = subprocess.run(
        [sys.executable, "manage.py", "gateway_token", "list"],
        cwd=ROOT, env={**site.environ, "DATABASE_URL": url}, capture_output=True, text=True,
    )  # fmt: skip
    assert (result.returncode, "hot standby" in result.stderr) == (1, True), result.stderr[-2000:]


def is_primary(machines: Machines, machine: Machine) -> Callable[[], bool]:
    """Whether the machine accepts writes."""
    return lambda: machines.role_of(machine) == "primary"


def test_a_planned_switch_over(machines: Machines, site: Site) -> None:
    until(machines.is_whole, "a synchronous replica")
    old = machines.primary
    new = machines.other(old)
    report = drill(site, lambda: old.run(*blocks("switch-over", DOCUMENT)), is_primary(machines, new))
    assert_kept(report)
    until(machines.is_whole, "the old primary as the replica")
    assert machines.primary is new
    cannot_write(machines, site, old)
    audit_is_whole(site)


def test_a_primary_that_is_killed(machines: Machines, site: Site) -> None:
    until(machines.is_whole, "a synchronous replica")
    old = machines.primary
    new = machines.other(old)
    report = drill(site, lambda: os.kill(old.postmaster, signal.SIGKILL), is_primary(machines, new))
    assert_kept(report)
    until(machines.is_whole, "the old primary as the replica")
    assert machines.primary is new
    cannot_write(machines, site, old)
    audit_is_whole(site)


def test_a_primary_that_nobody_watches(machines: Machines, site: Site) -> None:
    """Patroni is killed, and its PostgreSQL goes on as a primary beside the new one. It comes back as a replica."""
    until(machines.is_whole, "a synchronous replica")
    old = machines.primary
    new = machines.other(old)
    report = drill(site, lambda: old.kill("patroni"), is_primary(machines, new))
    assert_kept(report)
    assert machines.primary is new
    assert machines.role_of(old) == "primary", "the case of this test"
    with psycopg.connect(machines.superuser(old)) as connection:
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'portal'"
        assert connection.execute(sessions).fetchone() == (0,), (
            "HAProxy closed the sessions of portal and gateway"
        )
    name = f"written_{secrets.token_hex(4)}"
    ended: list[str] = []

    def write() -> None:
        # Not through HAProxy, as nobody should.
        with suppress(psycopg.Error), psycopg.connect(machines.superuser(old), autocommit=True) as connection:
            connection.execute(f"CREATE TABLE {name} ()")
        ended.append("ended")

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(2)
    assert ended == [], "a commit on the old primary waits for a replica, which it has no more"
    old.start("patroni")
    writer.join(60)
    until(machines.is_whole, "the old primary as the replica")
    cannot_write(machines, site, old)
    for machine in machines.databases:
        with psycopg.connect(machines.superuser(machine)) as connection:
            assert connection.execute("SELECT to_regclass(%s)", [name]).fetchone() == (None,)
    audit_is_whole(site)


def test_a_master_of_redis_that_is_killed(machines: Machines, site: Site) -> None:
    password = machines.secrets["REDIS_PASSWORD"]

    def sentinel() -> Any:
        with redis.Redis(machines.app.address, 26379, password=password) as client:
            return client.sentinel_masters()["portal"]

    def client_of(machine: Machine) -> Any:
        return redis.Redis(machine.address, 6379, password=password)

    until(lambda: sentinel()["num-other-sentinels"] == 2 and sentinel()["num-slaves"] == 1, "three Sentinels")
    old = next(machine for machine in machines.databases if machine.address == sentinel()["ip"])
    new = machines.other(old)

    def is_master() -> bool:
        with client_of(new) as client:
            return bool(sentinel()["ip"] == new.address and client.info("replication")["role"] == "master")

    report = drill(site, lambda: old.kill("redis-server"), is_master)
    assert_kept(report)
    old.start("redis-server")

    def is_replica() -> bool:
        try:
            with client_of(old) as client:
                return bool(client.info("replication")["role"] == "slave")
        except redis.ConnectionError:
            return False

    until(is_replica, "the old master as the replica")
    with client_of(old) as client, pytest.raises(redis.ReadOnlyError):
        client.set("written", 1)
    audit_is_whole(site)
