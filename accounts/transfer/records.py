"""Read a file of accounts record by record, in constant memory, whatever its lines contain. Pure.

SECURITY: a record ends where its quotes say, not at every line end: a name with a line end in it must not become a row
of its own, with another customer's identity in it.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

from accounts.transfer.rows import RowProblem

COLUMNS = (
    *("external_id", "phone", "name", "email", "language", "password_hash"),
    *("phone_verified", "totp_secret", "is_active"),
)
REQUIRED = ("external_id", "phone")
#: Many times the longest row; longer records are skipped without being kept.
MAX_RECORD_BYTES = 65_536
CHUNK = 65_536
Fields = dict[str, Any]


class FileProblem(Exception):
    """The file cannot be read as a whole; ``str()`` says why and contains nothing of it."""


def read_rows(
    file: IO[bytes], form: str, columns: Sequence[str] = COLUMNS, required: Sequence[str] = REQUIRED
) -> Iterator[tuple[int, Fields | RowProblem]]:
    """Yield (number of its first line, fields or problem) of each row; ``form``: "csv" or "jsonl".

    Raise `FileProblem` for a file that is no such file.
    """
    records = _records(_without_mark(file), quoted=form == "csv")
    yield from (_csv_rows(records, columns, required) if form == "csv" else _json_rows(records, columns))


def _without_mark(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the pieces of the file's lines, without a byte order mark. Raise `FileProblem` for UTF-16 and UTF-32."""
    first = file.readline(CHUNK)
    if (
        first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
        or b"\0" in first[:64]
    ):
        raise FileProblem("the file is not in UTF-8; convert it first, for example with iconv")
    yield first.removeprefix(codecs.BOM_UTF8)
    while piece := file.readline(CHUNK):
        yield piece


def _records(pieces: Iterator[bytes], *, quoted: bool) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number of its first line, bytes) of each record that is not empty; None: it is too long.

    ``quoted``: a line end between quotes does not end the record. The number of quotes tells: each opens or closes, and
    two of them in a row are one that is part of the text.
    """
    number, begin, kept, quotes = 1, 1, b"", 0
    is_long = False
    for piece in pieces:
        quotes += piece.count(b'"') if quoted else 0
        if not is_long and len(kept) + len(piece) <= MAX_RECORD_BYTES:
            kept += piece
        else:
            is_long, kept = True, b""
        if not piece.endswith(b"\n"):
            continue
        number += 1
        if quotes % 2 == 0:
            if is_long or kept.strip():
                yield begin, None if is_long else kept
            begin, kept, quotes, is_long = number, b"", 0, False
    if is_long or kept.strip():
        yield begin, None if is_long else kept


def _text(record: bytes | None) -> str | RowProblem:
    if record is None:
        return RowProblem.TOO_LONG
    try:
        text = record.decode("utf-8")
    except UnicodeDecodeError:
        return RowProblem.NOT_UTF8
    return RowProblem.MALFORMED if "\0" in text else text


def _cells(text: str) -> list[str] | None:
    """Return the cells of one record; None if it is malformed."""
    try:
        rows = list(csv.reader([text.rstrip("\r\n")], strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _csv_rows(
    records: Iterator[tuple[int, bytes | None]], columns: Sequence[str], required: Sequence[str]
) -> Iterator[tuple[int, Fields | RowProblem]]:
    first = next(records, None)
    text = _text(first[1]) if first else ""
    header = _header(None if isinstance(text, RowProblem) else _cells(text), columns, required)
    for number, record in records:
        text = _text(record)
        if isinstance(text, RowProblem):
            yield number, text
            continue
        cells = _cells(text)
        if cells is None:
            yield number, RowProblem.MALFORMED
        elif len(cells) != len(header):
            yield number, RowProblem.COLUMNS
        else:
            yield number, dict(zip(header, cells, strict=True))


def _header(cells: list[str] | None, columns: Sequence[str], required: Sequence[str]) -> list[str]:
    # SECURITY: the message repeats no cell: of a file without a header, the first line has a customer's hash.
    names = [cell.strip() for cell in cells or []]
    if unknown := [str(place) for place, name in enumerate(names, start=1) if name not in columns]:
        raise FileProblem(
            f"the first line is no header: unknown column {', '.join(unknown)}; the columns are {', '.join(columns)}"
        )
    if len(set(names)) != len(names):
        raise FileProblem("the header names a column twice")
    if missing := [name for name in required if name not in names]:
        raise FileProblem(f"the header has no column {' and no column '.join(missing)}")
    return names


class _DuplicateName(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _DuplicateName
    return fields


def _json_rows(
    records: Iterator[tuple[int, bytes | None]], columns: Sequence[str]
) -> Iterator[tuple[int, Fields | RowProblem]]:
    for number, record in records:
        text = _text(record)
        yield number, text if isinstance(text, RowProblem) else _json_row(text, columns)


def _json_row(text: str, columns: Sequence[str]) -> Fields | RowProblem:
    try:
        fields = json.loads(text, object_pairs_hook=_object)
    except _DuplicateName:
        return RowProblem.COLUMNS
    except (ValueError, RecursionError):
        return RowProblem.MALFORMED
    if not isinstance(fields, dict):
        return RowProblem.MALFORMED
    return fields if set(fields) <= set(columns) else RowProblem.COLUMNS
