"""How long statements may take: 5 seconds for pages and the gateway, 10 for searches of staff, no limit for commands.

PostgreSQL applies them, so that an abandoned statement does not go on there. Servers call `limit_statements` when they
start; commands do not.

Pages may go through a pooler that gives each transaction another session (`settings.DATABASE_POOLER`). Parameters of a
session would then be those of other clients, too. So the portal sets none there, and stops statements itself
(`base.WatchedConnection`); the pooler's configuration has limits for statements that nobody waits for any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections
from psycopg import errors

#: Seconds a statement of this process may take; 0: no limit.
_limit = 0
_is_pooled = False
#: Seconds a statement of this thread may take, if they are not the process's.
_own_limit: ContextVar[int | None] = ContextVar("statement_limit", default=None)


def limit_statements(*, through_pooler: bool = False) -> None:
    """Apply the limits of pages to all connections that this process opens from now on.

    ``through_pooler``: they go through `settings.DATABASE_POOLER`, if there is one.
    """
    global _limit, _is_pooled
    _limit = settings.DATABASE_PAGE_TIMEOUT
    _is_pooled = through_pooler and bool(settings.DATABASE_POOLER)
    if _is_pooled:
        # Such a cursor outlives the transaction, and so does its session, which others get meanwhile.
        connections.settings["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True


def is_pooled() -> bool:
    """Return whether connections of this process go through `settings.DATABASE_POOLER`."""
    return _is_pooled


def pooled_limit() -> int:
    """Return the seconds after which this thread stops its statement itself; 0: PostgreSQL does."""
    own = _own_limit.get()
    return (_limit if own is None else own) if _is_pooled else 0


def session_parameters() -> dict[str, str]:
    """Return the parameters of PostgreSQL that each new connection gets; none through a pooler.

    With those of TCP, PostgreSQL ends sessions (and their locks) of a portal that no longer answers.
    """
    if _is_pooled:
        return {}
    tcp = settings.DATABASE_TCP_TIMEOUT
    values = {
        "tcp_keepalives_idle": tcp,
        "tcp_keepalives_interval": max(1, tcp // 3),
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": tcp * 1000,
    }
    if _limit:
        values |= {
            "statement_timeout": _limit * 1000,
            "lock_timeout": settings.DATABASE_LOCK_TIMEOUT * 1000,
            "idle_in_transaction_session_timeout": settings.DATABASE_IDLE_TIMEOUT * 1000,
        }
    return {name: str(value) for name, value in values.items()}


@contextmanager
def statement_budget(seconds: int) -> Iterator[None]:
    """Let statements of this thread take ``seconds`` meanwhile. Does nothing in a process without limits."""
    if not _limit or connection.vendor != "postgresql":
        yield
        return
    if _is_pooled:
        token = _own_limit.set(seconds)
        try:
            yield
        finally:
            _own_limit.reset(token)
        return
    _allow(seconds)
    try:
        yield
    finally:
        # A connection that failed is not used again.
        with suppress(DatabaseError, InterfaceError):
            _allow(_limit)


def _allow(seconds: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [str(seconds * 1000)])


def is_timeout(error: BaseException) -> bool:
    """Return whether a statement was stopped because it took longer than its budget."""
    return isinstance(error.__cause__, errors.QueryCanceled)
