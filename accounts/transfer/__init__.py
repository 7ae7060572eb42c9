"""Customers move in and out: import and export of accounts as CSV or JSON lines."""

from accounts.transfer.exporter import export_rows
from accounts.transfer.importer import Importer, Summary
from accounts.transfer.records import COLUMNS, FileProblem, read_rows
from accounts.transfer.rows import ImportRow, RowProblem, RowRefused, check_row

__all__ = [
    "COLUMNS",
    "FileProblem",
    "ImportRow",
    "Importer",
    "RowProblem",
    "RowRefused",
    "Summary",
    "check_row",
    "export_rows",
    "read_rows",
]
