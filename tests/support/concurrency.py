"""Many at once: threads with a database connection each, and processes of their own for what a thread can't show."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connection, connections
from django.http import HttpResponse
from django.test import Client

from accounts.choices.events import SecurityEvent
from accounts.models import AuditEvent, FactorGuard
from tests.support.people import Person
from tests.support.production import ROOT
from tests.support.servers import die_with_parent

T = TypeVar("T")
#: A browser, a path, and the fields of the form.
Post = tuple[Client, str, Mapping[str, Any]]
#: What codes and secrets are held against; where the same lock is met again, fewer show it as well.
SIXTY = 60
MANY = 24
#: A process has to start first, on a machine that may be busy.
WAIT_SECONDS = 180


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Runs all ``works``, none of which begins before the last one is ready; returns what each of them returns."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        connection.ensure_connection()  # or the first ones would be done before the others are connected
        try:
            barrier.wait(WAIT_SECONDS)
            return work()
        finally:
            connections.close_all()

    # Threads change at every query, since a wait for the database lets the next one run.
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(run, work) for work in works]]


@contextmanager
def connections_for(count: int) -> Iterator[None]:
    """Room for ``count`` threads in the pool of connections; production's 16 would make most of them wait outside."""
    pool = connection.settings_dict["OPTIONS"]["pool"]
    before = pool["max_size"]
    _resize(count)
    yield
    _resize(before)


def _resize(size: int) -> None:
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    connection.settings_dict["OPTIONS"]["pool"]["max_size"] = size


def sending(client: Client, path: str, fields: Mapping[str, Any]) -> Callable[[], HttpResponse]:
    """A post that `at_once` runs."""
    return lambda: _plain(client.post(path, fields))


def visiting(client: Client, path: str) -> Callable[[], HttpResponse]:
    """A visit that `at_once` runs."""
    return lambda: _plain(client.get(path))


def _plain(answer: Any) -> HttpResponse:
    """The test client's answer as what it is; its type stubs don't say so."""
    assert isinstance(answer, HttpResponse)
    return answer


def all_at_once(posts: Sequence[Post]) -> list[HttpResponse]:
    """The answers to all posts, sent at the same moment."""
    return at_once([sending(*post) for post in posts])


def happened(event: SecurityEvent) -> int:
    """How many events of this kind the audit trail holds."""
    return AuditEvent.objects.filter(event=event.value).count()


def failures(person: Person) -> tuple[int, int]:
    """What is stored against the person: failures in the windows, failures in a row."""
    guard = FactorGuard.objects.filter(user=person.user).first()
    if guard is None:
        return 0, 0
    # A finished login has a count of its own.
    return len(guard.failures) + len(guard.known_failures or ()), guard.in_a_row + guard.known_in_a_row


def went_to(answers: Sequence[HttpResponse], path: str) -> int:
    """How many of the answers redirect to ``path``. None of them may be a failure of the portal."""
    assert not [answer.status_code for answer in answers if answer.status_code >= 500]
    return sum(answer.status_code == 302 and answer.headers["Location"] == path for answer in answers)


@contextmanager
def child_of(task: str, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """``python -m tests.support.child_tasks task arguments``: a process on the running test's database, which it does
    not outlive."""
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
