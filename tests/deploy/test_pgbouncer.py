"""What may go through PgBouncer in transaction mode: pages. What may not: a gateway's listener, and commands."""

import asyncio
import configparser
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dj_database_url
import httpx
import psycopg
import pytest
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from apikeys.gateway.keycache.postgresql_invalidation import PostgresListener
from hitobit_portal import database
from hitobit_portal.config import declarations as declared
from hitobit_portal.database import base, budgets, watchdog
from hitobit_portal.http.middleware import FaultMiddleware
from tests.portal.test_settings import manage
from tests.support.event_loops import run_in_thread
from tests.support.gateways import database_url
from tests.support.live_portal import LivePortal
from tests.support.pgbouncer import PgBouncer
from tests.support.production import ROOT
from tests.support.servers import create_database

pytestmark = [pytest.mark.postgres, pytest.mark.verify]
AT_ONCE = 40


@pytest.fixture
def pgbouncer(transactional_db: None) -> Iterator[PgBouncer]:
    """Before the database of this test."""
    with PgBouncer(database_url()) as server:
        yield server


@pytest.fixture
def pooled(pgbouncer: PgBouncer, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[PgBouncer]:
    """A process that serves pages through PgBouncer; its statements take 1 second at most."""
    settings.DATABASE_POOLER = dj_database_url.parse(pgbouncer.url)
    settings.DATABASE_PAGE_TIMEOUT = 1
    with monkeypatch.context() as patch:
        for name, value in (("_limit", 0), ("_is_pooled", False)):
            patch.setattr(budgets, name, value)
        patch.setitem(connections.settings["default"], "DISABLE_SERVER_SIDE_CURSORS", False)
        _forget()
        budgets.limit_statements(through_pooler=True)
        yield pgbouncer
        _forget()
    # A probe of the pooler, begun by a slow statement, would refuse all connections of later tests once it is stopped.
    while watchdog._is_probing:
        time.sleep(0.01)


def _forget() -> None:
    connection.close()
    connections["default"].close_pool()  # type: ignore[attr-defined]


def value_of(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0])


def sleeping(_request: HttpRequest) -> HttpResponse:
    value_of("SELECT pg_sleep(3)")
    return HttpResponse("slept")


# --- What may ---------------------------------------------------------------------------------------------------------


def test_pages_are_served_through_few_connections(tmp_path: Path, postgres_url: str) -> None:
    url = create_database(postgres_url)
    with PgBouncer(url) as pgbouncer:
        portal = LivePortal(
            tmp_path,
            {"DATABASE_URL": url, "PORTAL_DATABASE_POOLER_URL": f"{pgbouncer.url}?application_name=pages"},
        )
        portal.start()
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:

                def status(_number: int) -> int:
                    headers = {"Cookie": f"session={'x' * 32}"}
                    return httpx.get(
                        f"{portal.url}/keys/", headers=headers, timeout=60, trust_env=False
                    ).status_code

                assert set(pool.map(status, range(2 * AT_ONCE))) == {302}
            with psycopg.connect(url) as direct:
                rows = direct.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'pages'"
                ).fetchone()
            assert rows
            assert 1 <= rows[0] <= PgBouncer.SIZE
            assert httpx.get(f"{portal.url}/readyz", timeout=60, trust_env=False).status_code == 200
            pgbouncer.stop()
            assert httpx.get(f"{portal.url}/readyz", timeout=60, trust_env=False).status_code == 503
        finally:
            portal.stop()


def test_no_parameter_of_a_session_is_left_for_the_next_client(pooled: PgBouncer) -> None:
    expected = {
        "statement_timeout": "15s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "30s",
    }  # fmt: skip
    with database.statement_budget(60):
        assert {name: value_of(f"SHOW {name}") for name in expected} == expected
    with psycopg.connect(pooled.url) as other:
        for name, value in expected.items():
            row = other.execute(f"SHOW {name}").fetchone()
            assert row == (value,)


def test_a_slow_statement_is_stopped_and_a_search_of_staff_has_longer(
    pooled: PgBouncer, settings: Any
) -> None:
    settings.DATABASE_SEARCH_TIMEOUT = 60
    middleware = FaultMiddleware(sleeping)
    answer = middleware(RequestFactory().get("/keys/"))
    assert (answer.status_code, b"took too long" in english(middleware)) == (503, True)
    assert value_of("SELECT 1") == "1", "the connection goes on"
    assert middleware(RequestFactory().get("/admin/accounts/user/?q=sara")).content == b"slept"
    assert middleware(RequestFactory().get("/admin/accounts/user/")).status_code == 503
    with psycopg.connect(database_url()) as direct:
        rows = direct.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
        ).fetchone()
    assert rows == (0,), "PostgreSQL goes on with none of them"


def english(middleware: FaultMiddleware) -> bytes:
    from django.utils import translation

    with translation.override("en"):
        return middleware(RequestFactory().get("/keys/")).content


def test_locks_of_rows_hold_and_rows_are_read_in_pieces_without_a_session(pooled: PgBouncer) -> None:
    from accounts.models import LastRun

    row = LastRun.objects.create(name="tick", at=datetime(2026, 1, 1, tzinfo=UTC))

    def add(_number: int) -> None:
        try:
            with transaction.atomic():
                locked = LastRun.objects.select_for_update().get(pk=row.pk)
                time.sleep(0.01)
                locked.at += timedelta(days=1)
                locked.save()
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(add, range(20)))
    (after,) = LastRun.objects.filter(pk=row.pk).iterator(chunk_size=1)
    assert str(after.at) == "2026-01-21 00:00:00+00:00"


def test_the_watchdog_asks_postgresql_and_the_pooler(pooled: PgBouncer) -> None:
    ports = {server["port"] for server in base.probed_servers()}
    assert len(ports) == 2
    assert pooled.port in ports


# --- What may not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["pgbouncer", "postgresql"])
def test_a_listener_trusts_postgresql_alone(
    through: str, pgbouncer: PgBouncer, caplog: pytest.LogCaptureFixture
) -> None:
    url = pgbouncer.url if through == "pgbouncer" else database_url()

    async def is_fresh() -> bool:
        listener = PostgresListener({"conninfo": url}, 5.0, lambda _key: None)
        task = asyncio.create_task(listener.run())
        deadline = time.monotonic() + (2 if through == "pgbouncer" else 60)
        while not listener.is_fresh() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        fresh = listener.is_fresh()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return fresh

    assert run_in_thread(is_fresh()) == (through == "postgresql")
    assert ("PoolerError" in caplog.text) == (through == "pgbouncer")


def test_commands_go_to_postgresql_itself_and_have_no_limit(pgbouncer: PgBouncer) -> None:
    script = (
        "from django.db import connection\n"
        "cursor = connection.cursor()\n"
        "cursor.execute('SHOW statement_timeout')\n"
        "print(cursor.fetchone()[0], connection.connection.info.port)\n"
    )
    printed = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", script], cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url(), "PORTAL_DATABASE_POOLER_URL": pgbouncer.url},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert printed.split() == ["0", re.findall(r":(\d+)/", database_url())[0]]


# --- The configuration ------------------------------------------------------------------------------------------------


def test_the_shipped_limits_fit_the_portals() -> None:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(ROOT / "deploy/pgbouncer/pgbouncer.ini")
    limits = {
        name: int(value) for name, value in re.findall(r"SET (\w+) = (\d+)", parsed["databases"]["portal"])
    }
    assert limits == {
        # After the portal's own, so that its page can say that a statement took too long.
        "statement_timeout": (declared.DATABASE_SEARCH_TIMEOUT.default + 5) * 1000,
        "lock_timeout": declared.DATABASE_LOCK_TIMEOUT.default * 1000,
        "idle_in_transaction_session_timeout": declared.DATABASE_IDLE_TIMEOUT.default * 1000,
    }
    assert parsed["pgbouncer"]["pool_mode"] == "transaction"
    assert int(parsed["pgbouncer"]["tcp_user_timeout"]) == declared.DATABASE_TCP_TIMEOUT.default * 1000


@pytest.mark.parametrize("url", ["sqlite:///other.sqlite3", "postgresql://portal@127.0.0.1:6432/portal"])
def test_a_pooler_is_for_postgresql(url: str, tmp_path: Path) -> None:
    """The second one would be beside an SQLite database."""
    result = manage(tmp_path, {"PORTAL_DATABASE_POOLER_URL": url}, "check")
    assert result.returncode == 1
    assert "PORTAL_DATABASE_POOLER_URL: It " in result.stderr
