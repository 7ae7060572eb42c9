"""An index that a migration adds to a large table while the portal writes to it."""

from typing import Any

import pytest
from django.apps import apps
from django.db import connection, migrations, models
from django.db.migrations.state import ProjectState

from hitobit_portal.database.online_indexes import AddIndexOnline

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


def test_migration_with_such_an_index_is_not_one_transaction() -> None:
    from django.db.migrations.loader import MigrationLoader

    of_ours = [
        each
        for each in MigrationLoader(None).disk_migrations.values()
        if any(isinstance(step, AddIndexOnline) for step in each.operations)
    ]
    assert of_ours
    assert all(not each.atomic and len(each.operations) == 1 for each in of_ours)
    assert issubclass(AddIndexOnline, migrations.AddIndex)
