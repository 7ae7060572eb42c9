"""What the rows of a file so far have named, in constant memory."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3


class NamedValues:
    """Ids and phones of the rows so far, in a temporary file: memory stays flat however long the import is.

    SECURITY: the file has keyed digests; the key is in memory only.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> None:
        self._database.execute("BEGIN")

    def __exit__(self, *_error: object) -> None:
        self._database.execute("COMMIT")

    def has(self, kind: str, value: str) -> bool:
        row = self._database.execute("SELECT 1 FROM seen WHERE digest = ?", (self._digest(kind, value),))
        return row.fetchone() is not None

    def add(self, kind: str, value: str) -> None:
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (self._digest(kind, value),))

    def _digest(self, kind: str, value: str) -> bytes:
        return hashlib.blake2b(f"{kind}:{value}".encode(), key=self._key, digest_size=16).digest()
