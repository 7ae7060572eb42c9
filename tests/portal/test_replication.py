"""A commit that waits for a replica is acknowledged when the replica has it, and not when the wait is ended."""

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from hitobit_portal.database.base import WatchedConnection
from tests.conftest import unavailable
from tests.support.servers import Missing, Postgres

pytestmark = pytest.mark.postgres


class Alone(Postgres):
    """A primary that waits for a replica that does not exist."""

    def command(self) -> list[str]:
        options = ("wal_level=replica", "max_wal_senders=2", "synchronous_standby_names=nobody")
        return [*super().command(), *(part for option in options for part in ("-c", option))]


@pytest.fixture(scope="module")
def primary() -> Iterator[Alone]:
    try:
        with Alone() as server:
            yield server
    except Missing as error:
        unavailable(str(error))


def end_wait(url: str) -> None:
    """End the wait of the commit of the application ``author``, as an administrator does who sees it hang."""
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'author' AND wait_event = 'SyncRep'"
        ).fetchall():
            time.sleep(0.02)


@pytest.mark.parametrize("autocommit", [True, False], ids=["statement", "transaction"])
def test_commit_that_the_replica_may_not_have_is_an_error(primary: Alone, autocommit: bool) -> None:
    url = primary.url("postgres")
    name = f"made_{autocommit}".lower()
    canceller = threading.Thread(target=end_wait, args=(url,))
    with WatchedConnection.connect(url, autocommit=True, application_name="author") as connection:
        connection.execute("SET synchronous_commit = on")

        def commit() -> None:
            connection.execute(f"CREATE TABLE {name} ()")
            connection.commit()

        connection.autocommit = autocommit
        canceller.start()
        with pytest.raises(psycopg.OperationalError, match="this machine only"):
            commit()
        canceller.join()
        assert connection.closed
    with psycopg.connect(url) as other:
        assert other.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone() == (True,)


def test_commit_that_waits_for_nobody_is_acknowledged(primary: Alone) -> None:
    with WatchedConnection.connect(primary.url("postgres"), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = local")
        connection.execute("CREATE TABLE local_table ()")
        assert not connection.closed
