"""The audit trail in tests: emptied between tests, and tampered with as somebody with all of the database would."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from django.test import TransactionTestCase

from accounts import audit
from accounts.audit import chain
from accounts.models import AuditEvent, AuditLink
from apikeys.policy.events import KeyEvent
from tests.support.people import Person

rules = import_module("accounts.migrations.0004_audit_that_can_be_believed")
roles = import_module("accounts.migrations.0005_roles")
erasures = import_module("accounts.migrations.0019_erasures")
#: Each later migration that gives rights to roles has a function ``give``.
later_rights = [
    module
    for each in iter_modules(import_module("accounts.migrations").__path__)
    if hasattr(module := import_module(f"accounts.migrations.{each.name}"), "give")
]


#: For a process that was killed: until the database has noticed.
GONE_SECONDS = 20.0
#: Sessions of other programs in this test's database. Those of the tests themselves have a name of their own.
OTHERS = """
    SELECT pid, application_name, state, left(query, 120) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
    AND application_name <> current_setting('application_name')
"""


class StillRunning(AssertionError):
    """A test did not end the processes that it started before the database is emptied."""


def flushing(case: type[TransactionTestCase]) -> Callable[[Any], None]:
    """Django's flush after a test, let through by the guard; then chain and roles are made as by the migrations."""
    flush: Callable[[Any], object] = case._fixture_teardown  # type: ignore[attr-defined]
    return lambda self: _emptied_by(lambda: flush(self))


def empty() -> None:
    """The same for a module whose tests share the database."""
    _emptied_by(lambda: call_command("flush", verbosity=0, interactive=False, reset_sequences=False))


def _emptied_by(flush: Callable[[], object]) -> None:
    others = _others()
    with chain.removing():
        flush()
    chain._last_seen = (0, 0)
    rules.begin(apps, None)
    roles.make(apps, None)
    for module in later_rights:
        module.give(apps, None)
    if others:
        raise StillRunning(
            f"ended for the flush, which they would have waited for, and it for them: {others}"
        )


def _others() -> list[Any]:
    """Who is still there after a while, and is not any more now.

    A process that writes its counts while the tables are emptied takes them in another order: a deadlock, which leaves
    its rows to the next test, or the next test's counts lost, with those of keys that are no more.
    """
    if connection.vendor != "postgresql":
        return []
    deadline = time.monotonic() + GONE_SECONDS
    with connection.cursor() as cursor:
        while True:
            cursor.execute(OTHERS)
            result: list[Any] = cursor.fetchall()
            if not result or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        for pid, *_about in result:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    return result


@contextmanager
def unguarded() -> Iterator[Any]:
    """A cursor for which the triggers don't exist, which the tables' owner can have at any time."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")
            yield cursor
            cursor.execute("SET LOCAL session_replication_role = origin")
            return
        editor: Any = _Editor()
        rules.drop(apps, editor)
        yield cursor
        rules.create(apps, editor)
        erasures.create(apps, editor)


class _Editor:
    """As much of a schema editor as the migration's functions use; Django's own can't be had inside a transaction."""

    connection = connection

    def execute(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)


def tamper(statement: str, *values: Any) -> None:
    """Runs ``statement`` without the triggers."""
    with unguarded() as cursor:
        cursor.execute(statement, values)


def recorded(person: Person, count: int) -> list[AuditEvent]:
    """``count`` events of the person, linked, oldest first."""
    events = [
        audit.record(KeyEvent.RENAMED, None, customer=person.user, label=f"bot {number}", number=number)
        for number in range(count)
    ]
    chain.seal_pending()
    return events


def chained() -> list[int]:
    """The events' numbers in the order of the chain, which has no gap."""
    links = list(AuditLink.objects.order_by("sequence").values_list("sequence", "event_id"))
    assert [sequence for sequence, _event in links] == list(range(1, len(links) + 1))
    return [event for _sequence, event in links]
