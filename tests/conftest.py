"""Starts what the portal needs for real, before Django's settings are read, and hands it to the tests.

PORTAL_TEST_DATABASE chooses ``postgresql`` (default, with Valkey) or ``sqlite`` (with the in-process cache), the two
ways the portal is run. With CI=true nothing is skipped: what is missing fails.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.support import production
from tests.support.browsers import ARGUMENTS, chromium
from tests.support.examples import FACTOR, times
from tests.support.live_portal import LivePortal
from tests.support.servers import Missing, Postgres, Server, Valkey, create_database

if TYPE_CHECKING:
    from django.test import Client
    from playwright.sync_api import Browser

    from tests.support.live_site import Customer, LiveSite
    from tests.support.openid_provider import OpenIdProvider
    from tests.support.people import Person
    from tests.support.visitors import Visit, Windows

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile(
    "hunt", deadline=None, max_examples=times(100), suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("hunt" if FACTOR > 1 else "ci" if IN_CI else "local")
running: list[Server] = []
directories: list[Path] = []
remarks: list[str] = []


def start_servers(directory: Path) -> dict[str, str]:
    """The environment that points at freshly started servers."""
    environ = production.settings(directory)
    if given := os.environ.get("PORTAL_TEST_SERVERS"):  # they run already (`tests.support.mutants`)
        (directory / "static").symlink_to(Path(given).with_name("static"))
        return {**environ, **json.loads(Path(given).read_text(encoding="utf-8"))}
    kind = os.environ.get("PORTAL_TEST_DATABASE", "postgresql")
    if kind not in ("postgresql", "sqlite"):
        raise pytest.UsageError(f"PORTAL_TEST_DATABASE is {kind!r}, not postgresql or sqlite.")
    if kind == "postgresql":
        try:
            for server in (Postgres, Valkey):
                running.append(server().start())
            postgres, valkey = running
            assert isinstance(postgres, Postgres)
            assert isinstance(valkey, Valkey)
            environ["DATABASE_URL"] = environ["PORTAL_TEST_POSTGRES_URL"] = postgres.url()
            environ["REDIS_URL"] = environ["PORTAL_TEST_VALKEY_URL"] = valkey.url(0)
        except Missing as error:
            if IN_CI:
                raise pytest.UsageError(str(error)) from None
            remarks.append(
                f"NOT ON POSTGRESQL: {error} The tests ran on SQLite; those marked postgres did not."
            )
            kind = "sqlite"
    return {**environ, "PORTAL_TEST_DATABASE": kind}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or config.option.help or config.option.collectonly:
        if "PORTAL_SECRET_KEY" not in os.environ:
            os.environ.update(production.settings(Path(tempfile.gettempdir())))
        return load_settings()  # a worker got its environment from the process that started it
    directory = Path(tempfile.mkdtemp(prefix="portal-tests-"))
    directories.append(directory)
    environ = {**production.without_settings(dict(os.environ)), **start_servers(directory)}
    os.environ.clear()
    os.environ.update(environ)
    if not (directory / "static").exists():
        collect_static()
    return load_settings()


def collect_static() -> None:
    """Pages name their files by hash, as in production, and so need the collected ones."""
    command = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity=0"]
    result = subprocess.run(command, cwd=production.ROOT, capture_output=True, text=True)
    if result.returncode:
        raise pytest.UsageError(f"collectstatic fails: {result.stderr[-2000:]}")


def load_settings() -> None:
    """Reads Django's settings; pytest-django, whose turn comes next, sets up what has been read."""
    from django.conf import settings

    assert settings.DATABASES
    # A third of the suite's time was spent on the passwords of its people.
    settings.PASSWORD_HASHERS = ["tests.support.password_hashing.QuickArgon2"]
    if "DATABASE_URL" in os.environ and os.environ.get("PORTAL_TEST_DATABASE") == "postgresql":
        # Tells the tests' own connections from those of processes that they start (`tests.support.audit_trail`).
        settings.DATABASES["default"].setdefault("OPTIONS", {})["application_name"] = "portal-tests"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Gives each worker process a cache and a data directory that no other one clears."""
    for number, spec in enumerate(specs, start=1):
        directory = directories[0] / f"worker-{number}"
        directory.mkdir()
        (directory / "static").symlink_to(directories[0] / "static")
        spec.env = {"PORTAL_DATA_DIR": str(directory)}
        if "REDIS_URL" in os.environ:
            spec.env["REDIS_URL"] = f"{os.environ['REDIS_URL'].rpartition('/')[0]}/{number}"


def pytest_unconfigure(config: pytest.Config) -> None:
    while running:
        running.pop().close()
    while directories:
        shutil.rmtree(directories.pop(), ignore_errors=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in remarks:
        terminalreporter.write_line(line, yellow=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The files with a browser take longest: begun last, one process would be left alone with them.
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)
    if os.environ.get("PORTAL_TEST_DATABASE") != "sqlite":
        return
    for item in items:
        if item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.skip(reason="needs PostgreSQL"))
    # The same on every database: what asks none, and the demo, which has its own.
    config.hook.pytest_deselected(items=[item for item in items if not asks_database(item)])
    items[:] = [item for item in items if asks_database(item)]


#: Fixtures that give a test the database.
DATABASES = {"db", "transactional_db", "kept_db"}


def asks_database(item: pytest.Item) -> bool:
    names: Sequence[str] = getattr(item, "fixturenames", ())
    return bool(item.get_closest_marker("django_db")) or not DATABASES.isdisjoint(names)


def unavailable(reason: str) -> None:
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    """Counters of rates live in the cache and would outlive a test."""
    yield
    from django.core.cache import cache

    cache.clear()


@pytest.fixture(autouse=True)
def _trail_of_nobody_is_remembered() -> Iterator[None]:
    """A process knows the last link that it wrote, and says that it is gone when the next test begins without any."""
    yield
    from accounts.audit import chain

    chain._last_seen = (0, 0)


@pytest.fixture(autouse=True)
def _no_window_of_a_rate_ends_in_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows end at fixed times, and with them, for one test in some thousand, what it has just used up.

    A test that moves the clock does it by `time.time`, and is heard.
    """
    from django_ratelimit import core

    began, clock = time.time(), time.time
    stopped = SimpleNamespace(time=lambda: began if time.time is clock else time.time())
    monkeypatch.setattr(core, "time", stopped)


@pytest.fixture(autouse=True)
def _background_tasks_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.background_tasks import run_at_once

    run_at_once(monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def _flush_may_empty_the_audit_trail() -> Iterator[None]:
    """The trail's triggers refuse the flush after a test with transactions of its own, as anybody's."""
    from django.test import TransactionTestCase

    from tests.support import audit_trail

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", audit_trail.flushing(TransactionTestCase))
        yield


@pytest.fixture(scope="session", autouse=True)
def _template_tags_query_nothing() -> Iterator[None]:
    """A view loads everything that its page shows: a template tag that queries the database fails the test."""
    from tests.support import template_tags

    with pytest.MonkeyPatch.context() as patch:
        template_tags.forbid_queries(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _database_is_made_for_whoever_asks() -> Iterator[None]:
    """pytest-django makes those that some test's marker names; a run of modules with `kept_db` alone has none."""
    from django.test import utils

    made: Callable[..., Any] = utils.setup_databases

    def with_default(*arguments: Any, aliases: Iterable[str] = (), **options: Any) -> Any:
        return made(*arguments, aliases={"default", *aliases}, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "setup_databases", with_default)
        yield


@pytest.fixture
def visitor(sara: "Person") -> "Client":
    """Sara's browser at the page that takes both codes for a new key, after the SMS was sent."""
    from tests.support import two_code_page

    return two_code_page.opened(sara)


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """PostgreSQL is thrown away whole; dropping its databases first would wait for every connection."""
    return os.environ.get("PORTAL_TEST_DATABASE") != "sqlite"


@pytest.fixture(scope="module")
def kept_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database of a module whose tests share a process: emptied once, after that process, which depends on this.

    ``django_db(transaction=True)`` empties it after each test, under a process that reads it and writes its counts.
    Tests with this fixture commit, see what the ones before them left, and so make people, keys and tokens of their own
    and look at nobody else's.
    """
    from django.db import connection

    from tests.support import audit_trail

    with django_db_blocker.unblock():
        assert connection.settings_dict["NAME"].startswith("test_"), "nothing else is ever emptied"
        yield
        audit_trail.empty()


@pytest.fixture
def sara() -> "Person":
    """A customer with both factors confirmed. A module whose customer needs more defines a fixture of its own."""
    from tests.support.people import customer

    return customer()


@pytest.fixture
def collected_sms(settings: Any) -> Iterator[None]:
    """Deliver SMS to `tests.support.sms_collector`, which is empty before and after each test."""
    from tests.support import sms_collector

    settings.SMS_BACKENDS = ["tests.support.sms_collector"]
    sms_collector.reset()
    yield
    sms_collector.reset()


@pytest.fixture
def client() -> "Client":
    """Django's test client, behind the TLS proxy that production has."""
    from django.test import Client

    return Client(headers={"x-forwarded-proto": "https", "host": production.HOST})


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A PostgreSQL database in which a test may make others (`tests.support.servers.create_database`)."""
    if "PORTAL_TEST_POSTGRES_URL" not in os.environ:
        unavailable("needs PostgreSQL")
    return os.environ["PORTAL_TEST_POSTGRES_URL"]


@pytest.fixture(scope="session")
def valkey_url() -> str:
    """Valkey's database of this test process."""
    if "PORTAL_TEST_VALKEY_URL" not in os.environ:
        unavailable("needs Valkey")
    return os.environ["REDIS_URL"]


@pytest.fixture(scope="session")
def openid_process() -> Iterator["OpenIdProvider"]:
    """A real OpenID provider, for all tests of a process; `openid` gives it to one of them."""
    from tests.support.openid_provider import OpenIdProvider

    try:
        server = OpenIdProvider().start()
    except Missing as error:
        remarks.append(f"NOT WITH AN OPENID PROVIDER: {error}")
        unavailable(str(error))
        raise
    yield server
    server.close()


@pytest.fixture
def openid(openid_process: "OpenIdProvider", settings: Any) -> Iterator["OpenIdProvider"]:
    """The provider without faults, and a portal that is set up for it and knows nothing of it yet."""
    from accounts.oidc import provider

    openid_process.control()
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = openid_process.issuer, openid_process.client_id
    settings.OIDC_CLIENT_SECRET = openid_process.client_secret
    provider._documents.clear()
    provider._down_until.clear()
    yield openid_process
    provider._documents.clear()
    provider._down_until.clear()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    try:
        return chromium()
    except Missing as error:
        unavailable(str(error))
        raise


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator["Browser"]:
    """One headless Chromium for all browser tests of a process."""
    from playwright.sync_api import sync_playwright

    # Playwright keeps an event loop in this thread, which Django would take for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        yield chrome
        chrome.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def live_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePortal]:
    """The demo as ``make run`` starts it: SQLite, in-process cache, one process."""
    portal = LivePortal(tmp_path_factory.mktemp("live"))
    yield portal.start()
    portal.stop()


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator["LiveSite"]:
    """The demo behind a trusted proxy, so that browsers can come from several addresses; each test of it has
    customers and addresses of its own."""
    from tests.support.live_site import LiveSite

    live = LivePortal(tmp_path_factory.mktemp("live-walk"), {"PORTAL_TRUSTED_PROXIES": "127.0.0.1"})
    yield LiveSite(live.start())
    live.stop()


@pytest.fixture(scope="session")
def windows(browser: "Browser") -> "Windows":
    """The browser's contexts, reused from test to test."""
    from tests.support.visitors import Windows

    return Windows(browser)


@pytest.fixture
def visit(portal: "LiveSite", windows: "Windows") -> Iterator["Visit"]:
    """``visit(customer)`` is a new browser of theirs; at the end none of them may have complained."""
    from tests.support.visitors import Visitor, new_visitor

    visitors: list[Visitor] = []

    def start(customer: "Customer | None" = None, **options: Any) -> Visitor:
        visitors.append(new_visitor(portal, windows, customer or portal.customer(), **options))
        return visitors[-1]

    yield start
    for visitor in visitors:
        visitor.leave()
    assert [text for visitor in visitors for text in visitor.complaints] == []


@pytest.fixture(scope="session")
def portal_on_postgres(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, valkey_url: str
) -> Iterator[LivePortal]:
    """The demo with production's parts: PostgreSQL, Valkey, four processes, and a trusted proxy."""
    database, last = valkey_url.rpartition("/")[0], int(valkey_url.rpartition("/")[2])
    environ = {
        "DATABASE_URL": create_database(postgres_url),
        "REDIS_URL": f"{database}/{last + 32}",
        "PORTAL_PROCESSES": "4",
        "PORTAL_TRUSTED_PROXIES": "127.0.0.1/32",
        **production.PATIENT,
    }
    portal = LivePortal(tmp_path_factory.mktemp("live-postgres"), environ)
    yield portal.start()
    portal.stop()
