"""How long statements may take: 5 seconds for pages and the gateway, 10 for searches of staff, no limit for commands.

PostgreSQL applies them, so that an abandoned statement does not go on there. Servers call `limit_statements` when they
start; commands do not.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from psycopg import errors

#: Seconds a statement of this process may take; 0: no limit.
_limit = 0


def limit_statements() -> None:
    """Apply the limits of pages to all connections that this process opens from now on."""
    global _limit
    _limit = settings.DATABASE_PAGE_TIMEOUT


def session_parameters() -> dict[str, str]:
    """Return the parameters of PostgreSQL that each new connection gets.

    With those of TCP, PostgreSQL ends sessions (and their locks) of a portal that no longer answers.
    """
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
