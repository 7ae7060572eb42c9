"""The audit trail in tests: emptied between tests, and tampered with as somebody with all of the database would."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.test import TransactionTestCase

from accounts import audit, audit_chain
from accounts.events import Event
from accounts.models import AuditEvent, AuditLink
from tests.people import Person

rules = import_module("accounts.migrations.0004_audit_that_can_be_believed")
roles = import_module("accounts.migrations.0005_roles")


def flushing(case: type[TransactionTestCase]) -> Callable[[Any], None]:
    """Django's flush after a test, let through by the guard; then chain and roles are made as by the migrations."""
    flush: Callable[[Any], None] = case._fixture_teardown  # type: ignore[attr-defined]

    def teardown(self: Any) -> None:
        try:
            with audit_chain.removing():
                flush(self)
        except CommandError as error:
            # A gateway of this test wrote its counts, and the two waited for each other's tables.
            if "deadlock detected" not in str(error.__cause__):
                raise
            with audit_chain.removing():
                flush(self)
        rules.begin(apps, None)
        roles.make(apps, None)

    return teardown


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
        audit.record(Event.KEY_RENAMED, None, customer=person.user, label=f"bot {number}", number=number)
        for number in range(count)
    ]
    audit_chain.seal_pending()
    return events


def chained() -> list[int]:
    """The events' numbers in the order of the chain, which has no gap."""
    links = list(AuditLink.objects.order_by("sequence").values_list("sequence", "event_id"))
    assert [sequence for sequence, _event in links] == list(range(1, len(links) + 1))
    return [event for _sequence, event in links]
