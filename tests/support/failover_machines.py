"""The three machines of docs/high-availability.md, set up by its commands on addresses of the loopback network.

Servers, configuration and shell are real: PostgreSQL, Patroni, etcd, HAProxy, Redis and Sentinel as Debian has them.
Only addresses and directories are replaced, and programs that would change this machine (``apt-get``, ``systemctl``):
units that a block starts are started here.
"""

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.support.documented_machine import SHIMS, blocks
from tests.support.production import ROOT
from tests.support.servers import Missing, die_with_parent

DOCUMENT = ROOT / "docs/high-availability.md"
START_SECONDS = 120.0
POLL_SECONDS = 0.05
ADDRESSES = {"db1": "10.0.0.11", "db2": "10.0.0.12", "app1": "10.0.0.13"}
DIRECTORIES = (
    *("/etc/portal-ha", "/etc/portal/secrets", "/etc/default", "/etc/patroni", "/etc/redis", "/etc/haproxy"),
    *("/var/lib/postgresql/15", "/var/lib/redis", "/var/lib/etcd", "/var/run/postgresql", "/var/log/redis"),
    *("/run/redis", "/run/sentinel"),
)
#: Programs, and what Debian's units start, by unit.
UNITS = {
    "etcd": ["/usr/bin/etcd"],
    "patroni": ["/usr/bin/patroni", "/etc/patroni/config.yml"],
    "redis-server": ["/usr/bin/redis-server", "/etc/redis/redis.conf"],
    "redis-sentinel": ["/usr/bin/redis-sentinel", "/etc/redis/sentinel.conf"],
    "haproxy": ["/usr/sbin/haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg"],
}
NEEDED = [*(command[0] for command in UNITS.values()), "/usr/bin/psql", "/usr/lib/postgresql/15/bin/postgres"]


def until(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """Return the first true value of ``condition``; raise `TimeoutError` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(POLL_SECONDS)
    return value


class Machine:
    """One of them. ``root``: its directories; ``units``: its running processes by unit."""

    def __init__(self, root: Path, name: str, addresses: dict[str, str], user: str | None) -> None:
        self.root, self.name, self.user = root, name, user
        self._addresses = addresses
        self.address = addresses[name]
        self.units: dict[str, subprocess.Popen[bytes]] = {}
        for directory in (*(each.lstrip("/") for each in DIRECTORIES), "shims", "sources/deploy"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        shims = {
            "apt-get": SHIMS["apt-get"],
            "install": SHIMS["install"],
            "hostname": f"#!/bin/sh\necho {name}\n",
            "systemctl": f'#!/bin/sh\necho "$*" >> {root}/systemctl\n',
        }
        for program, text in shims.items():
            (root / "shims" / program).write_text(text)
            (root / "shims" / program).chmod(0o755)
        sources = root / "sources/deploy/high-availability"
        sources.mkdir()
        for path in (ROOT / "deploy/high-availability").iterdir():
            (sources / path.name).write_text(self.localized(path.read_text(encoding="utf-8")))

    def localized(self, text: str) -> str:
        """``text`` with the directories and addresses of this machine."""
        names = "|".join(each.removesuffix("/15") for each in DIRECTORIES)
        text = re.sub(rf"(?<![\w/.])(?=(?:{names})\b)", str(self.root), text)
        for name, address in ADDRESSES.items():
            text = text.replace(address, self._addresses[name])
        # On the loopback network every connection comes from 127.0.0.1.
        text = re.sub(r"@(DB1|DB2|APP1)@/32", "127.0.0.1/32", text)
        return text.replace("127.0.0.1:5000", f"{self._addresses['app1']}:5000")

    def run(self, *commands: str) -> str:
        """Run the commands in one shell, start the units that they start, and return what was printed."""
        script = "set -eu\n" + "\n".join(self.localized(block) for block in commands)
        result = subprocess.run(
            ["sh", "-c", script],
            cwd=self.root / "sources",
            env={"PATH": f"{self.root}/shims:{os.environ['PATH']}:/usr/sbin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
        if self.user:
            subprocess.run(["chown", "-R", self.user, self.root], check=True)
        log = self.root / "systemctl"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        for line in lines:
            verb, *words = line.replace("--no-block ", "").split()
            if verb in ("start", "restart") or (verb == "enable" and "--now" in words):
                self.start(words[-1])
        return result.stdout

    def start(self, unit: str) -> None:
        """Start a unit that was set up."""
        command = [self.localized(word) for word in UNITS[unit]]
        environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.root)}
        defaults = self.root / "etc/default" / unit
        if defaults.exists():
            lines = [line.partition("=") for line in defaults.read_text().splitlines() if line[:1] != "#"]
            environ |= {name: value for name, _equals, value in lines}
            environ["ETCD_DATA_DIR"] = str(self.root / "var/lib/etcd/default")
        with (self.root / f"{unit}.log").open("ab") as log:
            self.units[unit] = subprocess.Popen(
                command, cwd=self.root, env=environ, user=self.user, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip

    def kill(self, unit: str) -> None:
        """End the process of a unit at once, without its children."""
        process = self.units.pop(unit)
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    @property
    def postmaster(self) -> int:
        """The process of PostgreSQL that accepts connections; 0: there is none."""
        try:
            pid = int((self.root / "var/lib/postgresql/15/portal/postmaster.pid").read_text().split()[0])
            os.kill(pid, 0)
        except (OSError, ValueError, IndexError):
            return 0
        return pid

    def stop(self) -> None:
        """End everything at once: nothing of it is used again."""
        for unit in list(self.units):
            self.kill(unit)
        if postmaster := self.postmaster:
            os.kill(postmaster, signal.SIGQUIT)
            until(lambda: not self.postmaster, "the end of PostgreSQL")

    def tail(self) -> str:
        logs = [*self.root.glob("*.log"), *(self.root / "var/log/redis").glob("*")]
        return "\n".join(
            f"{self.name} {path.name}:\n{path.read_text(errors='replace')[-1500:]}" for path in logs
        )


class Machines:
    """``with Machines() as machines``: all three, running; what `app1` has for /etc/portal/secrets is in `urls`."""

    def __init__(self) -> None:
        if missing := [program for program in NEEDED if not Path(program).exists()]:
            raise Missing(f"Not installed: {', '.join(missing)}.")
        self.directory = Path(tempfile.mkdtemp(prefix="ha-"))
        is_root = os.geteuid() == 0
        self.user = (
            ("postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody")
            if is_root
            else None
        )
        network = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"
        addresses = {name: f"{network}.{number}" for number, name in enumerate(ADDRESSES, start=11)}
        self.by_name = {}
        for name in ADDRESSES:
            (self.directory / name).mkdir()
            self.by_name[name] = Machine(self.directory / name, name, addresses, self.user)
        self.databases = [self.by_name["db1"], self.by_name["db2"]]
        self.app = self.by_name["app1"]

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            print(self.tail())
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is not None:
            print(self.tail())
        self.close()

    def _set_up(self) -> None:
        (secret,) = blocks("machines", DOCUMENT)
        self.app.run(secret)
        if self.user:
            os.chown(self.directory, pwd.getpwnam(self.user).pw_uid, -1)
        for machine in self.databases:
            shutil.copy(
                self.app.root / "etc/portal-ha/machines.env", machine.root / "etc/portal-ha/machines.env"
            )
        values = (self.app.root / "etc/portal-ha/machines.env").read_text().split()
        self.secrets = dict(value.split("=", 1) for value in values)
        (etcd,) = blocks("etcd", DOCUMENT)
        for machine in self.by_name.values():
            machine.run(etcd)
        # In the shell of a block before: its functions, without what it starts.
        shell = etcd[: etcd.index("apt-get")]
        for machine in self.databases:
            machine.run(shell, *blocks("postgresql", DOCUMENT))
            until(partial(self.role_of, machine), f"PostgreSQL of {machine.name}")
        until(self.is_whole, "a synchronous replica")
        self.databases[0].run(*blocks("role", DOCUMENT))
        for machine in self.databases:
            machine.run(shell, *blocks("redis", DOCUMENT))
        for machine in self.by_name.values():
            machine.run(shell, *blocks("sentinel", DOCUMENT))
        self.app.run(shell, *blocks("haproxy", DOCUMENT))
        self.app.run(*blocks("portal", DOCUMENT))
        # Until its first checks HAProxy takes both machines for the primary.
        until(lambda: all(self.leads_to_the_primary() for _ in range(20)), "HAProxy")

    # --- What runs ----------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Settings of the portal on `app1`."""
        directory = self.app.root / "etc/portal/secrets"
        return {
            "DATABASE_URL": (directory / "database-url").read_text().strip(),
            "REDIS_URL": (directory / "redis-url").read_text().strip(),
        }

    def superuser(self, machine: Machine) -> str:
        return f"postgresql://postgres:{self.secrets['SUPERUSER_PASSWORD']}@{machine.address}:5432/postgres"

    def role_of(self, machine: Machine) -> str | None:
        """``primary`` (which accepts writes), ``replica``, or None: it does not answer."""
        try:
            with psycopg.connect(self.superuser(machine), connect_timeout=2, autocommit=True) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        except psycopg.Error:
            return None
        return "replica" if row == (True,) else "primary"

    @property
    def primary(self) -> Machine:
        """The primary that HAProxy leads to, as the portal finds it."""
        url = self.environment["DATABASE_URL"]
        with psycopg.connect(url, connect_timeout=5, target_session_attrs="primary") as connection:
            row = connection.execute("SELECT host(inet_server_addr())").fetchone()
        assert row
        return next(machine for machine in self.databases if machine.address == row[0])

    def other(self, machine: Machine) -> Machine:
        return next(each for each in self.databases if each is not machine)

    def leads_to_the_primary(self) -> bool:
        try:
            return self.role_of(self.primary) == "primary"
        except psycopg.Error:
            return False

    def is_whole(self) -> bool:
        """Whether one machine is the primary, and the other one its synchronous replica."""
        for machine in self.databases:
            try:
                with psycopg.connect(
                    self.superuser(machine), connect_timeout=2, autocommit=True
                ) as connection:
                    rows = connection.execute(
                        "SELECT application_name, sync_state FROM pg_stat_replication"
                    ).fetchall()
            except psycopg.Error:
                return False
            if rows == [(self.other(machine).name, "sync")]:
                return self.role_of(self.other(machine)) == "replica"
        return False

    def tail(self) -> str:
        return "\n".join(machine.tail() for machine in self.by_name.values())

    def close(self) -> None:
        for name in ("app1", "db2", "db1"):
            self.by_name[name].stop()
        shutil.rmtree(self.directory, ignore_errors=True)
