"""The backend that ``settings.DATABASES`` names. Django looks for `DatabaseWrapper` in a module with this name."""

import select
import time
import weakref
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from django.db.backends.postgresql import base
from psycopg.abc import PQGen
from psycopg.errors import Diagnostic
from psycopg.waiting import READY_NONE
from psycopg_pool import PoolTimeout

from hitobit_portal.database import budgets, watchdog

Result = TypeVar("Result")
#: Between two looks at the watchdog while a statement, or a request for a connection, waits.
LOOK_SECONDS = 0.1
#: A connection that was used within this time is not asked again whether it answers: that costs a round trip.
FRESH_SECONDS = 0.5
CHECK_SECONDS = 1.0
#: SECURITY: during a fail-over, a proxy may still lead to a primary that has become a replica. A key that is read
#: there may have been revoked. A primary that becomes a replica ends its sessions, so that new ones alone are checked.
PRIMARY = {"target_session_attrs": "primary"}
#: PostgreSQL's function in which a commit waits for its replica. Texts of notices depend on the server's language.
REPLICATION_WAIT = "SyncRepWaitForLSN"


class WatchedConnection(psycopg.Connection[Any]):
    """A connection whose waits end when the database no longer answers, or after ``limit`` seconds."""

    used_at = 0.0
    limit: float | None = None
    _is_stopped = False
    _is_on_one_machine = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        me = weakref.ref(
            self
        )  # a method would be a cycle, which holds the connection until the next collection

        def on_notice(diagnostic: Diagnostic) -> None:
            connection = me()
            if connection is not None and diagnostic.source_function == REPLICATION_WAIT:
                connection._is_on_one_machine = True

        self.add_notice_handler(on_notice)

    def wait(
        self, gen: PQGen[Result], interval: float = LOOK_SECONDS, timeout: float | None = None
    ) -> Result:
        """Wait as psycopg does. Raise `psycopg.OperationalError` if the database does not answer.

        SECURITY: raise it as well for a commit whose wait for the replica was ended, by us or by an administrator.
        PostgreSQL answers such a commit as if it had succeeded, with a warning, but the replica may not have it: a
        revocation would be acknowledged, and undone by a fail-over.
        """
        result = super().wait(self._watched(gen), interval, timeout)
        self.used_at = time.monotonic()
        if self._is_on_one_machine:
            self.pgconn.finish()
            raise psycopg.OperationalError(
                "committed on this machine only: the wait for its replica was ended"
            )
        return result

    def _watched(self, gen: PQGen[Result]) -> PQGen[Result]:
        """Pass on what ``gen`` waits for. `psycopg.waiting` resumes it after each interval without an answer, too."""
        began = time.monotonic()
        self._is_stopped = False
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready == READY_NONE:
                    self._look(time.monotonic() - began)
                wanted = gen.send(ready)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _look(self, waited: float) -> None:
        budget = budgets.pooled_limit()
        if budget and waited > budget and not self._is_stopped:
            self._is_stopped = True
            # The answer is the same error as that of PostgreSQL's own limit.
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CHECK_SECONDS)
        if waited < (self.limit or watchdog.STALLED_SECONDS):
            return
        if self.limit is None and not watchdog.is_down():
            watchdog.report_stall(probed_servers, settings.DATABASE_PROBE_MS / 1000)
            return
        self.pgconn.finish()  # nothing that arrives later may be read as the answer to something else
        raise psycopg.OperationalError(f"no answer after {waited:.1f} s")

    def check(self) -> None:
        """Raise `psycopg.OperationalError` if the connection does not answer within `CHECK_SECONDS`."""
        # PostgreSQL sends nothing unasked but its farewell: what can be read is the end of the connection.
        if time.monotonic() - self.used_at < FRESH_SECONDS and not _is_readable(self.pgconn.socket):
            return
        self.limit = CHECK_SECONDS
        # Otherwise the statement would begin a transaction, in which Django cannot set autocommit.
        autocommit, self.autocommit = self.autocommit, True
        try:
            self.execute("")
        finally:
            self.limit = None
        self.autocommit = autocommit


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def probed_servers() -> list[dict[str, Any]]:
    """Return the parameters of the watchdog's own connections: to PostgreSQL, and to a pooler that is in between."""
    direct = _probe_parameters()
    if not budgets.is_pooled():
        return [direct]
    return [direct, {**direct, "target_session_attrs": "any", **_pooler_parameters()}]


def _probe_parameters() -> dict[str, Any]:
    database = settings.DATABASES["default"]
    values = _parameters_of(database)
    extra = {name: value for name, value in database["OPTIONS"].items() if name not in ("pool", "options")}
    return {**PRIMARY, **extra, **values, "application_name": "portal-watchdog"}


def _parameters_of(database: dict[str, Any]) -> dict[str, Any]:
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}  # nosec B105
    return {name: database[key] for key, name in names.items() if database.get(key)}


def _pooler_parameters() -> dict[str, Any]:
    return {**settings.DATABASE_POOLER.get("OPTIONS", {}), **_parameters_of(settings.DATABASE_POOLER)}


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend with `WatchedConnection`, limits in each session, and a pool that is checked."""

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        tcp = settings.DATABASE_TCP_TIMEOUT
        limits = {
            "connect_timeout": settings.DATABASE_CONNECT_TIMEOUT,
            "tcp_user_timeout": tcp * 1000,
            "keepalives_idle": tcp,
            "keepalives_interval": max(1, tcp // 3),
            "keepalives_count": 3,
        }
        if budgets.is_pooled():
            return {**limits, **parameters, **_pooler_parameters()}
        return {**limits, **PRIMARY, **parameters}

    def _configure_connection(self, connection: Any) -> bool:
        """Called by Django for each new connection. Not by libpq's ``options``, which older PgBouncers refuse."""
        if parameters := budgets.session_parameters():
            calls = ", ".join("set_config(%s, %s, false)" for _name in parameters)
            connection.execute(f"SELECT {calls}", [part for pair in parameters.items() for part in pair])
        super()._configure_connection(connection)  # type: ignore[misc]
        return True  # Django commits if the connection has no autocommit

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if watchdog.is_down():
            raise psycopg.OperationalError("the database does not answer")
        return super().get_new_connection(conn_params)

    @property
    def pool(self) -> Any:
        options = self.settings_dict["OPTIONS"].get("pool")
        if options:
            options["connection_class"] = WatchedConnection
        pool = super().pool
        return None if pool is None else _CheckedPool(pool)


class _CheckedPool:
    """A pool whose ``getconn`` hands out only connections that answer, and gives up when the database does not."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def getconn(self) -> Any:
        deadline = time.monotonic() + self._pool.timeout
        while True:
            try:
                connection = self._pool.getconn(timeout=watchdog.STALLED_SECONDS)
            except PoolTimeout:
                if watchdog.is_down() or time.monotonic() > deadline:
                    raise
                watchdog.report_stall(probed_servers, settings.DATABASE_PROBE_MS / 1000)
                continue
            try:
                connection.check()
            except psycopg.Error:
                # psycopg's own check pauses for a second after each connection that does not answer.
                connection.close()
                self._pool.putconn(connection)
            else:
                return connection
