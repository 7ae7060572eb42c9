"""An index that a migration adds to a large table while the portal writes to it."""

from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, migrations, models
from django.db.migrations.state import ProjectState
from django.utils import timezone

from accounts.models import AuditEvent, User
from apikeys.models import ApiKey
from apikeys.staff.filters import by_address
from hitobit_portal.database import online_indexes
from hitobit_portal.database.online_indexes import AddIndexOnline, AddTrigramIndexOnline

NAME = "index_of_a_test"


def operation() -> AddIndexOnline:
    return AddIndexOnline("apikey", models.Index(fields=["created_at", "label"], name=NAME))


def run(step: AddIndexOnline, *, collect: bool = False) -> list[str]:
    """Run the operation as a migration does; with ``collect`` only return its statements."""
    before = ProjectState.from_apps(apps)
    after = before.clone()
    step.state_forwards("apikeys", after)
    with connection.schema_editor(collect_sql=collect, atomic=False) as editor:
        step.database_forwards("apikeys", editor, before, after)
    return [str(each) for each in editor.collected_sql] if collect else []


def definition() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [NAME])
        row: Any = cursor.fetchone()
        return str(row[0]) if row else ""


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_index_is_made_beside_writes_and_replaces_what_an_interrupted_run_left() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX {NAME} ON apikeys_apikey (label)")
    assert all("CONCURRENTLY" in each for each in run(operation(), collect=True) if "INDEX" in each)
    try:
        run(operation())
        assert "(created_at, label)" in definition()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX IF EXISTS {NAME}")


def trigram_index() -> str:
    """Run the operation as a migration does, and return the index's definition; "" if it was not added."""
    step, state = AddTrigramIndexOnline(NAME, "accounts_user", "email"), ProjectState.from_apps(apps)
    with connection.schema_editor(atomic=False) as editor:
        step.database_forwards("accounts", editor, state, state)
    return definition()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_trigram_index_is_made_beside_writes_and_replaces_what_an_interrupted_run_left() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX {NAME} ON accounts_user (name)")
    try:
        assert "gin (email gin_trgm_ops)" in trigram_index()
        step, state = AddTrigramIndexOnline(NAME, "accounts_user", "email"), ProjectState.from_apps(apps)
        with connection.schema_editor(atomic=False) as editor:
            step.database_backwards("accounts", editor, state, state)
        assert definition() == ""
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX IF EXISTS {NAME}")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_without_the_extension_nothing_is_added_and_the_migration_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(online_indexes, "TRIGRAMS", "no_extension_of_this_name")
    assert trigram_index() == ""
    assert "no_extension_of_this_name is not available" in caplog.text
    monkeypatch.setattr(online_indexes, "TRIGRAMS", "not a name")
    with pytest.raises(DatabaseError):
        trigram_index()


@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (User.objects.filter(name__icontains="Zahra"), "customers_by_a_part_of_a_name"),
        (ApiKey.objects.filter(label_folded__contains="zahra"), "keys_by_a_part_of_a_name"),
    ],
    ids=["customers", "keys"],
)
def test_searches_for_a_part_of_a_name_read_the_index(rows: Any, index: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_indexscan = off")
    assert index in rows.order_by().explain()


EVENTS = """
    INSERT INTO accounts_auditevent (
        at, event, customer_id, target, label, succeeded, address, agent, request_id, detail
    ) SELECT now(), 'login', 1000000 + n % 50, '', '', true, '', '', '', '{}' FROM generate_series(1, 5000) n
"""


@pytest.mark.postgres
@pytest.mark.django_db
def test_newest_events_of_a_customer_are_read_by_an_index_however_many_others_have() -> None:
    with connection.cursor() as cursor:
        cursor.execute(EVENTS)
        cursor.execute("ANALYZE accounts_auditevent")
    events = AuditEvent.objects.filter(customer=1_000_007).order_by("-pk")[:50]
    assert "events_of_a_customer_by_id" in events.explain()


@pytest.mark.postgres
@pytest.mark.django_db
def test_closed_accounts_are_listed_by_an_index() -> None:
    User.objects.bulk_create(
        User(phone=f"+98970{n:07d}", password="!", is_active=n % 500 > 0, joined_at=timezone.now())
        for n in range(3_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_user")
    assert "closed_users" in User.objects.filter(is_active=False).order_by("-pk")[:51].explain()


@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.parametrize("how", ["any", "listed", "admits", "seen"])
def test_search_for_keys_by_ip_does_not_look_at_every_key(how: str) -> None:
    keys = ApiKey.objects.filter(by_address("203.0.113.7", how))
    plan = keys.explain()
    assert "SubPlan" not in plan  # a filter of each key


def test_migration_with_such_an_index_is_not_one_transaction() -> None:
    from django.db.migrations.loader import MigrationLoader

    of_ours = [
        each
        for each in MigrationLoader(None).disk_migrations.values()
        if any(isinstance(step, AddIndexOnline | AddTrigramIndexOnline) for step in each.operations)
    ]
    assert of_ours
    # A migration that was interrupted runs again from its first step: each of its steps must bear that.
    online = AddIndexOnline | AddTrigramIndexOnline
    assert all(
        not each.atomic and all(isinstance(step, online) for step in each.operations) for each in of_ours
    )
    assert issubclass(AddIndexOnline, migrations.AddIndex)
