"""The environment of all measurements: a database with keys, a directory, and gateways that are started on demand."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.load import LOAD_CORE, SERVER_CORE, on_core
from tests.support.production import settings, without_settings
from tests.support.servers import Postgres, create_database

#: So high that the rate limits are evaluated and reject nothing.
RATE = str(10**9)


class World:
    """``with World() as world`` starts the database and sets Django up on it, in this process, too.

    ``environ``: more settings.
    """

    def __init__(self, **environ: str) -> None:
        self._stack, self._environ = ExitStack(), environ

    def __enter__(self) -> "World":
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="portal-bench-"))
        self.directory = Path(directory)
        self.directory.chmod(0o755)  # nginx's worker is another user
        with on_core(LOAD_CORE):
            self.postgres = self._stack.enter_context(Postgres())
        self.url = create_database(self.postgres.url())
        environ = {
            **without_settings(dict(os.environ)),
            **settings(self.directory),
            "DATABASE_URL": self.url,
            "PORTAL_GATEWAY_KEY_RATE": RATE,
            "PORTAL_GATEWAY_ADDRESS_RATE": RATE,
            "PORTAL_GATEWAY_LEASE_MS": "200",
            "PORTAL_GATEWAY_CACHE": "200000",
            **self._environ,
        }
        os.environ.clear()
        os.environ.update(environ)
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        return self

    def __exit__(self, *exception: object) -> None:
        from django.db import connections

        connections.close_all()
        self._stack.close()


class Gateway:
    """`tests.support.gateways.GatewayProcess`, on the server's core."""

    def __init__(self, token: str, environ: dict[str, str], core: int | None = SERVER_CORE) -> None:
        from tests.support.gateways import GatewayProcess

        self._process = GatewayProcess(token, environ)
        self._core = core
        self.port = self._process.port

    def __enter__(self) -> "Gateway":
        if self._core is None:
            self._process.start()
        else:
            with on_core(self._core):
                self._process.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stop()

    @property
    def pid(self) -> int:
        """Process id of the worker, which holds the key cache."""
        assert self._process.process is not None
        parent = self._process.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        return max((int(child) for child in children), key=resident)


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
