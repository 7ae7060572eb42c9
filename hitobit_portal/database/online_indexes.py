"""Indexes that a migration adds to a large table without stopping writes to it.

A plain CREATE INDEX locks the table against writes until the index is complete: a minute for some million rows, in
which no key could be created. CONCURRENTLY (PostgreSQL manual, "Building Indexes Concurrently") reads the table twice
instead.
"""

import logging
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import DatabaseError
from django.db.migrations.operations import AddIndex
from django.db.migrations.operations.base import Operation

logger = logging.getLogger("portal.faults")
#: PostgreSQL's trigrams: its only index for a part of a text.
TRIGRAMS = "pg_trgm"
#: Errors of CREATE EXTENSION: no right to it (insufficient_privilege), or it is not installed (feature_not_supported,
#: undefined_file).
UNAVAILABLE = frozenset({"42501", "0A000", "58P01"})


class AddIndexOnline(AddIndexConcurrently):
    """Add an index. The migration must have ``atomic = False``. SQLite has one writer: a plain CREATE INDEX there."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)
            return
        # What an interrupted run leaves behind has the index's name and is not used by queries.
        schema_editor.execute(
            f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(self.index.name)}"
        )
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            AddIndex.database_backwards(self, app_label, schema_editor, from_state, to_state)
            return
        super().database_backwards(app_label, schema_editor, from_state, to_state)


class AddTrigramIndexOnline(Operation):
    """Add an index for ``LIKE '%part%'`` on an expression of a table, where PostgreSQL's extension can be had.

    The owner of a database may create it (it is trusted since PostgreSQL 13). Without it nothing is added, and searches
    read the whole table as before; on SQLite always. So the index is no part of the model. The migration must have
    ``atomic = False``.
    """

    reversible = True
    atomic = False

    def __init__(self, name: str, table: str, expression: str) -> None:
        self.name, self.table, self.expression = name, table, expression

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: models do not know of the index."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql" or not _has_trigrams(schema_editor):
            return
        self.database_backwards(app_label, schema_editor, from_state, to_state)
        schema_editor.execute(
            f"CREATE INDEX CONCURRENTLY {self.name} ON {self.table} USING gin ({self.expression} gin_trgm_ops)"
        )

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.name}")

    def describe(self) -> str:
        return f"Add the trigram index {self.name} to {self.table}, if {TRIGRAMS} is available"


def _has_trigrams(schema_editor: Any) -> bool:
    """Create the extension unless it is there. Return whether it is."""
    try:
        schema_editor.execute(f"CREATE EXTENSION IF NOT EXISTS {TRIGRAMS}")
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) not in UNAVAILABLE:
            raise
        logger.warning("the extension %s is not available: searches for a part of a name stay slow", TRIGRAMS)
        return False
    return True
