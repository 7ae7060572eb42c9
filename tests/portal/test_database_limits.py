"""A database that answers no more, slowly, or again: nothing waits for it without a limit, and nothing stays broken.

Between the portal and PostgreSQL is a proxy that falls silent: it acknowledges what is sent, forwards nothing, and
closes nothing. Statements have no budget here, so that nothing but the watchdog ends a wait.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from hitobit_portal import database
from hitobit_portal.database import budgets, watchdog
from hitobit_portal.http.middleware import FaultMiddleware
from tests.support.gateways import GatewayProcess, database_url, token
from tests.support.live_portal import LivePortal
from tests.support.production import ROOT
from tests.support.servers import create_database, die_with_parent
from tests.support.silent_proxy import SilentProxy

pytestmark = [pytest.mark.verify, pytest.mark.postgres]
#: Generous: the machine may be busy. Without the limits under test, the waits last for ten minutes.
SECONDS = 120.0
LIMITS = {
    "PORTAL_DATABASE_PAGE_TIMEOUT": "600",
    "PORTAL_DATABASE_LOCK_TIMEOUT": "600",
    "PORTAL_DATABASE_IDLE_TIMEOUT": "600",
    "PORTAL_DATABASE_TCP_TIMEOUT": "600",
    "PORTAL_DATABASE_PROBE_MS": "3000",
}
#: More than the threads of a process, and than the connections of its pool.
AT_ONCE = 40


def through(proxy: SilentProxy, url: str) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{proxy.port}/")


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Pages:
    """Requests of a page that reads the session from the database, each on a connection of its own."""

    def __init__(self, portal: LivePortal, proxy: SilentProxy) -> None:
        self.portal, self.proxy = portal, proxy

    def status(self, path: str = "/keys/") -> int:
        return httpx.get(
            self.portal.url + path,
            headers={"Cookie": f"session={'x' * 32}"},
            timeout=SECONDS,
            trust_env=False,
        ).status_code

    def statuses(self, number: int) -> list[int]:
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda _n: self.status(), range(number)))

    def is_ready(self) -> bool:
        return self.status("/readyz") == 200


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Pages]:
    url = create_database(postgres_url)
    with SilentProxy(urlsplit(url).port or 0) as proxy:
        environ = {"DATABASE_URL": through(proxy, url), **LIMITS}
        portal = LivePortal(tmp_path_factory.mktemp("live"), environ)
        yield Pages(portal.start(), proxy)
        portal.stop()


def test_a_silent_database_is_503_for_probes_and_pages_and_ends_with_it(pages: Pages) -> None:
    assert set(pages.statuses(AT_ONCE)) == {302}
    pages.proxy.silence()
    assert set(pages.statuses(AT_ONCE)) == {503}
    assert pages.status("/readyz") == 503
    assert pages.status("/healthz") == 200
    page = httpx.get(
        pages.portal.url + "/keys/", headers={"Cookie": "language=en"}, timeout=SECONDS, trust_env=False
    )
    assert (page.status_code, "temporarily unavailable" in page.text) == (503, True)
    assert page.headers["Retry-After"]
    pages.proxy.speak()
    until(pages.is_ready)
    assert set(pages.statuses(AT_ONCE)) == {302}


def test_a_probe_is_answered_while_every_thread_waits_for_the_database(pages: Pages) -> None:
    until(pages.is_ready)
    pages.proxy.silence()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(pages.status) for _ in range(AT_ONCE)]
        assert pages.status("/readyz") == 503
        assert {future.result() for future in waiting} == {503}
    pages.proxy.speak()
    until(pages.is_ready)


def test_connections_that_went_silent_are_replaced_before_they_are_used(pages: Pages) -> None:
    """As after a fail-over: new connections reach the new primary, the old ones nobody."""
    until(pages.is_ready)
    assert set(pages.statuses(AT_ONCE)) == {302}
    time.sleep(1)  # connections that were used just now are trusted
    pages.proxy.speak()
    assert [pages.status() for _ in range(60)].count(302) == 60


def test_a_short_cut_fails_one_request_at_most(pages: Pages) -> None:
    until(pages.is_ready)
    statuses = [pages.status() for _ in range(20)]
    pages.proxy.cut()
    time.sleep(0.2)
    pages.proxy.restore()
    statuses += [pages.status() for _ in range(40)]
    assert statuses.count(302) >= 59


@pytest.mark.django_db(transaction=True)
def test_the_sender_of_notices_goes_on_after_a_silence(tmp_path: Path) -> None:
    with SilentProxy(urlsplit(database_url()).port or 0) as proxy:
        environ = {**os.environ, "DATABASE_URL": through(proxy, database_url()), **LIMITS}
        process = subprocess.Popen(
            [sys.executable, "manage.py", "send_notices", "--loop", "--every", "0.2", "--json"], cwd=ROOT, env=environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        assert process.stdout
        assert process.stderr
        try:
            assert json.loads(process.stdout.readline())["sent"] == 0
            proxy.silence()
            failed = next(line for line in process.stderr if "OperationalError" in line)
            proxy.speak()
            assert failed
            assert any("answers again" in line for line in process.stderr)
            assert json.loads(process.stdout.readline())["sent"] == 0
        finally:
            process.kill()
            process.communicate()


@pytest.mark.django_db(transaction=True)
def test_a_gateway_answers_503_while_the_database_is_silent_and_then_goes_on() -> None:
    bearer = token()
    with SilentProxy(urlsplit(database_url()).port or 0) as proxy:
        environ = {"DATABASE_URL": through(proxy, database_url()), **LIMITS}
        with GatewayProcess(bearer, environ) as gateway:
            assert gateway.ask("GET", "/readyz", token="").status == 200
            proxy.silence()
            # More than it has threads that load keys.
            assert {gateway.ask("GET", "/readyz", token="").status for _ in range(6)} == {503}
            proxy.speak()
            until(lambda: gateway.ask("GET", "/readyz", token="").status == 200)


# --- budgets of statements --------------------------------------------------------------------------------------------


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    """A process that serves pages: its connections are new, and their statements take 1 second at most."""
    settings.DATABASE_PAGE_TIMEOUT = settings.DATABASE_LOCK_TIMEOUT = 1
    monkeypatch.setattr(budgets, "_limit", 0)
    connection.close()
    connections["default"].close_pool()  # type: ignore[attr-defined]
    budgets.limit_statements()
    yield
    connection.close()
    connections["default"].close_pool()  # type: ignore[attr-defined]


def shown(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def sleeping(_request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(3)")
    return HttpResponse("slept")


@pytest.mark.django_db(transaction=True)
def test_commands_have_no_budget() -> None:
    """In a process of its own: here, a test may have imported the portal's server, which limits the process."""
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    script = (
        "from django.db import connection\n"
        "cursor = connection.cursor()\n"
        f"for name in {names!r}:\n"
        "    cursor.execute(f'SHOW {name}')\n"
        "    print(cursor.fetchone()[0])\n"
    )
    printed = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", script], cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url()}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert printed.split() == ["0", "0", "0"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("limited")
def test_a_statement_of_a_page_is_stopped_with_a_page_that_says_so() -> None:
    assert shown("statement_timeout") == "1s"
    assert shown("idle_in_transaction_session_timeout") == "30s"
    middleware = FaultMiddleware(sleeping)
    answer = middleware(RequestFactory().get("/keys/"))
    assert answer.status_code == 503
    assert "took too long and was stopped" in english(middleware, "/keys/")
    assert shown("statement_timeout") == "1s", "the connection goes on"


def english(middleware: FaultMiddleware, path: str) -> str:
    from django.utils import translation

    with translation.override("en"):
        return middleware(RequestFactory().get(path)).content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("limited")
def test_a_search_of_staff_has_a_longer_budget_and_gives_it_back() -> None:
    with override_settings(DATABASE_SEARCH_TIMEOUT=60):
        middleware = FaultMiddleware(sleeping)
        assert middleware(RequestFactory().get("/admin/accounts/user/?q=sara")).content == b"slept"
        assert middleware(RequestFactory().get("/admin/accounts/user/")).status_code == 503
    assert shown("statement_timeout") == "1s"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("limited")
def test_a_lock_that_is_not_given_back_is_an_error_of_the_database_and_not_a_slow_page(
    tmp_path: Path,
) -> None:
    with psycopg.connect(database_url()) as other, connection.cursor() as cursor:
        other.execute("LOCK TABLE django_session IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(OperationalError):
            cursor.execute("SELECT COUNT(*) FROM django_session")


@pytest.mark.django_db(transaction=True)
def test_a_slow_statement_is_no_reason_to_call_the_database_down() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [4 * watchdog.STALLED_SECONDS])
    assert not database.is_down()
