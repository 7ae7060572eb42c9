"""Concurrency helpers: threads with a database connection each, and child processes where threads are not enough."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from django.db import connection, connections
from django.http import HttpResponse
from django.test import Client

from accounts.choices.events import SecurityEvent
from accounts.models import AuditEvent, FactorGuard
from tests.support.people import Person
from tests.support.production import ROOT
from tests.support.servers import die_with_parent

#: Marks of a module of race tests: real transactions on PostgreSQL, by up to sixty threads or by several processes.
RACES = [
    pytest.mark.verify,
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("collected_sms"),
]
T = TypeVar("T")
#: (browser, path, form fields).
Post = tuple[Client, str, Mapping[str, Any]]
#: Number of parallel requests in tests of codes and secrets; MANY where the same lock is tested again.
SIXTY = 60
MANY = 24
#: A child process has to start first, on a machine that may be busy.
WAIT_SECONDS = 180


def run_concurrently(works: Sequence[Callable[[], T]]) -> list[T]:
    """Run all ``works`` in parallel, starting when all threads are ready. Return their results."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        try:
            connection.ensure_connection()  # otherwise the first threads would finish before the others are connected
        except BaseException:
            barrier.abort()  # the others would wait for this one
            raise
        try:
            barrier.wait(WAIT_SECONDS)
            return work()
        finally:
            connections.close_all()

    # Threads switch at every query, because a wait for the database lets the next one run.
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(run, work) for work in works]]


@contextmanager
def connections_for(count: int) -> Iterator[None]:
    """Enlarge the connection pool for ``count`` threads; with production's 16 most of them would wait for a
    connection.
    """
    pool = connection.settings_dict["OPTIONS"]["pool"]
    before = pool["max_size"]
    _resize(count)
    yield
    _resize(before)


def _resize(size: int) -> None:
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    connection.settings_dict["OPTIONS"]["pool"]["max_size"] = size


def posting(client: Client, path: str, fields: Mapping[str, Any]) -> Callable[[], HttpResponse]:
    """Return a POST for `run_concurrently`."""
    return lambda: _plain(client.post(path, fields))


def visiting(client: Client, path: str) -> Callable[[], HttpResponse]:
    """Return a GET for `run_concurrently`."""
    return lambda: _plain(client.get(path))


def _plain(response: Any) -> HttpResponse:
    """Narrow the type of a response; the stubs of the test client do not."""
    assert isinstance(response, HttpResponse)
    return response


def post_concurrently(posts: Sequence[Post]) -> list[HttpResponse]:
    """Return the responses to all posts, sent at the same moment."""
    return run_concurrently([posting(*post) for post in posts])


def count_events(event: SecurityEvent) -> int:
    """Return the number of events of this kind in the audit trail."""
    return AuditEvent.objects.filter(event=event.value).count()


def failure_counts(person: Person) -> tuple[int, int]:
    """Return the stored failures of the user: in the windows, and in a row."""
    guard = FactorGuard.objects.filter(user=person.user).first()
    if guard is None:
        return 0, 0
    # A finished login has its own counter.
    return len(guard.failures) + len(guard.known_failures or ()), guard.in_a_row + guard.known_in_a_row


def count_redirects(responses: Sequence[HttpResponse], path: str) -> int:
    """Return how many responses redirect to ``path``. None of them may be a server error."""
    assert not [response.status_code for response in responses if response.status_code >= 500]
    return sum(response.status_code == 302 and response.headers["Location"] == path for response in responses)


@contextmanager
def child_of(task: str, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``python -m tests.support.child_tasks task arguments`` on the database of the running test, until the end
    of the block.
    """
    parts = connection.settings_dict
    database = (
        f"postgresql://{parts['USER']}:{parts['PASSWORD']}@{parts['HOST']}:{parts['PORT']}/{parts['NAME']}"
        if connection.vendor == "postgresql"
        else os.environ["DATABASE_URL"]
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.child_tasks", task, *arguments],
        cwd=ROOT, env={**os.environ, "DATABASE_URL": database, **environ}, text=True, preexec_fn=die_with_parent,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def kill_when(is_reached: Callable[[], bool], command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run ``manage.py command`` in ``environ``, and end it by SIGKILL as soon as ``is_reached``."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", *command], cwd=ROOT, env=environ, preexec_fn=die_with_parent,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not is_reached():
        assert process.poll() is None, process.stderr and process.stderr.read()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it came to its end before"


def room_for(threads: int) -> Any:
    """Return a fixture for a module whose tests use so many connections at once."""

    @pytest.fixture(autouse=True, scope="module")
    def room(django_db_setup: None) -> Iterator[None]:
        with connections_for(threads + 4):
            yield

    return room
