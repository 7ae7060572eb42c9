"""The servers that the gateway is compared with, each one process on the server's core."""

import http.client
import os
import secrets
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Self

from apikeys.management.commands.run_gateway import in_batches
from bench.keys import Holder, networks_of
from bench.load import LOAD_CORE, SERVER_CORE, on_core
from tests.support.production import ROOT
from tests.support.servers import die_with_parent, free_port

FILES = Path(__file__).resolve().parent / "rivals"
LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
START_SECONDS = 30.0
FAR_MS = 4_000_000_000_000


class Rival:
    """A server that responds with 204 to allowed requests. ``missing`` returns why it cannot run on this machine."""

    name = ""
    core: int | None = SERVER_CORE

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        return None

    def command(self) -> list[str]:
        raise NotImplementedError

    def prepare_process(self) -> None:
        die_with_parent()
        in_batches()  # the same for all servers

    def environ(self) -> dict[str, str]:
        return dict(os.environ)

    def __enter__(self) -> Self:
        with on_core(self.core), (self.directory / f"{type(self).__name__}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=ROOT, env=self.environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=self.prepare_process,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"{self.name} does not start, see {self.directory}")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status < 300
        except OSError:
            return False
        finally:
            connection.close()

    def __exit__(self, *exception: object) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


class Bare(Rival):
    name = "the same server answering 204 with nothing to do"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "bench.bare", str(self.port)]


class Allowing(Rival):
    name = "the gateway's HTTP server, allowing each request at once"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "bench.allowing", str(self.port)]


class ConstantExchange(Rival):
    """nginx with a constant response: what the proxies forward to."""

    name = "the exchange"
    core = LOAD_CORE

    def command(self) -> list[str]:
        home = self.directory / "exchange"
        home.mkdir()
        # Started by root, nginx runs its worker as the user nobody.
        text = (FILES / "exchange.conf").read_text(encoding="ascii")
        for word, value in {"DIRECTORY": str(home), "PORT": str(self.port)}.items():
            text = text.replace(word, value)
        (home / "nginx.conf").write_text(text, encoding="ascii")
        return ["nginx", "-e", str(home / "log"), "-p", str(home), "-c", str(home / "nginx.conf")]


class Granian(Rival):
    """RSGI, the fastest packaged server for Python, on the faster event loop."""

    name = "granian's RSGI with uvloop, answering 204 with nothing to do"
    loop = "uvloop"

    def command(self) -> list[str]:
        how = f"--interface rsgi --no-ws --http 1 --log-level warning --loop {self.loop} --host 127.0.0.1"
        return [
            sys.executable,
            "-m",
            "granian",
            *how.split(),
            "--port",
            str(self.port),
            "bench.bare_rsgi:app",
        ]


class Stock(Granian):
    """With its defaults: asyncio's event loop, and the normal scheduling policy."""

    name = "granian's RSGI as it comes (asyncio's loop), answering 204 with nothing to do"
    loop = "asyncio"

    def prepare_process(self) -> None:
        die_with_parent()


class Plain(Rival):
    name = "nginx + Lua HMAC from a shared dictionary, written plainly"
    kind = "plain"

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("nginx") and LUA_MODULE.exists():
            return None
        return "nginx with Lua is not installed: apt-get install nginx libnginx-mod-http-lua"

    def command(self) -> list[str]:
        text = (FILES / "nginx.conf").read_text(encoding="ascii")
        home = self.directory / f"nginx-{self.kind}"
        home.mkdir(exist_ok=True)
        shutil.copy(self.directory / "keys", home / "keys")
        filled = {"DIRECTORY": str(home), "RIVALS": str(FILES), "PORT": str(self.port), "KIND": self.kind}
        for word, value in filled.items():
            text = text.replace(word, value)
        (home / "nginx.conf").write_text(text, encoding="ascii")
        # Started by root, nginx runs its worker as the user nobody, who must be able to read its files.
        return ["nginx", "-e", str(home / "log"), "-p", str(home), "-c", str(home / "nginx.conf")]


class Tuned(Plain):
    name = "the same, tuned by hand (per-worker cache of HMAC states)"
    kind = "tuned"


class Node(Rival):
    name = "Node http with HMAC from a Map"

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("node") else "node is not installed: apt-get install nodejs"

    def command(self) -> list[str]:
        return ["node", str(FILES / "gateway.mjs"), str(self.port), str(self.directory / "keys")]


class Leanest(Rival):
    """Installed in its own virtual environment, which is deleted after the run."""

    name = "djangorestframework-api-key, leanest setting, granian and PostgreSQL"

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory)
        self.home = directory / "leanest"
        venv.create(self.home, with_pip=True)
        self.python = str(self.home / "bin" / "python")
        packages = [
            "djangorestframework",
            "djangorestframework-api-key",
            "Django<6",
            "granian",
            "psycopg[binary]",
        ]
        pip = [self.python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True, stdin=subprocess.DEVNULL)
        user, _, where = url.removeprefix("postgresql://").partition("@")
        host, _, name = where.partition("/")
        self.database = {
            "PGUSER": user.partition(":")[0], "PGPASSWORD": user.partition(":")[2], "PGDATABASE": name,
            "PGHOST": host.partition(":")[0], "PGPORT": host.partition(":")[2],
            "LEANEST_SECRET": secrets.token_urlsafe(32), "PYTHONPATH": str(FILES),
        }  # fmt: skip

    def environ(self) -> dict[str, str]:
        return {**os.environ, **self.database}

    def prepare(self, count: int) -> list[str]:
        """Create ``count`` keys in its own database, and return them."""
        return subprocess.run(
            [self.python, str(FILES / "leanest.py"), str(count)],
            env=self.environ(), cwd=self.home, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout.split()  # fmt: skip

    def command(self) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        served = ["--interface", "wsgi", "--log-level", "warning", "--blocking-threads", "1"]
        return [self.python, "-m", "granian", *served, *where, "leanest:app"]


def write_keys(directory: Path, holders: Sequence[Holder], token: str) -> None:
    """Write all keys to a file for servers that hold them in memory: see ``rivals/check.lua``."""
    lines = [token]
    for holder in holders:
        ranges = ",".join(
            f"{int(network[0])}-{int(network[-1])}" for network in map(ip_network, networks_of(holder))
        )
        lines.append(f"{holder.key_id} {holder.secret}|{holder.user}|read,trade|{FAR_MS}|{ranges}")
    (directory / "keys").write_text("\n".join(lines) + "\n", encoding="ascii")
