"""Upgrades without a pause: the version before works on the schema of this one, so a migration only adds."""

from collections.abc import Iterator

import pytest
from django.db import models
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

#: The last migrations of the first version, which had none before it.
FIRST_VERSION = {"accounts": "0006", "apikeys": "0007"}
#: Taken away or renamed one version after nothing reads it: (app, migration), as the CHANGELOG says under "Upgrade".
SAID_SO: frozenset[tuple[str, str]] = frozenset()
TAKES_AWAY = (
    operations.RemoveField, operations.RenameField, operations.DeleteModel, operations.RenameModel,
    operations.AlterModelTable,
)  # fmt: skip


def breaks(operation: Operation) -> str:
    """Why the version before could not live with it; "" when it can."""
    if isinstance(operation, TAKES_AWAY):
        return "it takes away what the version before reads"
    field = getattr(operation, "field", None)
    if (
        not isinstance(operation, operations.AddField)
        or not isinstance(field, models.Field)
        or field.many_to_many
    ):
        return ""
    if not field.null and field.db_default is models.NOT_PROVIDED:
        return "the version before inserts rows without it: give it a db_default"
    return ""


def later() -> Iterator[tuple[str, str, Operation]]:
    """(app, migration, operation) of every version after the first."""
    for (app, name), migration in sorted(MigrationLoader(None).disk_migrations.items()):
        if app in FIRST_VERSION and name[:4] > FIRST_VERSION[app]:
            for operation in migration.operations:
                yield app, name, operation


def test_migrations_since_the_first_version_only_add() -> None:
    result = [
        f"{app} {name}: {operation.describe()}: {why}"
        for app, name, operation in later()
        if (app, name) not in SAID_SO and (why := breaks(operation))
    ]
    assert result == []


@pytest.mark.parametrize(
    ("operation", "is_bad"),
    [
        (operations.RemoveField("user", "email"), True),
        (operations.RenameField("user", "email", "mail"), True),
        (operations.DeleteModel("user"), True),
        (operations.AddField("user", "x", models.CharField(max_length=5, default="")), True),
        (operations.AddField("user", "x", models.CharField(max_length=5, default="", db_default="")), False),
        (operations.AddField("user", "x", models.DateTimeField(null=True)), False),
        (operations.CreateModel("thing", []), False),
    ],
)
def test_what_breaks_the_version_before_is_told(operation: Operation, is_bad: bool) -> None:
    assert bool(breaks(operation)) == is_bad
